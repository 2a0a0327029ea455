"""`receiver provider add`: writes the table of a catalog entry to `receiver.toml`, and prints what to do next."""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from receiver.cli import options
from receiver.cli.catalog_entries import EntryParameter, load_valid_variables
from receiver.cli.config_file import append_provider
from receiver.cli.errors import report_errors
from receiver.cli.output import print_text
from receiver.configured_providers import DEFAULT_CONFIG, RESERVED_NAMES, get_public_url
from receiver.domain.accounts import NAME_RULE, is_valid_name
from receiver.providers.catalog.configuration import Variable, build_toml, find_url_token, list_variables
from receiver.providers.catalog.description import EntryDescription, describe_entry
from receiver.providers.catalog.entries import CatalogEntry
from receiver.providers.catalog.facts import REGISTRATION

_RANDOM_BYTES = 24


@dataclass(frozen=True, slots=True)
class _Addition:
    """A provider that was added.

    Attributes:
        name: the name of the provider.
        config: the file; None if the table was only printed.
        table: the table.
        description: the entry of the catalog.
        values: the values of the variables: those that are set, else a random one if the user makes it up, else "".
        callback_url: the callback URL, with its token.
    """

    name: str
    config: Path | None
    table: str
    description: EntryDescription
    values: Mapping[Variable, str]
    callback_url: str


@click.command()
@click.argument("entry", metavar="NAME", type=EntryParameter())
@click.option("--as", "provider", metavar="OTHER", help="The name of the provider in the file; NAME by default.")
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; by default that of RECEIVER_CONFIG, or receiver.toml.",
)
@click.option("--print", "is_printed", is_flag=True, help="Print the table only, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def add(entry: CatalogEntry, provider: str | None, config: Path | None, *, is_printed: bool, as_json: bool) -> None:
    """Add a provider of the catalog to receiver.toml.

    Appends its table to the file, or creates the file, and prints the variables to set, the callback URL, and how to
    check that it works. Secrets are not written: the table names the variables that have them.

    Example: receiver provider add twilio --as sms
    """
    name = _check_name(entry.name if provider is None else provider)
    with report_errors():
        variables = load_valid_variables()
        path = None if is_printed else config or Path(variables["config"] or DEFAULT_CONFIG)
        addition = _add_provider(entry, name, path, get_public_url(variables))
    if is_printed and not as_json:
        print_text(addition.table.rstrip("\n"))
    else:
        options.print_result(_build_document(addition), as_json, lambda _: _print_steps(addition))


def _check_name(name: str) -> str:
    """Return the name of a provider.

    Raises:
        BadParameter: no provider may have it.
    """
    if not is_valid_name(name):
        raise click.BadParameter(f"Not a valid provider name: {NAME_RULE}.", param_hint="--as")
    if name in RESERVED_NAMES:
        raise click.BadParameter(f"Reserved name: {RESERVED_NAMES[name]} use it.", param_hint="--as")
    return name


def _add_provider(entry: CatalogEntry, name: str, config: Path | None, public_url: str) -> _Addition:
    """Write the table of a provider to a file, unless there is none."""
    table = build_toml(entry, name, with_comments=True)
    variables = list_variables(entry, name)
    values = {variable: os.environ.get(variable.name) or _suggest_value(variable) for variable in variables}
    description = describe_entry(entry, public_url, name)
    callback_url = description.callback_url
    for variable, value in values.items():
        if variable.parameter.name in find_url_token(entry):
            callback_url = callback_url.removesuffix(variable.parameter.name.upper()) + value
    if config is not None:
        append_provider(config, name, table)
    return _Addition(name, config, table, description, values, callback_url)


def _is_set(variable: Variable) -> bool:
    return bool(os.environ.get(variable.name))


def _suggest_value(variable: Variable) -> str:
    return secrets.token_urlsafe(_RANDOM_BYTES) if variable.is_random else ""


def _build_document(addition: _Addition) -> Mapping[str, Any]:
    return {
        "name": addition.name,
        "kind": addition.description.name,
        "config": str(addition.config) if addition.config else None,
        "table": addition.table,
        "variables": [
            {
                "name": variable.name,
                "title": variable.parameter.title,
                "secret": variable.parameter.is_secret,
                "set": _is_set(variable),
                "suggestion": None if _is_set(variable) else value or None,
            }
            for variable, value in addition.values.items()
        ],
        "callback_url": addition.callback_url,
        "registration": addition.description.facts[REGISTRATION],
        "commands": _list_commands(addition),
    }


def _list_commands(addition: _Addition) -> Sequence[str]:
    """Return the commands to run next, in order."""
    description = addition.description
    commands = [description.test_command, *(operation.command for operation in description.operations)]
    return [f"receiver provider check {addition.name}", *filter(None, commands)]


def _print_steps(addition: _Addition) -> None:
    """Print what was done, and what to do next."""
    click.echo(f"{addition.config}: providers.{addition.name} was added. Next:")
    missing = {variable: value for variable, value in addition.values.items() if not _is_set(variable)}
    if missing:
        suggestions = "; random values are suggestions" if any(missing.values()) else ""
        click.echo(f"\nSet the variables for web and worker{suggestions}:\n")
        for variable, value in missing.items():
            click.echo(f"  {variable.parameter.title}:\n    export {variable.name}={value}")
    click.echo(f"\n{addition.description.facts[REGISTRATION].replace('`', '')}\n\n  {addition.callback_url}")
    if not os.environ.get("RECEIVER_PUBLIC_URL"):
        click.echo("\nRECEIVER_PUBLIC_URL is not set. Set it to the base URL that the provider calls.")
    for note in addition.description.notes:
        click.echo(f"\n{note}")
    check, *others = _list_commands(addition)
    click.echo(f"\nCheck the file and your account:\n\n  {check}")
    click.echo("\nThen start web and worker again, or `receiver serve`: a running process does not see new variables.")
    if others:
        click.echo("\nTry it, with a signed sample of a callback and with a request:\n")
        for command in others:
            click.echo(f"  {command}")
