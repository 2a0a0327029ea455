"""`receiver request retry`, `cancel`, `send-now` and `resolve`: of requests by id, or of all that match options."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.bulk_actions import BulkOptions, RequestSelection, act_on_selection
from receiver.cli.completion import complete_operations
from receiver.domain.bulk_actions import BulkActionKind

_FILTERS = ("provider", "account", "operation", "created_from", "created_to")
_RESOLVABLE_STATUSES = ["accepted", "completed", "rejected", "failed"]

Command = Callable[..., None]


def filter_options(command: Command) -> Command:
    """Add the filters of the list of requests to a command, but for the one by status."""
    for option in (
        click.option(
            "--metadata",
            multiple=True,
            type=options.PairParameter(),
            metavar="KEY=VALUE",
            help="Only requests with this metadata; repeatable.",
        ),
        options.time_range_options("created", "created"),
        click.option("--operation", shell_complete=complete_operations, help="Only requests with this operation."),
        options.account,
        options.provider("Only requests to this provider."),
    ):
        command = option(command)
    return command


def _selection_options(command: Command) -> Command:
    """Add ids and filters to a command, which receives them as a `RequestSelection`, and `BulkOptions`."""

    @click.argument("ids", metavar="[ID]...", nargs=-1, type=click.UUID)
    @filter_options
    @click.option("--dry-run", is_flag=True, help="Only show which requests the options select.")
    @click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
    @options.table_options
    @wraps(command)
    def wrapped(
        ids: Sequence[UUID],
        metadata: Sequence[tuple[str, str]],
        dry_run: bool,
        yes: bool,
        as_json: bool,
        **params: Any,
    ) -> None:
        filters: dict[str, Any] = {name: value for name in _FILTERS if (value := params.pop(name)) is not None}
        if only_status := params.pop("only_status", None):
            filters["status"] = only_status
        if params.pop("reference_conflict", False):
            filters["reference_conflict"] = True
        if metadata:
            filters["metadata"] = dict(metadata)
        command(RequestSelection(ids, filters), BulkOptions(dry_run, yes, as_json), **params)

    return wrapped


def _status_filter(kind: BulkActionKind) -> Callable[[Command], Command]:
    """Return a decorator that adds the filter by those statuses to which an action applies."""
    choices = click.Choice([status.value for status in kind.statuses])
    return click.option("--status", "only_status", type=choices, help="Only requests with this status.")


@click.command("retry")
@_status_filter(BulkActionKind.RETRY)
@_selection_options
@options.reason
def retry_requests(selection: RequestSelection, bulk: BulkOptions, **params: Any) -> None:
    """Queue requests again, by ID or all that match options.

    They must be rejected, failed, unknown or cancelled. Before you retry an unknown request, make sure that the
    provider did not receive it. Requests that match options are shown first, and retried after a confirmation.

    Example: receiver request retry --provider acme --status failed --created-from 6h --reason "their outage"
    """
    act_on_selection("retry", selection, params, bulk)


@click.command("cancel")
@_status_filter(BulkActionKind.CANCEL)
@_selection_options
@options.reason
def cancel_requests(selection: RequestSelection, bulk: BulkOptions, **params: Any) -> None:
    """Cancel requests that are still queued, by ID or all that match options.

    Requests that match options are shown first, and cancelled after a confirmation.

    Example: receiver request cancel --status queued --metadata campaign=spring --reason "sent by mistake"
    """
    act_on_selection("cancel", selection, params, bulk)


@click.command("send-now")
@_status_filter(BulkActionKind.SEND_NOW)
@_selection_options
@options.reason
def send_requests_now(selection: RequestSelection, bulk: BulkOptions, **params: Any) -> None:
    """Send queued requests now that wait, by ID or all that match options.

    They wait for their next attempt or for --send-after. The limits, a pause and the circuit of their provider still
    apply. Requests that match options are shown first, and sent after a confirmation.
    """
    act_on_selection("send-now", selection, params, bulk)


@click.command("resolve")
@click.option("--status", required=True, type=click.Choice(_RESOLVABLE_STATUSES), help="The request's status.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="REFERENCE",
    help="The provider's reference of a job; required for accepted, repeatable.",
)
@click.option("--reason", required=True, metavar="TEXT", help="How you know; stored with the action.")
@click.option("--reference-conflict", is_flag=True, help="Only requests with a reference conflict.")
@_selection_options
def resolve_requests(selection: RequestSelection, bulk: BulkOptions, **params: Any) -> None:
    """Set the status of unknown requests manually, by ID or of all that match options.

    The jobs of an accepted request are then followed up like all others. Requests that match options are shown first,
    and resolved after a confirmation; they cannot be resolved as accepted.

    Example: receiver request resolve ID --status accepted --reference 90210 --reason "seen in their console"
    """
    if selection.filters and params["references"]:
        raise click.UsageError("--reference names the jobs of one request. Use it with an ID.")
    act_on_selection("resolve", selection, params, bulk)
