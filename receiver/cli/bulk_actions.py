"""Acts on many requests: shows a preview, asks for confirmation, and carries the action out with progress."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import click
import orjson

from receiver.cli.api import ApiError, Service, Unavailable, connect_service
from receiver.cli.formats import Json
from receiver.cli.messages import print_message, show_progress
from receiver.cli.output import print_json
from receiver.cli.rendering import print_request
from receiver.cli.table_printer import TablePrinter
from receiver.cli.tables import REQUESTS
from receiver.cli.unknown_names import report_unknown_names

_MAX_TRIES = 3
_NONE_MATCH = "no requests match to which this applies"


@dataclass(frozen=True, slots=True)
class RequestSelection:
    """The requests that a command acts on: those with these ids, or all that match the filters."""

    ids: Sequence[UUID]
    filters: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.ids and self.filters:
            raise click.UsageError("Name requests by ID or select them by options, not both.")
        if not self.ids and not self.filters:
            raise click.UsageError("Name requests by ID, or select them by options such as --provider.")


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """How an action on many requests is carried out and printed."""

    dry_run: bool
    yes: bool
    as_json: bool


def act_on_selection(action: str, selection: RequestSelection, params: Mapping[str, Any], options: BulkOptions) -> None:
    """Carry out an action on requests; exit with 1 if it fails for one of several.

    Args:
        action: the last segment of the path of the action on one request.
        selection: the requests.
        params: the body of the action; values that are None or empty are left out.
        options: how to carry it out and print it.
    """
    service, body = connect_service(), {name: value for name, value in params.items() if value}
    if selection.filters:
        _act_on_matching(service, {"action": action, "filter": selection.filters, **body}, options)
    elif options.dry_run:
        raise click.UsageError("--dry-run shows which requests the options select. Omit it with IDs.")
    else:
        _act_on_each(service, action, selection.ids, body, as_json=options.as_json)


def _act_on_each(service: Service, action: str, ids: Sequence[UUID], body: Json, *, as_json: bool) -> None:
    documents: list[Json] = []
    failed = False
    for request_id in ids:
        try:
            documents.append(service.post("requests", request_id, action, body=orjson.dumps(body)))
        except Unavailable:
            raise
        except ApiError as error:
            if len(ids) == 1:
                raise
            print_message(f"{request_id}: {error.message}")
            failed = True
    if as_json:
        print_json(documents[0] if len(ids) == 1 else {"items": documents, "next_cursor": None})
    elif len(ids) == 1:
        print_request(documents[0])
    elif documents:
        TablePrinter(REQUESTS).show(documents)
    sys.exit(1 if failed else 0)


def _act_on_matching(service: Service, call: Json, options: BulkOptions) -> None:
    preview = _post(service, {**call, "dry_run": True})
    if not options.as_json:
        _print_preview(preview)
    if not preview["count"]:
        report_unknown_names(service, call["filter"])
    if options.dry_run or not preview["count"]:
        if options.as_json:
            print_json(preview)
        return
    if not options.yes:
        click.confirm(f"{call['action']}: {_count(preview['count'])}?", abort=True, err=True)
    progress = _carry_out(service, {**call, "token": preview["token"]}, preview)
    if options.as_json:
        print_json(progress)
    else:
        skipped = f", {progress['skipped']:,} skipped because their status has changed" if progress["skipped"] else ""
        print_message(f"{call['action']}: {_count(progress['applied'])}{skipped}")


def _carry_out(service: Service, call: Json, progress: Json) -> Json:
    """Repeat the call until all requests are processed, and return the last response."""
    with show_progress(_describe(progress)) as update:
        while progress["remaining"]:
            progress = _post(service, call)
            update(_describe(progress))
    return progress


def _post(service: Service, call: Json) -> Json:
    """Post a call, which changes nothing twice, and again if no response came."""
    for remaining in reversed(range(_MAX_TRIES)):
        try:
            document: Json = service.post("requests", "bulk", body=orjson.dumps(call))
        except Unavailable:
            if not remaining:
                raise
        else:
            return document
    raise AssertionError("the last try returns")


def _print_preview(preview: Json) -> None:
    if not preview["count"]:
        print_message(_NONE_MATCH)
        return
    TablePrinter(REQUESTS).show(preview["sample"])
    others = preview["count"] - len(preview["sample"])
    print_message(f"and {others:,} more" if others else _count(preview["count"]))


def _describe(progress: Json) -> str:
    return f"{progress['count'] - progress['remaining']:,} of {_count(progress['count'])} processed"


def _count(number: int) -> str:
    return f"{number:,} request{'' if number == 1 else 's'}"
