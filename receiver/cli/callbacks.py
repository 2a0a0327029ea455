"""`receiver callback`: list, show, explain and replay callbacks; `send` is in `receiver.cli.callback_send`."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.api import ApiError, Service, connect_service
from receiver.cli.formats import Json
from receiver.cli.lazy import LazyCommand, LazyGroup
from receiver.cli.messages import print_message
from receiver.cli.options import Paging, list_options, time_range_options
from receiver.cli.output import build_status_field, build_time_ms_field, print_fields, print_section, print_text
from receiver.cli.replay import REPLAYABLE_VERDICTS, replay_many
from receiver.cli.tables import ACTIONS, CALLBACKS, EVENTS_OF_CALLBACK, format_errors, format_provider
from receiver.domain.callbacks import MAX_SHOWN_JOBS, VERDICT_MEANINGS, VERDICTS
from receiver.domain.status_symbols import StatusKind

_UNRECORDED_VERDICTS = frozenset({"invalid", "refused"})


@click.group(
    cls=LazyGroup,
    lazy_commands={"send": LazyCommand("receiver.cli.callback_send:send", "Send a signed sample of a callback.")},
)
def callback() -> None:
    """Show, explain, replay and send callbacks.

    `send` reads the settings of this machine, and posts to a callback URL. The other commands call the service at
    RECEIVER_URL with the key RECEIVER_KEY.
    """


@callback.command("list")
@options.provider("Only callbacks of this provider.")
@options.account
@click.option("--verdict", type=click.Choice(VERDICTS), help="Only callbacks with this verdict.")
@time_range_options("received", "received")
@list_options
def list_callbacks(paging: Paging, **filters: Any) -> None:
    """List callbacks, newest first.

    Of refused callbacks only a sample is stored.

    Example: receiver callback list --verdict unmapped --received-from 1d
    """
    paging.show("callbacks", filters, CALLBACKS)


@callback.command("show")
@click.argument("callback_id", metavar="ID", type=click.UUID)
@options.table_options
def show_callback(callback_id: UUID, as_json: bool) -> None:
    """Show a callback as it was received, and its first jobs.

    Headers and body require a key with the scope admin. `receiver callback events` lists all jobs.
    """
    options.print_result(connect_service().get("callbacks", callback_id), as_json, _print_callback)


@callback.command("events")
@click.argument("callback_id", metavar="ID", type=click.UUID)
@list_options
def list_events(paging: Paging, callback_id: UUID) -> None:
    """List what a callback reports about its jobs, in the order of its body.

    Example: receiver callback events ID --all
    """
    paging.show(f"callbacks/{callback_id}/events", {}, EVENTS_OF_CALLBACK)


@callback.command("explain")
@click.argument("callback_id", metavar="[ID]", type=click.UUID, required=False)
@options.provider("Without an ID: the newest refused callback of this provider.")
@options.account
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain_callback(callback_id: UUID | None, as_json: bool, **filters: str | None) -> None:
    """Show why a callback was refused.

    Prints which part of the authentication failed and the likely causes. Without an ID, explains the newest refused
    callback.
    """
    service = connect_service()
    document = service.get("callbacks", callback_id or _find_newest_refused(service, filters))
    explanation = {name: document[name] for name in ("id", "verdict", "errors")} | document["explanation"]
    options.print_result(explanation, as_json, lambda _: _print_explanation(document))


@callback.command("replay")
@click.argument("callback_id", metavar="[ID]", type=click.UUID, required=False)
@options.provider("Without an ID: callbacks of this provider.")
@options.account
@click.option("--verdict", type=click.Choice(REPLAYABLE_VERDICTS), help="Callbacks with this verdict.")
@time_range_options("received", "received")
@click.option("--all", "replay_all", is_flag=True, help="All stored callbacks; only without other filters.")
@click.option("--dry-run", is_flag=True, help="Only count the callbacks.")
@options.reason
@options.as_json
def replay_callback(
    callback_id: UUID | None, replay_all: bool, dry_run: bool, reason: str | None, as_json: bool, **filters: str | None
) -> None:
    """Process stored callbacks again, after a configuration fix.

    Replays one callback, or all that match the options, oldest first. Each keeps its original receive time. For several
    callbacks, prints how many changed their verdict. Callbacks that are still refused stay as they are; failures are
    printed and skipped. Exits 1 if any callback failed.

    Example: receiver callback replay --provider acme --verdict unmapped --reason "EXPIRED was not mapped"
    """
    params = {name: value for name, value in filters.items() if value is not None}
    if [callback_id is not None, bool(params), replay_all].count(True) != 1:
        raise click.UsageError("Pass either an ID, or filter options, or --all.")
    if callback_id is None:
        replay_many(params, reason, dry_run=dry_run, as_json=as_json)
    elif dry_run:
        raise click.UsageError("--dry-run counts the callbacks that match filter options. Omit it with an ID.")
    else:
        document = connect_service().act("callbacks", callback_id, "replay", reason=reason)
        options.print_result(document, as_json, _print_explanation)


def _find_newest_refused(service: Service, filters: Mapping[str, str | None]) -> str:
    """Return the id of the newest refused callback that matches `filters`, those of the list."""
    items = service.get("callbacks", query={"verdict": "refused", "limit": 1, **filters})["items"]
    if not items:
        raise ApiError("No refused callback is stored.")
    return str(items[0]["id"])


def _print_callback(document: Json) -> None:
    if document.get("erased_at"):
        print_message("target, headers and body were erased")
    elif document["headers"] is None:
        print_message("headers and body require a key with the scope admin")
    else:
        print_text(f"{document['method']} {document['target']}")
        for name, value in document["headers"].items():
            print_text(f"{name}: {value}")
        click.echo()
        print_text(document["body"])
        click.echo()
    _print_explanation(document)
    print_section("actions", ACTIONS, document["actions"])


def _print_explanation(document: Json) -> None:
    explanation = document["explanation"]
    print_fields(
        {
            "callback": document["id"],
            "provider": format_provider(document),
            "received": build_time_ms_field(document["received_at"]),
            "erased": build_time_ms_field(document.get("erased_at")),
            "verdict": build_status_field(StatusKind.VERDICT, document["verdict"]),
            explanation["part"] or "reason": explanation["message"],
            "errors": "" if explanation["message"] else format_errors(document),
            "jobs": _format_jobs(document),
        }
    )
    if document["verdict"] in _UNRECORDED_VERDICTS:
        print_text(f"→ {VERDICT_MEANINGS[document['verdict']]}")
    for cause in explanation["causes"]:
        print_text(f"→ {cause}")


def _format_jobs(document: Json) -> str:
    jobs = ", ".join(document["jobs"])
    is_complete = len(document["jobs"]) < MAX_SHOWN_JOBS
    return jobs if is_complete else f"{jobs} (the first; all: receiver callback events {document['id']})"
