"""`receiver provider check`: validates the settings, prints the URLs to register, and tests providers' accounts."""

import os
import sys
from collections.abc import Sequence

import click
import orjson

from receiver.cli.errors import FAILED, report_errors
from receiver.configured_providers import explain_no_providers
from receiver.domain.accounts import is_included, list_base_names
from receiver.domain.errors import ReceiverError
from receiver.domain.suggestions import format_list_suggestion
from receiver.operations.provider_checks import check_account, describe_setup
from receiver.providers.base import Provider
from receiver.settings import Settings, load_settings


class NoProviders(ReceiverError):
    """No provider is configured at all."""


class UnknownProvider(ReceiverError):
    """No provider of this name is configured."""


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--offline", is_flag=True, help="Do not call the providers to test our account.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(names: Sequence[str], offline: bool, as_json: bool) -> None:
    """Validate the settings and test the account at each provider.

    Prints the callback URL to register and, where the provider has an endpoint for it, the state of our account. Prints
    all errors of the settings at once, each with its place in the file. Exits 2 if there are any, and 1 if there is no
    provider or the account at a provider does not work.
    """
    with report_errors():
        settings = load_settings(os.environ)
        if not settings.providers:
            raise NoProviders(explain_no_providers(os.environ))
        reports = [
            _check_provider(settings, provider, offline=offline) for provider in _select_providers(settings, names)
        ]
    if as_json:
        click.echo(orjson.dumps({"providers": reports}, option=orjson.OPT_INDENT_2))
    else:
        for report in reports:
            _print_report(report, offline=offline)
    sys.exit(0 if all(report["ok"] for report in reports) else FAILED)


def _select_providers(settings: Settings, names: Sequence[str]) -> Sequence[Provider]:
    providers = settings.providers
    unknown = sorted(set(names) - providers.keys() - set(list_base_names(providers)))
    if unknown:
        configured = ", ".join(list_base_names(providers)) or "none"
        suggestion = format_list_suggestion(unknown[0], list_base_names(providers))
        raise UnknownProvider(f"Not configured: {', '.join(unknown)}. Must be one of: {configured}.{suggestion}")
    return [provider for name, provider in sorted(providers.items()) if not names or is_included(name, names)]


def _check_provider(settings: Settings, provider: Provider, *, offline: bool) -> dict[str, object]:
    account = {} if offline else check_account(provider)
    return {
        **describe_setup(settings, provider),
        "account": {name: result.message for name, result in account.items()},
        "ok": all(result.succeeded for result in account.values()),
    }


def _print_report(report: dict[str, object], *, offline: bool) -> None:
    click.echo(f"{report['name']}: {'ok' if report['ok'] else 'the account check failed'}")
    if report["callback_url"]:
        click.echo(f"  register this URL: {report['callback_url']}")
        click.echo(f"  signature: {report['signature']}; trust: {report['trust']}")
        click.echo(f"  {report['proof']}")
    if isinstance(report["handshakes"], list) and report["handshakes"]:
        click.echo(f"  checks of the URL: {', '.join(report['handshakes'])}")
    click.echo(
        f"  polling: {_format_flag(report['polled'])}; lookup of unknown requests: {_format_flag(report['looked_up'])}"
    )
    if report["proxy"]:
        click.echo(f"  proxy: {report['proxy']}")
    tls = report["tls"]
    for key, path in tls.items() if isinstance(tls, dict) else ():
        click.echo(f"  {key}: {path}")
    account = report["account"]
    for message in account.values() if isinstance(account, dict) else ():
        click.echo(f"  {message}")
    if not account:
        reason = "--offline" if offline else "the provider has no endpoint that tells whether it works"
        click.echo(f"  our account: not tested ({reason})")


def _format_flag(flag: object) -> str:
    return "yes" if flag else "no"
