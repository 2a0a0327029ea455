"""How an entry of the catalog is configured: its table in `receiver.toml`, and the variables that the table names."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from receiver.providers.catalog.entries import CatalogEntry, Parameter, find_parameters

_NOT_IN_A_VARIABLE = re.compile(r"[^A-Z0-9_]")
_OWN_VARIABLES = "RECEIVER_"


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that the table of an entry names.

    Attributes:
        name: the name of the variable.
        parameter: the parameter that has its value.
        is_random: whether the user makes up the value, which must not be guessable.
    """

    name: str
    parameter: Parameter
    is_random: bool


def list_variables(entry: CatalogEntry, provider: str) -> Sequence[Variable]:
    """Return the variables of the parameters that an entry requires.

    Args:
        entry: the entry.
        provider: the name of the provider in `receiver.toml`.
    """
    tokens = find_url_token(entry) | _find_verify_tokens(entry)
    return [
        Variable(build_variable_name(provider, name), parameter, parameter.is_random or name in tokens)
        for name, parameter in entry.parameters.items()
        if parameter.is_required
    ]


def build_variable_name(provider: str, parameter: str) -> str:
    """Return the name of the variable for a parameter, such as `TWILIO_AUTH_TOKEN` for `twilio` and `auth_token`.

    A provider named `receiver` has none of our own variables: its `secret_key` is not `RECEIVER_SECRET_KEY`.
    """
    name = _NOT_IN_A_VARIABLE.sub("_", f"{provider}_{parameter}".upper())
    if name.startswith(_OWN_VARIABLES):
        return f"PROVIDER_{name}"
    # A shell takes no name that begins with a digit, such as that of 46elks.
    return f"_{name}" if name[0].isdigit() else name


def build_toml(entry: CatalogEntry, provider: str, *, with_comments: bool) -> str:
    """Return the table of a provider of an entry for `receiver.toml`.

    Args:
        entry: the entry.
        provider: the name of the provider.
        with_comments: whether comments explain the parameters, and list those that are not required.
    """
    lines = [f"[providers.{provider}]", f"kind = {_quote(entry.name)}"]
    if with_comments:
        lines = [f"# {entry.title}: receiver provider catalog {entry.name}", *lines]
    for name, parameter in entry.parameters.items():
        reference = f"env:{build_variable_name(provider, name)}"
        if with_comments:
            lines.append(f"# {parameter.title}{'' if parameter.is_required else ' (optional)'}")
        if parameter.is_required:
            lines.append(f"{name} = {_quote(reference)}")
        elif with_comments:
            value = parameter.default if parameter.default is not None else parameter.example
            lines.append(f"# {name} = {_quote(reference if parameter.is_secret else value)}")
    return "".join(f"{line}\n" for line in lines)


def find_url_token(entry: CatalogEntry) -> set[str]:
    """Return the parameter that callback URLs end with, if they end with one."""
    signature = entry.table.get("signature", {})
    tokens = signature.get("secrets") if signature.get("scheme") == "token" else signature.get("token")
    return find_parameters(tokens)


def _find_verify_tokens(entry: CatalogEntry) -> set[str]:
    """Return the parameters that the provider sends back when it checks the callback URL."""
    handshakes = entry.table.get("callback", {}).get("handshake", [])
    tables = [handshakes] if isinstance(handshakes, Mapping) else handshakes
    return find_parameters([table.get("token") for table in tables])


def _quote(text: str) -> str:
    """Return a text as a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False)
