"""What `receiver audit` reads, and how it stores repairs. `receiver.domain.audit` decides what is wrong."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from uuid import UUID

from psycopg import IsolationLevel

from receiver.domain.audit import AuditedJob, AuditedRequest, ProvenJob
from receiver.domain.jobs import EventSource, JobEvent, JobStatus
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import StoredCallback, Verdict
from receiver.store.connections import Connection, as_jsonb, row_factory, translate_errors
from receiver.store.database import BATCH_LIMIT_S, Database
from receiver.store.statements import load_statement

FIRST_ID = UUID(int=0)
"""The id to start from: no row has it."""


@contextmanager
def open_snapshot_connection(database: Database) -> Iterator[Connection]:
    """Open a read-only connection on which each transaction sees one snapshot; close it at the end.

    Raises:
        StoreUnavailable: Postgres does not answer, or the connection was lost.
    """
    with translate_errors(), closing(database.connect(limit_s=BATCH_LIMIT_S)) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection


def find_audited_jobs(connection: Connection, after: UUID, provider: str | None, limit: int) -> list[AuditedJob]:
    """Return the next jobs after an id. An impossible precedence is returned as a plain integer."""
    cursor = connection.cursor(row_factory=row_factory(AuditedJob, status=JobStatus))
    params = {"after": after, "provider": provider, "limit": limit}
    return cursor.execute(load_statement("find_audited_jobs"), params, prepare=False).fetchall()


def find_audited_events(connection: Connection, job_ids: Collection[UUID]) -> dict[UUID, list[JobEvent]]:
    """Return the events of jobs, by job. An impossible precedence is returned as a plain integer."""
    cursor = connection.cursor(row_factory=row_factory(JobEvent, source=EventSource, status=JobStatus))
    events: dict[UUID, list[JobEvent]] = {job_id: [] for job_id in job_ids}
    for event in cursor.execute(
        load_statement("find_audited_events"), {"ids": list(job_ids)}, binary=True, prepare=False
    ):
        events[event.job_id].append(event)
    return events


def lock_audited_jobs(connection: Connection, job_ids: Collection[UUID]) -> list[AuditedJob]:
    """Lock jobs until the end of the transaction and return them."""
    cursor = connection.cursor(row_factory=row_factory(AuditedJob, status=JobStatus))
    return cursor.execute(load_statement("lock_audited_jobs"), {"ids": list(job_ids)}).fetchall()


def repair_events(connection: Connection, events: Sequence[JobEvent]) -> None:
    """Store the precedence of events."""
    rows = [{"job_id": event.job_id, "key": event.key, "precedence": event.precedence} for event in events]
    connection.execute(load_statement("repair_events"), {"events": as_jsonb(rows)})


def repair_jobs(connection: Connection, jobs: Sequence[tuple[UUID, ProvenJob]]) -> None:
    """Store what the events of jobs prove; call in the transaction that locked the jobs."""
    rows = [_build_job_row(job_id, job) for job_id, job in jobs]
    connection.execute(load_statement("repair_jobs"), {"jobs": as_jsonb(rows)})


def stop_polls(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Stop polling those of the jobs that are final."""
    connection.execute(load_statement("stop_polls"), {"ids": list(job_ids)})


def find_audited_requests(
    connection: Connection,
    *,
    limit: int,
    after: UUID | None = None,
    ids: Collection[UUID] | None = None,
    provider: str | None = None,
) -> list[AuditedRequest]:
    """Return the next requests after an id, or the requests with the given ids."""
    cursor = connection.cursor(row_factory=row_factory(AuditedRequest, status=RequestStatus))
    params = {"after": after, "ids": None if ids is None else list(ids), "provider": provider, "limit": limit}
    return cursor.execute(load_statement("find_audited_requests"), params, prepare=False).fetchall()


def lock_audited_requests(connection: Connection, request_ids: Collection[UUID]) -> None:
    """Lock requests until the end of the transaction."""
    connection.execute(load_statement("lock_audited_requests"), {"ids": list(request_ids)})


def repair_requests(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store repaired requests.

    Args:
        connection: a connection in the transaction that locked the requests.
        rows: for each request its `id`, and those of `status`, `attempts`, `detail`, `lease_ends` and
            `reference_conflict` that change.
    """
    connection.execute(load_statement("repair_requests"), {"requests": as_jsonb(rows)})


def find_unlinked_callbacks(
    connection: Connection, after: UUID, provider: str | None, limit: int
) -> list[StoredCallback]:
    """Return the next accepted or unmapped callbacks after an id that no event refers to."""
    cursor = connection.cursor(row_factory=row_factory(StoredCallback, verdict=Verdict))
    params = {"after": after, "provider": provider, "limit": limit}
    return cursor.execute(load_statement("find_unlinked_callbacks"), params, prepare=False).fetchall()


def find_stored_events(connection: Connection, events: Sequence[JobEvent]) -> set[tuple[UUID, UUID]]:
    """Return the job id and key of those of the events that are stored."""
    rows = as_jsonb([{"job_id": event.job_id, "key": event.key} for event in events])
    return {(job_id, key) for job_id, key in connection.execute(load_statement("find_stored_events"), {"events": rows})}


def _build_job_row(job_id: UUID, job: ProvenJob) -> dict[str, Any]:
    return {"id": job_id, **job.state.to_dict(), "request_id": job.request_id, "superseded_at": job.superseded_at}
