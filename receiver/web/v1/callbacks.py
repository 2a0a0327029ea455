"""`/v1/callbacks`: list, show and replay callbacks."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from receiver.domain.access import Scope
from receiver.domain.accounts import build_callback_path
from receiver.domain.callbacks import MAX_SHOWN_DELIVERIES, MAX_SHOWN_JOBS
from receiver.domain.errors import StateConflict
from receiver.domain.jobs import JobEvent
from receiver.domain.paging import Page
from receiver.inbound.explain import explain, redact_callback, redact_explanation
from receiver.inbound.replay import parse_again, record_replay
from receiver.schemas.api import callbacks as schemas
from receiver.schemas.api.common import list_of
from receiver.store.actions import find_actions
from receiver.store.callbacks import (
    CallbackSummary,
    StoredCallback,
    Verdict,
    find_callback,
    find_deliveries,
    find_first_delivery,
    list_callbacks,
    list_deliveries,
)
from receiver.store.connections import Connection
from receiver.store.events import find_callback_jobs, list_callback_events
from receiver.web.context import current_context
from receiver.web.operations import current_caller, extend_fields, restrict_filter
from receiver.web.problems import ProblemError, ProblemType
from receiver.web.v1.blueprint import api

_CALLBACK = schemas.CallbackSchema()
_NOT_FOUND = "No such callback."


@api.operation(
    "GET", "/callbacks", Scope.READ, list_of(schemas.CallbackSummarySchema)(), query=schemas.CallbackQuerySchema()
)
def browse_callbacks(query: dict[str, Any]) -> Page[CallbackSummary]:
    """List callbacks, newest first; of refused callbacks only a sample is stored."""
    callback_filter = restrict_filter(query["filter"])
    return current_context().reader.read(lambda connection: list_callbacks(connection, callback_filter, query["page"]))


@api.operation(
    "GET", "/callbacks/<uuid:callback_id>", Scope.READ, _CALLBACK, problems={ProblemType.NOT_FOUND: _NOT_FOUND}
)
def show_callback(callback_id: UUID) -> Mapping[str, Any]:
    """Show a callback and explain its verdict; only `admin` sees raw data, with secrets redacted."""
    return _build_detail(callback_id)


@api.operation(
    "GET",
    "/callbacks/<uuid:callback_id>/events",
    Scope.READ,
    list_of(schemas.CallbackEventSchema)(),
    query=schemas.CallbackEventQuerySchema(),
    problems={ProblemType.NOT_FOUND: _NOT_FOUND},
)
def browse_callback_events(callback_id: UUID, query: dict[str, Any]) -> Page[JobEvent]:
    """List what a callback reports about its jobs, in the order of its body.

    All deliveries of a callback have the same events: those that were stored with any of them, first or by a replay.
    """
    with current_context().database.connection() as connection:
        return list_callback_events(connection, _find_deliveries(connection, callback_id), query["page"])


@api.action(
    "/callbacks/<uuid:callback_id>/replay",
    Scope.ADMIN,
    _CALLBACK,
    problems={
        ProblemType.NOT_FOUND: _NOT_FOUND,
        ProblemType.STATE_CONFLICT: "The callback is still refused or was erased, or its provider is not configured.",
    },
)
def replay_callback(callback_id: UUID, body: dict[str, Any]) -> Mapping[str, Any]:
    """Process a callback again with the current configuration, e.g. after a mapping or a secret was corrected.

    The original receive time counts. A callback that was accepted is not authenticated again; a callback that was
    refused must pass authentication now. For a duplicate, the first delivery is processed.
    """
    context = current_context()
    with context.database.connection() as connection:
        callback = _find_callback(connection, callback_id)
        if callback.verdict is Verdict.DUPLICATE:
            first_id = find_first_delivery(connection, callback_id)
            if first_id is None:
                raise StateConflict(
                    "The first delivery of this duplicate is no longer stored, so it cannot be replayed."
                )
            callback = _find_callback(connection, first_id)
    parsed = parse_again(
        callback,
        context.providers.get(callback.provider),
        context.callback_authenticator.documents,
        context.settings.public_url,
    )
    with context.database.transaction() as connection:
        record_replay(connection, parsed, current_caller().name, body["reason"])
    return _build_detail(callback.id)


def _find_callback(connection: Connection, callback_id: UUID) -> StoredCallback:
    callback = find_callback(connection, callback_id)
    if callback is None or not current_caller().can_access(callback.provider):
        raise ProblemError(ProblemType.NOT_FOUND, _NOT_FOUND)
    return callback


def _find_deliveries(connection: Connection, callback_id: UUID) -> Sequence[UUID]:
    """Return the ids of all deliveries of a callback."""
    deliveries = find_deliveries(connection, callback_id)
    if deliveries is None or not current_caller().can_access(deliveries.provider):
        raise ProblemError(ProblemType.NOT_FOUND, _NOT_FOUND)
    return deliveries.ids


def _build_detail(callback_id: UUID) -> Mapping[str, Any]:
    """Build the document of a callback with its explanation, jobs and actions."""
    context = current_context()
    with context.database.connection() as connection:
        callback = _find_callback(connection, callback_id)
        actions = find_actions(connection, callback_id)
        delivery_ids = _find_deliveries(connection, callback_id)
        deliveries = list_deliveries(connection, delivery_ids, MAX_SHOWN_DELIVERIES)
        job_ids = find_callback_jobs(connection, delivery_ids, MAX_SHOWN_JOBS)
    # Without a connection: the explanation may need a key document of the provider, which may take seconds to fetch.
    provider = context.providers.get(callback.provider)
    redacted, is_admin = redact_callback(callback, provider), current_caller().has_scope(Scope.ADMIN)
    explanation = explain(callback, provider, context.callback_authenticator.documents, context.settings.public_url)
    detail = extend_fields(
        redacted,
        explanation=redact_explanation(
            explanation, callback.target, redacted.target if is_admin else f"{build_callback_path(callback.provider)}/…"
        ),
        deliveries=deliveries,
        jobs=job_ids,
        actions=actions,
        body=redacted.body.decode("utf-8", "backslashreplace"),
    )
    is_shown = is_admin and callback.erased_at is None
    return detail if is_shown else detail | dict.fromkeys(("target", "headers", "body", "caller_address"))
