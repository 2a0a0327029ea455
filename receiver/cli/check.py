"""`receiver provider check`: validates the settings, prints the URLs to register, and tests providers' accounts."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict

import click
import orjson

from receiver.cli.errors import FAILED, report_errors
from receiver.domain.access_tokens import IssuedToken, TokenFailure
from receiver.domain.accounts import is_included, list_base_names
from receiver.domain.egress import TlsFiles
from receiver.domain.errors import ReceiverError
from receiver.domain.sending import Response
from receiver.exchange.access_tokens import request_token
from receiver.exchange.channels import build_http_client, build_token_endpoint_client
from receiver.providers.base import Provider
from receiver.settings import Settings, load_settings
from receiver.signatures.base import CallbackAuth


class UnknownProvider(ReceiverError):
    """No provider of this name is configured."""


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--offline", is_flag=True, help="Do not call the providers to test our account.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(names: Sequence[str], offline: bool, as_json: bool) -> None:
    """Validate the settings and test the account at each provider.

    Prints the callback URL to register and, where the provider has an endpoint for it, the state of our account. Prints
    all errors of the settings at once, each with its place in the file. Exits 2 if there are any, and 1 if the account
    at a provider does not work.
    """
    with report_errors():
        settings = load_settings(os.environ)
        reports = [
            _check_provider(settings, provider, offline=offline) for provider in _select_providers(settings, names)
        ]
    if as_json:
        click.echo(orjson.dumps({"providers": reports}, option=orjson.OPT_INDENT_2))
    else:
        for report in reports:
            _print_report(report)
    sys.exit(0 if all(report["ok"] for report in reports) else FAILED)


def _select_providers(settings: Settings, names: Sequence[str]) -> Sequence[Provider]:
    providers = settings.providers
    unknown = sorted(set(names) - providers.keys() - set(list_base_names(providers)))
    if unknown:
        configured = ", ".join(list_base_names(providers)) or "none"
        raise UnknownProvider(f"Not configured: {', '.join(unknown)}. Must be one of: {configured}.")
    return [provider for name, provider in sorted(providers.items()) if not names or is_included(name, names)]


def _check_provider(settings: Settings, provider: Provider, *, offline: bool) -> dict[str, object]:
    account = {} if offline else _check_account(provider)
    callback_settings = provider.callbacks.settings if provider.callbacks else None
    auth = callback_settings.auth if callback_settings else None
    return {
        "name": provider.name,
        "callback_url": settings.callback_url(provider.name) or None,
        "methods": sorted(callback_settings.methods) if callback_settings else [],
        "handshakes": list(callback_settings.handshake_kinds) if callback_settings else [],
        "operations": list(provider.operations),
        "signature": _describe_signature(auth),
        "trust": auth.trust if auth else None,
        "proof": auth.describe_trust() if auth else None,
        "polled": provider.poller is not None,
        "looked_up": provider.lookup is not None,
        "max_per_second": provider.send_policy.max_per_second,
        "proxy": str(provider.egress.proxy) if provider.egress.proxy else None,
        "tls": _describe_tls(provider.egress.tls),
        "account": {name: message for name, (_, message) in account.items()},
        "ok": all(succeeded for succeeded, _ in account.values()),
    }


def _describe_signature(auth: CallbackAuth | None) -> str:
    if auth is None:
        return "none, as the provider does not call back"
    return auth.scheme_name if auth.scheme else "none, only the token in the URL"


def _describe_tls(files: TlsFiles) -> Mapping[str, str]:
    """Return the paths of the files that are set, by their keys."""
    return {key: str(path) for key, path in asdict(files).items() if path}


def _check_account(provider: Provider) -> dict[str, tuple[bool, str]]:
    """Call the provider's account endpoints; return for each check whether it succeeded, and a message."""
    results, issued = {}, None
    if provider.token_request:
        with closing(build_token_endpoint_client(provider, provider.token_request)) as client:
            issued = request_token(client, provider.token_request)
        results["access_token"] = _describe_access_token(issued)
    with closing(build_http_client(provider)) as client:
        for name, check in provider.account_checks.items():
            outgoing = check.outgoing
            if provider.token_request and isinstance(issued, IssuedToken):
                outgoing = provider.token_request.authorize(outgoing, issued.text)
            outcome = client.exchange(outgoing)
            if not isinstance(outcome, Response):
                results[name] = (False, f"{name}: no response: {outcome.error}")
            elif outcome.problem:
                results[name] = (False, f"{name}: {outcome.problem}")
            else:
                results[name] = (outcome.status == 200, check.format_result(outcome))
        return results


def _describe_access_token(issued: IssuedToken | TokenFailure) -> tuple[bool, str]:
    if isinstance(issued, IssuedToken):
        return True, f"access token: issued, expires in {issued.expires_in:g} s"
    return False, f"access token: {issued.error}"


def _print_report(report: dict[str, object]) -> None:
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


def _format_flag(flag: object) -> str:
    return "yes" if flag else "no"
