"""`receiver tail`: prints requests, callbacks and jobs as they change."""

import time
from collections.abc import Iterator
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.api import Service, Unavailable, connect_service
from receiver.cli.cells import Column, format_clock_time
from receiver.cli.formats import Json, format_time_ms
from receiver.cli.messages import print_message
from receiver.cli.output import print_json
from receiver.cli.table_printer import TablePrinter
from receiver.cli.tables import format_errors, format_provider, format_provider_status
from receiver.cli.terminal import wide_option
from receiver.cli.unknown_names import report_unknown_names
from receiver.domain.status_symbols import StatusKind
from receiver.domain.tail import KINDS

_LONG_POLL_S = 30
_MIN_LONG_POLL_INTERVAL_S = 1.0
_MIN_RETRY_INTERVAL_S, _MAX_RETRY_INTERVAL_S = 0.5, 5.0


def _format_note(change: Json) -> str:
    status = format_provider_status(change)
    parts = (change["operation"], change["source"], status, change["detail"], format_errors(change))
    return ", ".join(part for part in parts if part)


def _get_status_kind(change: Json) -> StatusKind:
    return _STATUS_KINDS[change["kind"]]


_STATUS_KINDS = {"request": StatusKind.REQUEST, "callback": StatusKind.VERDICT, "job": StatusKind.JOB}
_COLUMNS = (
    Column("time", "at", 9, time=format_time_ms),
    Column("kind", "kind", 8),
    Column("status", "status", status=_get_status_kind),
    Column("provider", format_provider, 6),
    Column("id", "id"),
    Column("reference", "reference", 7),
    Column("note", _format_note, 5, prose=True),
)


@click.command()
@click.option("--kind", type=click.Choice(KINDS), help="Only changes of this kind.")
@options.provider("Only changes of this provider.")
@options.account
@click.option("--reference", help="Only jobs with this reference, and the callbacks about them.")
@click.option(
    "--request", "request_id", type=click.UUID, metavar="ID", help="Only this request, its jobs and callbacks."
)
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def tail(as_json: bool, **query: str | UUID | None) -> None:
    """Follow requests, callbacks and jobs.

    Prints requests when they are submitted, have ended or become unknown, callbacks when they are received, and jobs
    when something about them is received, from now on until Ctrl-C. Reconnects by itself, and continues where it was.

    Calls the service at RECEIVER_URL with the key RECEIVER_KEY.

    Example: receiver tail --provider acme --kind job --json
    """
    table, service = TablePrinter(_COLUMNS, shorten_time=format_clock_time), connect_service()
    report_unknown_names(service, query)
    for page in _follow(service, query):
        if page["has_gap"]:
            print_message("too many changes, or too long ago: some are left out here")
        if as_json:
            for change in page["items"]:
                print_json(change, in_one_line=True)
        elif page["items"]:
            table.show(page["items"])


def _follow(service: Service, query: Json) -> Iterator[Json]:
    """Yield pages of changes for ever."""
    page = service.get("tail", query=query)
    print_message("following; Ctrl-C ends")
    while True:
        started = time.monotonic()
        page = _read_next(service, query | {"cursor": page["cursor"]})
        yield page
        if not page["items"] and time.monotonic() - started < _LONG_POLL_S / 2:
            # A service that already holds its maximum number of responses returns immediately.
            time.sleep(_MIN_LONG_POLL_INTERVAL_S)


def _read_next(service: Service, query: Json) -> Json:
    """Return the next page; wait for as long as the service is not available."""
    interval, is_lost = _MIN_RETRY_INTERVAL_S, False
    while True:
        try:
            page: Json = service.get("tail", query=query, wait=_LONG_POLL_S)
        except Unavailable as error:
            if not is_lost:
                print_message(f"still following: {error}")
            is_lost = True
            time.sleep(interval)
            interval = min(interval * 2, _MAX_RETRY_INTERVAL_S)
        else:
            if is_lost:
                print_message("connected again")
            return page
