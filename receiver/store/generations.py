"""Generations of references, see `receiver.domain.generations`: found, opened by responses, and removed.

A job with a later generation has `superseded_at`. The statement `reconcile` aborts where an event was assigned to such
a job although it belongs to the later one: the generation was opened at the same time. Its callers repeat it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from uuid import UUID

from receiver.domain.audit import AuditedJob, prove_job
from receiver.domain.generations import (
    Generation,
    assign_generations,
    belongs_to_newest,
    derive_generation_job_id,
    is_reuse,
    split_events,
)
from receiver.domain.jobs import JobEvent
from receiver.store.audit import find_audited_events, lock_audited_jobs, repair_jobs
from receiver.store.connections import Connection, as_jsonb, row_factory
from receiver.store.prune import RemovedCounts
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class _ReuseCandidate:
    """A job that may have ended more than `reuse_after` seconds before the request was sent that names it again."""

    first_job_id: UUID
    number: int
    previous_job_id: UUID
    opened_at: datetime
    reuse_after: float


def find_generations(connection: Connection, first_job_ids: Collection[UUID]) -> list[Generation]:
    """Return the generations of references, given by the ids of the jobs of their first generations."""
    cursor = connection.cursor(row_factory=row_factory(Generation))
    return cursor.execute(load_statement("find_generations"), {"ids": list(first_job_ids)}).fetchall()


def lock_generations(connection: Connection, first_job_ids: Collection[UUID]) -> list[Generation]:
    """Return the generations of references, which are not removed until the end of the transaction."""
    cursor = connection.cursor(row_factory=row_factory(Generation))
    return cursor.execute(load_statement("lock_generations"), {"ids": list(first_job_ids)}).fetchall()


def find_assigned_events(connection: Connection, events: Sequence[JobEvent]) -> list[JobEvent]:
    """Return events with the ids of the jobs that their references name."""
    return assign_generations(events, find_generations(connection, {event.job_id for event in events}))


def open_generations(connection: Connection, events: Sequence[JobEvent]) -> list[JobEvent]:
    """Open a generation for each reference that a response uses again; call within a transaction.

    Call before the events of the responses are reconciled, and with all of them: their jobs are locked in one global
    order. Whatever was received about the new job before its response is taken from the job before.

    Returns:
        The events that are to be reconciled with the new jobs.
    """
    candidates = _find_candidates(connection, events)
    if not candidates:
        return []
    openings = [
        {"previous_job_id": candidate.previous_job_id, "opened_at": candidate.opened_at} for candidate in candidates
    ]
    connection.execute(load_statement("lock_later_events"), {"openings": as_jsonb(openings)})
    job_ids = {candidate.previous_job_id for candidate in candidates}
    # From here on no event is stored with these jobs: see the guard in the statement `reconcile`.
    locked = {job.id: job for job in lock_audited_jobs(connection, job_ids | {event.job_id for event in events})}
    stored_events = find_audited_events(connection, job_ids)
    responses = {event.job_id: event for event in events if belongs_to_newest(event)}
    moved: list[JobEvent] = []
    for candidate in candidates:
        job = locked.get(candidate.previous_job_id)
        if job is not None and job.superseded_at is None:
            response = responses[candidate.first_job_id]
            moved += [
                _build_moved_event(event, response, candidate)
                for event in _open_generation(connection, candidate, job, stored_events[job.id])
            ]
    return moved


def _find_candidates(connection: Connection, events: Sequence[JobEvent]) -> list[_ReuseCandidate]:
    references = [
        {"first_job_id": event.job_id, "request_id": event.request_id, "reuse_after": event.reuse_after}
        for event in events
        if event.reuse_after is not None and belongs_to_newest(event)
    ]
    cursor = connection.cursor(row_factory=row_factory(_ReuseCandidate))
    params = {"references": as_jsonb(references)}
    return cursor.execute(load_statement("find_reuse_candidates"), params, prepare=False).fetchall()


def _open_generation(
    connection: Connection, candidate: _ReuseCandidate, job: AuditedJob, events: Sequence[JobEvent]
) -> list[JobEvent]:
    """Open a generation if the events before it prove that the job before had ended; return the events to move."""
    staying, moved = split_events(events, candidate.opened_at)
    if job.request_id in {event.request_id for event in moved} - {event.request_id for event in staying}:
        job = replace(job, request_id=None)  # named by a callback that belongs to the new job
    proven = prove_job(replace(job, next_opened_at=candidate.opened_at), staying)
    if proven is None or not is_reuse(proven.state, candidate.opened_at, candidate.reuse_after):
        return []
    job_id = derive_generation_job_id(candidate.first_job_id, candidate.number)
    generation = Generation(candidate.first_job_id, candidate.number, job_id, candidate.opened_at)
    connection.execute(load_statement("insert_generation"), asdict(generation))
    keys = as_jsonb([{"job_id": event.job_id, "key": event.key} for event in moved])
    connection.execute(load_statement("delete_moved_events"), {"events": keys})
    repair_jobs(connection, [(job.id, proven)])
    return moved


def _build_moved_event(event: JobEvent, response: JobEvent, candidate: _ReuseCandidate) -> JobEvent:
    """Build a moved event: if it comes to create the new job, the job is as the response would have created it."""
    return replace(
        event,
        job_id=derive_generation_job_id(candidate.first_job_id, candidate.number),
        names_job=True,
        deadline_at=response.deadline_at,
        poll_at=response.poll_at,
        location=response.location,
        notify=response.notify and event.request_id == response.request_id,
        notify_events=response.notify_events if event.request_id == response.request_id else None,
    )


def find_old_references(connection: Connection, before: datetime, limit: int) -> Iterator[list[UUID]]:
    """Yield references whose newest generation was opened before a time, in pages of `limit` first job ids."""
    after = UUID(int=0)
    while True:
        params = {"after": after, "before": before, "limit": limit}
        ids = [
            first_job_id
            for (first_job_id,) in connection.execute(
                load_statement("find_prunable_references"), params, prepare=False
            ).fetchall()
        ]
        if ids:
            yield ids
        if len(ids) < limit:
            return
        after = ids[-1]


def remove_generations(connection: Connection, first_job_ids: Sequence[UUID]) -> RemovedCounts:
    """Remove the generations of those references that have no job any more; call within a transaction.

    Returns:
        No counts: a generation holds nothing that was received.
    """
    locked = connection.execute(load_statement("lock_prunable_generations"), {"ids": list(first_job_ids)}).fetchall()
    # A separate statement sees the jobs of transactions that ended while the locks were taken.
    connection.execute(load_statement("remove_generations"), {"ids": [first_job_id for (first_job_id,) in locked]})
    return RemovedCounts()
