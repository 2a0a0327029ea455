"""What `receiver audit` reads, and how it mends what is proven; what is wrong is judged by `receiver.domain.audit`."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from uuid import UUID

from psycopg import IsolationLevel

from receiver.domain.audit import AuditedJob, AuditedRequest, ProvenJob
from receiver.domain.jobs import EventSource, JobEvent, JobStatus
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import StoredCallback, Verdict
from receiver.store.database import Connection, connect, translate_errors
from receiver.store.jobs import build_state_columns
from receiver.store.jsonb import as_jsonb
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement

FIRST_ID = UUID(int=0)


@contextmanager
def open_snapshot_connection(dsn: str) -> Iterator[Connection]:
    """Lend a connection each of whose transactions sees one moment, and can write nothing.

    Raises:
        StoreUnavailable: Postgres does not answer, or was lost.
    """
    with translate_errors(), closing(connect(dsn)) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection


def find_audited_jobs(connection: Connection, after: UUID, provider: str | None, limit: int) -> list[AuditedJob]:
    """Give the next jobs after an id. A weight that cannot be is given as it is."""
    cursor = connection.cursor(row_factory=row_factory(AuditedJob, status=JobStatus))
    given = {"after": after, "provider": provider, "limit": limit}
    return cursor.execute(load_statement("find_audited_jobs"), given, prepare=False).fetchall()


def find_audited_events(connection: Connection, job_ids: Collection[UUID]) -> dict[UUID, list[JobEvent]]:
    """Give the events of jobs, by job. A weight that cannot be is given as it is."""
    cursor = connection.cursor(row_factory=row_factory(JobEvent, source=EventSource, status=JobStatus))
    found: dict[UUID, list[JobEvent]] = {job_id: [] for job_id in job_ids}
    for event in cursor.execute(load_statement("find_events"), {"ids": list(job_ids)}, binary=True, prepare=False):
        found[event.job_id].append(event)
    return found


def lock_audited_jobs(connection: Connection, job_ids: Collection[UUID]) -> list[AuditedJob]:
    """Give jobs, locked until the end of the transaction."""
    cursor = connection.cursor(row_factory=row_factory(AuditedJob, status=JobStatus))
    return cursor.execute(load_statement("lock_audited_jobs"), {"ids": list(job_ids)}).fetchall()


def repair_events(connection: Connection, events: Sequence[JobEvent]) -> None:
    """Store the weights of events."""
    rows = [{"job_id": event.job_id, "key": event.key, "precedence": event.precedence} for event in events]
    connection.execute(load_statement("repair_events"), {"events": as_jsonb(rows)})


def repair_jobs(connection: Connection, proven: Sequence[tuple[UUID, ProvenJob]]) -> None:
    """Store what is proven of jobs; call in the transaction that locked them."""
    rows = [_job_row(job_id, one) for job_id, one in proven]
    connection.execute(load_statement("repair_jobs"), {"jobs": as_jsonb(rows)})


def stop_polls(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Poll those of the jobs that are final no more."""
    connection.execute(load_statement("stop_polls"), {"ids": list(job_ids)})


def find_audited_requests(
    connection: Connection,
    *,
    limit: int,
    after: UUID | None = None,
    ids: Collection[UUID] | None = None,
    provider: str | None = None,
) -> list[AuditedRequest]:
    """Give the next requests after an id, or those named."""
    cursor = connection.cursor(row_factory=row_factory(AuditedRequest, status=RequestStatus))
    given = {"after": after, "ids": None if ids is None else list(ids), "provider": provider, "limit": limit}
    return cursor.execute(load_statement("find_audited_requests"), given, prepare=False).fetchall()


def lock_audited_requests(connection: Connection, request_ids: Collection[UUID]) -> None:
    """Lock requests until the end of the transaction."""
    connection.execute(load_statement("lock_audited_requests"), {"ids": list(request_ids)})


def repair_requests(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store what is proven of requests: `id`, and of `status`, `attempts`, `detail` and `lease_ends` what changes."""
    connection.execute(load_statement("repair_requests"), {"requests": as_jsonb(rows)})


def find_unlinked_callbacks(
    connection: Connection, after: UUID, provider: str | None, limit: int
) -> list[StoredCallback]:
    """Give the next callbacks after an id that were taken and that no event names."""
    cursor = connection.cursor(row_factory=row_factory(StoredCallback, verdict=Verdict))
    given = {"after": after, "provider": provider, "limit": limit}
    return cursor.execute(load_statement("find_unlinked_callbacks"), given, prepare=False).fetchall()


def find_stored_events(connection: Connection, events: Sequence[JobEvent]) -> set[tuple[UUID, UUID]]:
    """Give those of some statements that are kept, by job and key."""
    rows = as_jsonb([{"job_id": event.job_id, "key": event.key} for event in events])
    return {(job_id, key) for job_id, key in connection.execute(load_statement("find_stored_events"), {"events": rows})}


def _job_row(job_id: UUID, proven: ProvenJob) -> dict[str, Any]:
    return {"id": job_id, **build_state_columns(proven.state), "request_id": proven.request_id}
