"""`receiver callback`: what came in, why it was refused, and reading it again."""

from typing import Any
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.api import ApiError, Service, connect_service
from receiver.cli.options import Paging, list_options, time_range_options
from receiver.cli.output import Json, format_time_ms, print_facts, print_message, print_section, print_text
from receiver.cli.replay import REPLAYED, replay_many
from receiver.cli.tables import ACTIONS, CALLBACKS, format_errors
from receiver.schemas.api.callbacks import VERDICTS


@click.group()
def callback() -> None:
    """See what providers delivered, and why it was refused.

    Asks the service at RECEIVER_URL with the key RECEIVER_KEY.
    """


@callback.command("list")
@click.option("--provider", help="Only of this provider.")
@click.option("--verdict", type=click.Choice(VERDICTS), help="Only with this verdict.")
@time_range_options("received", "received")
@list_options
def list_callbacks(paging: Paging, **filters: Any) -> None:
    """List callbacks, newest first.

    Of those that were refused a sample is kept.

    Example: receiver callback list --verdict unmapped --received-from 1d
    """
    paging.show("callbacks", filters, CALLBACKS)


@callback.command("show")
@click.argument("callback_id", metavar="ID", type=click.UUID)
@options.as_json
def show_callback(callback_id: UUID, as_json: bool) -> None:
    """Show a callback as it came, and the jobs it speaks of.

    Headers and body are shown to keys with the scope admin.
    """
    options.print_result(connect_service().get("callbacks", callback_id), as_json, _tell)


@callback.command("explain")
@click.argument("callback_id", metavar="[ID]", type=click.UUID, required=False)
@click.option("--provider", help="Without an ID: the newest refused callback of this provider.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain_callback(callback_id: UUID | None, provider: str | None, as_json: bool) -> None:
    """Say why a callback was refused.

    It tells which part failed and, where it can be told, the cause. Without an ID it explains the newest refused one.
    """
    asked = connect_service()
    found = asked.get("callbacks", callback_id or _newest_refused(asked, provider))
    told = {"id": found["id"], "verdict": found["verdict"], "errors": found["errors"], **found["explanation"]}
    options.print_result(told, as_json, lambda _: _explain(found))


@callback.command("replay")
@click.argument("callback_id", metavar="[ID]", type=click.UUID, required=False)
@click.option("--provider", help="Without an ID: those of this provider.")
@click.option("--verdict", type=click.Choice(REPLAYED), help="Those with this verdict.")
@time_range_options("received", "received")
@click.option("--all", "everything", is_flag=True, help="All that are kept, where nothing else says which.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@options.reason
@options.as_json
def replay_callback(
    callback_id: UUID | None, everything: bool, dry_run: bool, reason: str | None, as_json: bool, **filters: str | None
) -> None:
    """Read callbacks again, after settings were mended.

    Either one, or all that the options fit, the oldest first. They count as of the time at which they were received. Of
    many it tells how many have another verdict now; what is still refused stays as it is, and what fails is told and
    passed over. Exits 1 if any failed.

    Example: receiver callback replay --provider acme --verdict unmapped --reason "EXPIRED was not mapped"
    """
    filtered = {name: value for name, value in filters.items() if value is not None}
    if [callback_id is not None, bool(filtered), everything].count(True) != 1:
        raise click.UsageError("give either an ID, or which ones by options, or --all")
    if callback_id is None:
        replay_many(filtered, reason, dry_run=dry_run, as_json=as_json)
    elif dry_run:
        raise click.UsageError("--dry-run counts those that options fit; leave it out with an ID")
    else:
        found = connect_service().act("callbacks", callback_id, "replay", reason=reason)
        options.print_result(found, as_json, _explain)


def _newest_refused(asked: Service, provider: str | None) -> str:
    items = asked.get("callbacks", query={"verdict": "refused", "limit": 1, "provider": provider})["items"]
    if not items:
        raise ApiError("no refused callback is kept")
    return str(items[0]["id"])


def _tell(found: Json) -> None:
    if found["headers"] is None:
        print_message("headers and body are shown to admin keys only")
    else:
        print_text(f"{found['method']} {found['target']}")
        for name, value in found["headers"].items():
            print_text(f"{name}: {value}")
        click.echo()
        print_text(found["body"])
        click.echo()
    _explain(found)
    print_section("actions", ACTIONS, found["actions"])


def _explain(found: Json) -> None:
    told = found["explanation"]
    print_facts(
        {
            "callback": found["id"],
            "provider": found["provider"],
            "received": format_time_ms(found["received_at"]),
            "verdict": found["verdict"],
            told["part"] or "why": told["message"],
            "errors": "" if told["message"] else format_errors(found),
            "jobs": ", ".join(found["jobs"]),
        }
    )
    for cause in told["causes"]:
        print_text(f"→ {cause}")
