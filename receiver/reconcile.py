"""The heart: events → jobs, one transaction.

Answers, callbacks, polls, operators and the clock all come through here. What is stored is a function of the set of
events, not of the order or the batches in which they came.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from receiver.domain.jobs import JobEvent, JobState, deduplicate_events, fold_events
from receiver.domain.sending import REFERENCE_CONFLICT_DETAIL
from receiver.store.callbacks import StoredCallback
from receiver.store.database import Connection
from receiver.store.jobs import build_state_columns
from receiver.store.jsonb import as_jsonb
from receiver.store.requests import flag_reference_conflict
from receiver.store.statements import load_statement

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReferenceConflict:
    """A provider gave the request `claimant_id` the reference of another request's job; the first tie stands."""

    job_id: UUID
    owner_id: UUID
    claimant_id: UUID


def reconcile(
    connection: Connection, events: Iterable[JobEvent], callbacks: Sequence[StoredCallback] = ()
) -> list[ReferenceConflict]:
    """Store what is new and join it into the jobs, atomically.

    Runs as one statement: in the caller's transaction where there is one, else in its own. Events and callbacks that
    are known already change nothing, save that the earliest receive time of an event is kept.

    Raises:
        psycopg.Error: as Postgres says; nothing is stored then.
        Unstorable: see `as_jsonb`.
    """
    given = list(events)
    stated = deduplicate_events(given)
    jobs = _job_rows(stated)
    batch = as_jsonb(
        {
            "callbacks": [callback.row() for callback in sorted(callbacks, key=_delivered)],
            "events": [_event_row(event) for event in stated],
            "jobs": jobs,
        }
    )
    told = connection.execute(load_statement("reconcile"), {"batch": batch}, binary=True)
    owners = {row["id"]: row["request_id"] for row in jobs} | {job_id: owner for job_id, owner, _ in told}
    conflicts = [
        ReferenceConflict(event.job_id, owners[event.job_id], event.request_id)
        for event in given
        if event.request_id is not None and event.request_id != owners[event.job_id]
    ]
    return list(dict.fromkeys(conflicts))


def reconcile_responses(connection: Connection, events: Sequence[JobEvent]) -> set[UUID]:
    """Reconcile what providers said of requests of ours, and tell those requests whose reference is another's.

    Call within a transaction that has locked the requests. Gives the requests that now have one of the jobs.
    """
    conflicts = reconcile(connection, events)
    for claim in conflicts:
        _log.error("reference_conflict.detected", job_id=str(claim.job_id), request_id=str(claim.claimant_id))
        detail = f"{REFERENCE_CONFLICT_DETAIL} {claim.job_id}, of request {claim.owner_id}"
        flag_reference_conflict(connection, claim.claimant_id, detail)
    return find_matched_requests(events, conflicts)


def find_matched_requests(events: Iterable[JobEvent], conflicts: Iterable[ReferenceConflict]) -> set[UUID]:
    """Give the requests that have a job of what was reconciled; `conflicts` are what `reconcile` gave."""
    elsewhere = {(claim.job_id, claim.claimant_id) for claim in conflicts}
    return {
        event.request_id
        for event in events
        if event.request_id is not None and (event.job_id, event.request_id) not in elsewhere
    }


def _delivered(callback: StoredCallback) -> tuple[UUID, datetime]:
    return callback.identity, callback.received_at


def _event_row(event: JobEvent) -> dict[str, Any]:
    return {
        "job_id": event.job_id,
        "key": event.key,
        "source": event.source,
        "status": event.status,
        "precedence": event.precedence,
        "provider_status": event.provider_status,
        "code": event.code,
        "detail": event.detail,
        "occurred_at": event.occurred_at,
        "received_at": event.received_at,
        "position": event.position,
        "callback_id": event.callback_id,
        "request_id": event.request_id,
        "actor": event.actor,
    }


def _job_rows(stated: Sequence[JobEvent]) -> list[dict[str, Any]]:
    """Give a row for each job that `stated`, sorted by job, speaks of."""
    creators: dict[UUID, JobEvent] = {}
    for event in stated:
        known = creators.get(event.job_id)
        if known is None or _ties_before(event, known):
            creators[event.job_id] = event
    states = fold_events(stated)
    return [_job_row(creators[job_id], state) for job_id, state in states.items()]


def _ties_before(event: JobEvent, known: JobEvent) -> bool:
    """Whether `event` rather than `known` says which request a job answers: the first answer does."""
    ours, theirs = ((one.request_id is None, one.received_at, one.key) for one in (event, known))
    return ours < theirs


def _job_row(creator: JobEvent, state: JobState) -> dict[str, Any]:
    return {
        "id": creator.job_id,
        "provider": creator.provider,
        "reference": creator.reference,
        "request_id": creator.request_id,
        **build_state_columns(state),
        "deadline_at": creator.deadline_at,
        "poll_at": None if state.status.is_final else creator.poll_at,
        "location": creator.location,
        "notify": creator.notify,
    }
