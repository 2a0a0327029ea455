"""Jobs and their events, read; and the due times by which silent jobs are followed. `reconcile` writes the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.jobs import Event, JobStatus, Precedence, Source
from receiver.store.database import Connection
from receiver.store.jsonb import as_jsonb
from receiver.store.requests import Lane
from receiver.store.rows import row_of
from receiver.store.statements import statement


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored; times are UTC."""

    id: UUID
    provider: str
    reference: str
    request_id: UUID | None
    status: JobStatus
    disputed: bool
    accepted_at: datetime
    finished_at: datetime | None
    deadline_at: datetime


@dataclass(frozen=True, slots=True)
class SilentJob:
    """A job to ask its provider about. `polls` counts this poll."""

    id: UUID
    provider: str
    reference: str
    location: str | None
    polls: int
    accepted_at: datetime
    deadline_at: datetime


@dataclass(frozen=True, slots=True)
class OverdueJob:
    """An open job whose deadline passed."""

    id: UUID
    provider: str
    reference: str
    deadline_at: datetime


@dataclass(frozen=True, slots=True)
class NextPoll:
    """When a job is asked about next, in seconds from now; None for never again."""

    id: UUID
    next_in: float | None


def find_job(connection: Connection, job_id: UUID) -> Job | None:
    """Give one job."""
    cursor = connection.cursor(row_factory=row_of(Job, status=JobStatus))
    return cursor.execute(statement("find_job"), {"id": job_id}).fetchone()


def jobs_of_request(connection: Connection, request_id: UUID) -> list[Job]:
    """Give a request's jobs."""
    cursor = connection.cursor(row_factory=row_of(Job, status=JobStatus))
    return cursor.execute(statement("jobs_of_request"), {"id": request_id}).fetchall()


def events_of_job(connection: Connection, job_id: UUID) -> list[Event]:
    """Give a job's events in the order of receipt."""
    cursor = connection.cursor(row_factory=row_of(Event, source=Source, status=JobStatus, precedence=Precedence))
    return cursor.execute(statement("events_of_job"), {"id": job_id}).fetchall()


def claim_polls(connection: Connection, lanes: Sequence[Lane], lease: float) -> list[SilentJob]:
    """Lease silent jobs that are due to be asked about, for `lease` seconds."""
    cursor = connection.cursor(row_factory=row_of(SilentJob))
    given = {"lanes": as_jsonb(lanes), "lease": lease}
    return cursor.execute(statement("claim_polls"), given).fetchall()


def schedule_polls(connection: Connection, polls: Sequence[NextPoll]) -> None:
    """Set when jobs are asked about next."""
    connection.execute(statement("schedule_polls"), {"polls": as_jsonb(polls)})


def ask_at_once(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Make open jobs due to be asked about now; call in the transaction that reconciled them, which locked them."""
    connection.execute(statement("ask_at_once"), {"ids": list(job_ids)})


def overdue_jobs(connection: Connection, limit: int) -> list[OverdueJob]:
    """Take open jobs past their deadline; call within a transaction, which keeps them locked."""
    cursor = connection.cursor(row_factory=row_of(OverdueJob))
    return cursor.execute(statement("overdue_jobs"), {"limit": limit}).fetchall()
