"""Reconcile events with jobs, in one transaction.

Events of every source pass through this module: responses, callbacks, polls, operators and deadlines. The stored result
depends on the set of events only, not on their order or on the batches in which they came.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

import structlog

from receiver.domain.generations import assign_generations
from receiver.domain.jobs import JobEvent, JobState, deduplicate_events, fold_job
from receiver.domain.sending import REFERENCE_CONFLICT_DETAIL
from receiver.store.callbacks import StoredCallback
from receiver.store.connections import Connection, as_jsonb, transaction
from receiver.store.generations import lock_generations, open_generations
from receiver.store.reference_conflicts import FlaggedConflict, flag_reference_conflicts
from receiver.store.statements import load_statement

_MAX_DETAILED_CONFLICTS = 3

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReferenceConflict:
    """The provider gave request `other_request_id` the reference of a job that belongs to request `owner_id`.

    The job stays with its owner. At `deadline_at` (UTC) a job of the other request would have become `unresolved`.
    """

    job_id: UUID
    provider: str
    reference: str
    owner_id: UUID
    other_request_id: UUID
    deadline_at: datetime


def reconcile(
    connection: Connection, events: Iterable[JobEvent], callbacks: Sequence[StoredCallback] = ()
) -> list[ReferenceConflict]:
    """Store callbacks and new events and merge the events into their jobs, atomically.

    Runs in the caller's transaction if there is one, else in its own: as one statement, if no reference is used again
    (see `receiver.domain.generations`). Events and callbacks that are already stored change nothing, except that the
    earliest receive time of an event is stored.

    Returns:
        The events' requests that do not get the job because it belongs to another request.

    Raises:
        psycopg.Error: Postgres failed; nothing is stored.
        Unstorable: see `as_jsonb`.
    """
    all_events = list(events)
    if any(event.reuse_after is not None for event in all_events):
        with transaction(connection):
            moved_events = open_generations(connection, all_events)
            return _reconcile(connection, all_events, moved_events, callbacks)
    return _reconcile(connection, all_events, (), callbacks)


def _reconcile(
    connection: Connection,
    events: Sequence[JobEvent],
    moved_events: Sequence[JobEvent],
    callbacks: Sequence[StoredCallback],
) -> list[ReferenceConflict]:
    """Reconcile events, and events that were taken from other jobs; return the conflicts of the former."""
    owners, reused_ids = _execute(connection, [*events, *moved_events], callbacks, assigned=False)
    if reused_ids:
        with transaction(connection):
            events = assign_generations(events, lock_generations(connection, reused_ids))
            owners, _ = _execute(connection, [*events, *moved_events], callbacks, assigned=True)
    conflicts = [
        ReferenceConflict(
            job_id=event.job_id,
            provider=event.provider,
            reference=event.reference,
            owner_id=owners[event.job_id],
            other_request_id=event.request_id,
            deadline_at=event.deadline_at,
        )
        for event in events
        if event.request_id is not None and event.request_id != owners[event.job_id]
    ]
    return list(dict.fromkeys(conflicts))


def _execute(
    connection: Connection, events: Sequence[JobEvent], callbacks: Sequence[StoredCallback], *, assigned: bool
) -> tuple[Mapping[UUID, UUID], Collection[UUID]]:
    """Execute the statement `reconcile`.

    Returns:
        The request of each job that has one. And the first jobs of the references with several generations, unless the
        events are `assigned` to generations; if there are any, nothing is stored.
    """
    unique_events = deduplicate_events(events)
    job_rows = _build_job_rows(unique_events)
    batch = as_jsonb(
        {
            "callbacks": sorted(callbacks, key=_get_callback_order),
            "events": [_build_event_row(event) for event in unique_events],
            "jobs": job_rows,
        }
    )
    params = {"batch": batch, "assigned": assigned}
    rows = connection.execute(load_statement("reconcile"), params, binary=True).fetchall()
    other_owners = {job_id: request_id for job_id, request_id in rows if request_id is not None}
    reused_ids = [job_id for job_id, request_id in rows if request_id is None]
    owners = {row["id"]: row["request_id"] for row in job_rows if row["request_id"] is not None}
    return owners | other_owners, reused_ids


def reconcile_responses(connection: Connection, events: Sequence[JobEvent]) -> set[UUID]:
    """Reconcile events from responses, and flag the requests whose reference belongs to another request.

    Call within a transaction that has locked the requests.

    Returns:
        The requests that now have one of the jobs.
    """
    conflicts = reconcile(connection, events)
    for conflict in conflicts:
        _log.error("reference_conflict.detected", job=str(conflict.job_id), request=str(conflict.other_request_id))
    if conflicts:
        flag_reference_conflicts(connection, _build_flags(conflicts))
    return find_matched_requests(events, conflicts)


def find_matched_requests(events: Iterable[JobEvent], conflicts: Iterable[ReferenceConflict]) -> set[UUID]:
    """Return the requests that have one of the reconciled jobs; `conflicts` are those that `reconcile` returned."""
    unmatched = {(conflict.provider, conflict.reference, conflict.other_request_id) for conflict in conflicts}
    return {
        event.request_id
        for event in events
        if event.request_id is not None and (event.provider, event.reference, event.request_id) not in unmatched
    }


def _build_flags(conflicts: Sequence[ReferenceConflict]) -> list[FlaggedConflict]:
    """Build one flag for each request; its detail names the first conflicts only."""
    conflicts_by_request: dict[UUID, list[ReferenceConflict]] = {}
    for conflict in conflicts:
        conflicts_by_request.setdefault(conflict.other_request_id, []).append(conflict)
    flags = []
    for request_id, own in conflicts_by_request.items():
        details = [
            f"{REFERENCE_CONFLICT_DETAIL} {conflict.job_id} of request {conflict.owner_id}"
            for conflict in own[:_MAX_DETAILED_CONFLICTS]
        ]
        if len(own) > _MAX_DETAILED_CONFLICTS:
            details.append(f"and with {len(own) - _MAX_DETAILED_CONFLICTS} more references of other requests")
        flags.append(FlaggedConflict(request_id, "; ".join(details), max(conflict.deadline_at for conflict in own)))
    return flags


def _get_callback_order(callback: StoredCallback) -> tuple[UUID, datetime]:
    # Concurrent batches lock their rows in one order, so that they cannot deadlock.
    return callback.identity, callback.received_at


# Rows have their columns in the order of jsonb, by length and then by name, so that Postgres need not sort them.


def _build_event_row(event: JobEvent) -> dict[str, Any]:
    return {
        "key": event.key,
        "code": event.code,
        "actor": event.actor,
        "detail": event.detail,
        "job_id": event.job_id,
        "source": event.source,
        "status": event.status,
        "position": event.position,
        "precedence": event.precedence,
        "request_id": event.request_id,
        "callback_id": event.callback_id,
        "occurred_at": event.occurred_at,
        "received_at": event.received_at,
        "provider_status": event.provider_status,
    }


def _build_job_rows(events: Sequence[JobEvent]) -> list[dict[str, Any]]:
    """Build a row for each job of `events`, which are sorted by job."""
    rows = []
    for _, group in groupby(events, key=attrgetter("job_id.int")):
        own_events = list(group)
        creator = own_events[0] if len(own_events) == 1 else min(own_events, key=_get_creator_order)
        rows.append(_build_job_row(creator, fold_job(own_events)))
    return rows


def _get_creator_order(event: JobEvent) -> tuple[bool, datetime, UUID]:
    """Return the sort key by which a job's creator is chosen: the first event that names a request, else the first."""
    return (event.request_id is None, event.received_at, event.key)


def _build_job_row(creator: JobEvent, state: JobState) -> dict[str, Any]:
    finished_at = state.finished_at
    return {
        "id": creator.job_id,
        "notify": creator.notify,
        "status": state.status,
        "poll_at": None if finished_at else creator.poll_at,
        "disputed": state.disputed,
        "location": creator.location,
        "provider": creator.provider,
        "reference": creator.reference,
        "decided_at": state.decided_at,
        "decided_by": state.decided_by,
        "precedence": state.precedence,
        "request_id": creator.request_id,
        "accepted_at": state.accepted_at,
        "deadline_at": creator.deadline_at,
        "finished_at": finished_at,
        "notify_events": creator.notify_events,
        "decided_position": state.decided_position,
    }
