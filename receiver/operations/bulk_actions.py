"""Operators' actions on many requests: previewed, then carried out on exactly the requests of the preview.

Each request is changed and its action recorded as by the action on a single request. The requests are processed in
batches, each in a transaction that stores the progress too: an action that was interrupted continues where it was, and
a reply that was lost is repeated.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from receiver.domain.access import OperatorAction
from receiver.domain.accounts import is_included
from receiver.domain.bulk_actions import BulkActionKind, BulkCall
from receiver.domain.errors import ReceiverError, StateConflict
from receiver.providers.base import Provider, find_lookup_delays
from receiver.store.actions import record_actions
from receiver.store.bulk_actions import (
    BulkAction,
    find_next_bulk_requests,
    insert_bulk_action,
    lock_bulk_action,
    save_bulk_progress,
)
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.requests import cancel_requests, retry_requests, send_requests_now
from receiver.store.unknown_requests import resolve_requests

BATCH_SIZE = 1_000


class UnknownPreview(ReceiverError):
    """No preview of the client has this token, or it has expired."""


def preview(
    connection: Connection, call: BulkCall, providers: Mapping[str, Provider], token: UUID, limit: int
) -> BulkAction:
    """Store and return the preview of a call; call within a transaction.

    Args:
        connection: a connection to the primary.
        call: the call.
        providers: everything that requests are sent to, by name.
        token: the token of the preview.
        limit: the maximum number of requests.

    Raises:
        StateConflict: the action applies to no request with the status of the filter, or to none of its providers.
    """
    statuses, names = call.kind.statuses, call.request_filter.providers
    status = call.request_filter.status
    if status is not None and status not in statuses:
        allowed = " or ".join(statuses)
        raise StateConflict(
            f"The filter has the status {status}. The action {call.kind} applies to {allowed} requests."
        )
    if call.kind.needs_provider:
        configured = [name for name in providers if names is None or is_included(name, names)]
        if names and not configured:
            raise StateConflict(
                f"The provider {' or '.join(names)} is not configured. Configure it for the action {call.kind}."
            )
        names = configured
    return insert_bulk_action(
        connection, token, call, statuses=statuses if status is None else [status], providers=names, limit=limit
    )


def carry_out(
    database: Database,
    call: BulkCall,
    providers: Mapping[str, Provider],
    token: UUID,
    operator: OperatorAction,
    *,
    time_limit_s: float,
) -> BulkAction:
    """Carry out an action on the requests of its preview and return the progress.

    Requests whose status has changed since, so that the action does not apply to them, are skipped. Concurrent calls
    with the same token take turns; a call after the end changes nothing.

    Args:
        database: the database.
        call: the call of the preview.
        providers: everything that requests are sent to, by name.
        token: the token of the preview.
        operator: who carries it out, and why.
        time_limit_s: the seconds after which no further batch begins.

    Raises:
        UnknownPreview: there is no such preview.
        StateConflict: the preview is that of another call.
    """
    deadline = time.monotonic() + time_limit_s
    while True:
        progress = database.run_repeatably(
            partial(_carry_out_batch, call=call, providers=providers, token=token, operator=operator)
        )
        if progress.processed == progress.count or time.monotonic() >= deadline:
            return progress


def _carry_out_batch(
    connection: Connection, call: BulkCall, providers: Mapping[str, Provider], token: UUID, operator: OperatorAction
) -> BulkAction:
    action = lock_bulk_action(connection, token, call.client)
    if action is None:
        raise UnknownPreview("No such preview: its token is unknown or has expired. Preview the action again.")
    if action.digest != call.digest:
        raise StateConflict("The token belongs to a preview of another action or filter. Preview this one.")
    request_ids = find_next_bulk_requests(connection, token, BATCH_SIZE)
    if not request_ids:
        return action
    changed_ids = _change_requests(connection, call, providers, request_ids, operator)
    reason = f"{call.status}: {operator.reason}" if call.kind is BulkActionKind.RESOLVE else operator.reason
    record_actions(connection, changed_ids, call.kind, operator.actor, reason)
    return save_bulk_progress(connection, token, processed=len(request_ids), applied=len(changed_ids))


def _change_requests(
    connection: Connection,
    call: BulkCall,
    providers: Mapping[str, Provider],
    request_ids: Sequence[UUID],
    operator: OperatorAction,
) -> Sequence[UUID]:
    """Change those of the requests to which the action applies, and return their ids."""
    match call.kind:
        case BulkActionKind.RETRY:
            deadlines = {name: provider.deadline for name, provider in providers.items()}
            return retry_requests(connection, request_ids, deadlines)
        case BulkActionKind.CANCEL:
            return cancel_requests(connection, request_ids, find_lookup_delays(providers))
        case BulkActionKind.SEND_NOW:
            return send_requests_now(connection, request_ids)
        case BulkActionKind.RESOLVE:
            if call.status is None:
                raise ValueError("a resolution has a status")
            detail = f"resolved by {operator.actor}: {operator.reason}"
            return resolve_requests(connection, request_ids, call.status, detail)
