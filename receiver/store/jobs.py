"""Jobs and their events, read; and the due times by which silent jobs are followed. `reconcile` writes the rest."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.domain.jobs import EventSource, JobEvent, JobState, JobStatus, Precedence, derive_job_id
from receiver.domain.paging import Cursor, Page
from receiver.store.database import Connection
from receiver.store.jsonb import as_jsonb
from receiver.store.limits import ProviderCapacity
from receiver.store.paging import build_page_parameters
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement


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

    @property
    def unmatched(self) -> bool:
        """Whether no request of ours is known for it yet."""
        return self.request_id is None


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


def build_state_columns(state: JobState) -> dict[str, Any]:
    """Give the columns of a job that its events amount to."""
    return {
        "status": state.status,
        "precedence": state.precedence,
        "disputed": state.disputed,
        "decided_at": state.decided_at,
        "decided_position": state.decided_position,
        "decided_by": state.decided_by,
        "accepted_at": state.accepted_at,
        "finished_at": state.finished_at,
    }


def find_job(connection: Connection, job_id: UUID) -> Job | None:
    """Give one job."""
    cursor = connection.cursor(row_factory=row_factory(Job, status=JobStatus))
    return cursor.execute(load_statement("find_job"), {"id": job_id}).fetchone()


def find_request_jobs(connection: Connection, request_id: UUID, most: int | None = None) -> list[Job]:
    """Give a request's jobs, at most so many, those accepted first."""
    cursor = connection.cursor(row_factory=row_factory(Job, status=JobStatus))
    return cursor.execute(load_statement("find_request_jobs"), {"id": request_id, "most": most}).fetchall()


def list_jobs(
    connection: Connection,
    *,
    status: JobStatus | None = None,
    providers: Sequence[str] | None = None,
    reference: str | None = None,
    request_id: UUID | None = None,
    disputed: bool | None = None,
    unmatched: bool | None = None,
    accepted_from: datetime | None = None,
    accepted_to: datetime | None = None,
    finished_from: datetime | None = None,
    finished_to: datetime | None = None,
    cursor: Cursor | None = None,
    limit: int = 50,
) -> Page[Job]:
    """Give jobs, the newest accepted first; where `finished_…` is given, the newest finished first.

    Each argument leaves the jobs that it fits: `…_from` is inclusive, `…_to` is not.
    """
    ids = None
    if reference is not None:
        ids = [derive_job_id(name, reference) for name in (providers or _providers_with_jobs(connection))]
    by_end = finished_from is not None or finished_to is not None
    given = {
        "statuses": list(JobStatus) if status is None else [status],
        "providers": None if providers is None else list(providers),
        "ids": ids,
        "request_id": request_id,
        "disputed": disputed,
        "unmatched": unmatched,
        "accepted_from": accepted_from,
        "accepted_to": accepted_to,
        "finished_from": finished_from,
        "finished_to": finished_to,
        "by_end": by_end,
        **build_page_parameters(cursor, limit),
    }
    named = ids is not None or request_id is not None
    rows = connection.cursor(row_factory=row_factory(Job, status=JobStatus))
    name = "list_named_jobs" if named else "list_jobs"
    found = rows.execute(load_statement(name), given, prepare=False).fetchall()
    return Page.of(found, limit, lambda job: Cursor((job.finished_at if by_end else None) or job.accepted_at, job.id))


def _providers_with_jobs(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute(load_statement("list_providers_with_jobs"))]


def find_events(connection: Connection, job_ids: Collection[UUID]) -> list[JobEvent]:
    """Give the events of jobs in the order of receipt."""
    cursor = connection.cursor(
        row_factory=row_factory(JobEvent, source=EventSource, status=JobStatus, precedence=Precedence)
    )
    return cursor.execute(load_statement("find_events"), {"ids": list(job_ids)}).fetchall()


def find_waited_jobs(connection: Connection, waited: Collection[UUID], asked: Collection[UUID]) -> list[Job]:
    """Give those of the jobs `waited` that are final, and the jobs `asked` as they are."""
    cursor = connection.cursor(row_factory=row_factory(Job, status=JobStatus))
    return cursor.execute(load_statement("find_waited_jobs"), {"waited": list(waited), "asked": list(asked)}).fetchall()


def claim_polls(
    connection: Connection, capacities: Sequence[ProviderCapacity], batches: Mapping[str, int], lease: float
) -> list[SilentJob]:
    """Lease silent jobs that are due to be asked about, for `lease` seconds.

    A lane's capacity is in exchanges, each of which asks about so many jobs as `batches` has of its provider.
    """
    cursor = connection.cursor(row_factory=row_factory(SilentJob))
    given = {"capacities": as_jsonb(capacities), "batches": as_jsonb(batches), "lease": lease}
    return cursor.execute(load_statement("claim_polls"), given).fetchall()


def schedule_polls(connection: Connection, polls: Sequence[NextPoll], others: Collection[UUID]) -> None:
    """Set when jobs are asked about next; call in the transaction that then records what was said of them and `others`.

    All of them are locked first, in one order: two workers may have been told of the same jobs.
    """
    given = {"polls": as_jsonb(polls), "others": list(others)}
    connection.execute(load_statement("schedule_polls"), given)


def schedule_polls_now(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Make open jobs due to be asked about now; call in the transaction that reconciled them, which locked them."""
    connection.execute(load_statement("schedule_polls_now"), {"ids": list(job_ids)})


def lock_overdue_jobs(connection: Connection, limit: int) -> list[OverdueJob]:
    """Take open jobs past their deadline; call within a transaction, which keeps them locked."""
    cursor = connection.cursor(row_factory=row_factory(OverdueJob))
    return cursor.execute(load_statement("lock_overdue_jobs"), {"limit": limit}).fetchall()
