"""`receiver provider check`: whether the settings are good, the URL to register, and whether providers know us."""

import os
import sys
from collections.abc import Sequence

import click
import orjson

from receiver.cli.errors import FAILED, report_errors
from receiver.domain.errors import ReceiverError
from receiver.domain.sending import Response
from receiver.exchange.client import ProviderClient
from receiver.providers.base import Provider
from receiver.settings import Settings, load_settings


class UnknownProvider(ReceiverError):
    """No provider of this name is configured."""


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--offline", is_flag=True, help="Do not ask the providers whether our account works.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(names: Sequence[str], offline: bool, as_json: bool) -> None:
    """Validate the settings, and ask providers about our account.

    It prints the callback URL to register, and what providers say that can tell about our account. All faults are told
    at once, with their places in the file; the exit code is 2 then, and 1 when a provider that was asked did not
    answer well.
    """
    with report_errors():
        settings = load_settings(os.environ)
        checked = [_check(settings, one, offline=offline) for one in _chosen(settings, names)]
    if as_json:
        click.echo(orjson.dumps({"providers": checked}, option=orjson.OPT_INDENT_2))
    else:
        for told in checked:
            _tell(told)
    sys.exit(0 if all(told["ok"] for told in checked) else FAILED)


def _chosen(settings: Settings, names: Sequence[str]) -> Sequence[Provider]:
    missing = sorted(set(names) - settings.providers.keys())
    if missing:
        known = ", ".join(sorted(settings.providers)) or "none"
        raise UnknownProvider(f"not configured: {', '.join(missing)}; known: {known}")
    return [settings.providers[name] for name in names or sorted(settings.providers)]


def _check(settings: Settings, checked: Provider, *, offline: bool) -> dict[str, object]:
    account = {} if offline else _account(checked)
    auth = checked.callback_settings.auth
    return {
        "name": checked.name,
        "callback_url": settings.callback_url(checked.name),
        "methods": sorted(checked.callback_settings.methods),
        "operations": list(checked.operations()),
        "signature": auth.named if auth.scheme else "none, the URL's token is all there is",
        "trust": auth.trust,
        "polled": checked.can_poll,
        "looked_up": checked.can_look_up,
        "max_per_second": checked.send_policy.max_per_second,
        "account": {name: said for name, (_, said) in account.items()},
        "ok": all(good for good, _ in account.values()),
    }


def _account(checked: Provider) -> dict[str, tuple[bool, str]]:
    """Ask the provider; gives whether each answer is good, and what it says."""
    client = ProviderClient(checked)
    try:
        told = {}
        for name, outgoing in checked.compose_checks().items():
            outcome = client.exchange(outgoing)
            if isinstance(outcome, Response):
                told[name] = (outcome.status == 200, checked.read_check(name, outcome))
            else:
                told[name] = (False, f"{name}: no answer: {outcome.error}")
        return told
    finally:
        client.close()


def _tell(told: dict[str, object]) -> None:
    click.echo(f"{told['name']}: {'good' if told['ok'] else 'the provider does not response well'}")
    click.echo(f"  register this URL: {told['callback_url']}")
    click.echo(f"  signature: {told['signature']}; trust: {told['trust']}; polled: {'yes' if told['polled'] else 'no'}")
    click.echo(f"  asked about requests in doubt: {'yes' if told['looked_up'] else 'no'}")
    account = told["account"]
    for line in account.values() if isinstance(account, dict) else ():
        click.echo(f"  {line}")
