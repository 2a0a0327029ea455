"""Queries of jobs, and the schedule of polls. `reconcile` writes everything else."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.accounts import is_included
from receiver.domain.filters import ALL_JOBS, JobFilter
from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.domain.paging import FIRST_PAGE, Cursor, Page, PageRequest
from receiver.domain.records import record
from receiver.store.connections import Connection, as_jsonb, row_factory
from receiver.store.limits import ProviderCapacity
from receiver.store.statements import build_page_parameters, load_statement

MAX_CLIENT_REQUESTS = 10_000
"""The number of requests up to which a client's jobs are found by its requests."""


@dataclass(frozen=True, slots=True)
class Job:
    """A stored job; times are UTC. It is `unmatched` while its request is not known."""

    id: UUID
    provider: str
    reference: str
    request_id: UUID | None
    status: JobStatus
    disputed: bool
    accepted_at: datetime
    finished_at: datetime | None
    deadline_at: datetime
    unmatched: bool


@record(frozen=True, slots=True)
class SilentJob:
    """A job that is due for a poll. `polls` includes this poll, which was claimed at `polled_at`; times are UTC."""

    id: UUID
    provider: str
    reference: str
    location: str | None
    polls: int
    accepted_at: datetime
    deadline_at: datetime
    polled_at: datetime


@dataclass(frozen=True, slots=True)
class OverdueJob:
    """An open job whose deadline has passed; `deadline_at` is UTC."""

    id: UUID
    provider: str
    reference: str
    deadline_at: datetime


@record(frozen=True, slots=True)
class NextPoll:
    """When a job is polled next: the seconds from now, or None to stop polling."""

    id: UUID
    next_in: float | None


def find_job(connection: Connection, job_id: UUID) -> Job | None:
    """Return the job with this id, or None."""
    cursor = connection.cursor(row_factory=row_factory(Job, status=JobStatus))
    return cursor.execute(load_statement("find_job"), {"id": job_id}).fetchone()


def list_jobs(
    connection: Connection,
    job_filter: JobFilter = ALL_JOBS,
    page: PageRequest[Cursor] = FIRST_PAGE,
    *,
    client: str | None = None,
) -> Page[Job]:
    """Return a page of the jobs that match a filter; with `client`, only those of this client's requests.

    The jobs accepted last come first or, with `finished_from` or `finished_to`, the jobs that finished last.
    """
    ids = None
    if job_filter.reference is not None:
        names, providers = _list_providers(connection), job_filter.providers
        included = [name for name in names if providers is None or is_included(name, providers)]
        ids = [derive_job_id(name, job_filter.reference) for name in included]
    request_ids = [job_filter.request_id] if job_filter.request_id else None
    if request_ids is None and ids is None and client is not None:
        request_ids = _find_client_requests(connection, client)
    by_finished_at = job_filter.finished_from is not None or job_filter.finished_to is not None
    params = {
        **asdict(job_filter),
        "client": client,
        "statuses": list(JobStatus) if job_filter.status is None else [job_filter.status],
        "ids": ids,
        "request_ids": request_ids,
        "by_finished_at": by_finished_at,
        **build_page_parameters(page),
    }
    statement = "list_jobs" if ids is None and request_ids is None else "list_named_jobs"
    cursor = connection.cursor(row_factory=row_factory(Job, status=JobStatus))
    jobs = cursor.execute(load_statement(statement), params, prepare=False).fetchall()
    return Page.from_rows(
        jobs, page.limit, lambda job: Cursor((job.finished_at if by_finished_at else None) or job.accepted_at, job.id)
    )


def _find_client_requests(connection: Connection, client: str) -> list[UUID] | None:
    """Return the requests of a client; None if it has many, so that reading the newest jobs of all is cheaper."""
    params = {"client": client, "limit": MAX_CLIENT_REQUESTS + 1}
    ids = [request_id for (request_id,) in connection.execute(load_statement("find_client_requests"), params)]
    return ids if len(ids) <= MAX_CLIENT_REQUESTS else None


def _list_providers(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute(load_statement("list_providers_with_jobs"))]


def set_job_deadline(connection: Connection, job_id: UUID, deadline_at: datetime) -> None:
    """Set the deadline (UTC) of a job that has no final status yet."""
    connection.execute(load_statement("set_job_deadline"), {"id": job_id, "deadline_at": deadline_at})


def find_resolution_time(connection: Connection, job_id: UUID) -> datetime | None:
    """Return when the operator's status that stands was received, or None if no operator has set the job's status."""
    row = connection.execute(load_statement("find_resolution_time"), {"id": job_id}).fetchone()
    return row[0] if row else None


def find_poll_time(connection: Connection, job_id: UUID) -> datetime | None:
    """Return when a job is polled next (UTC), or None if it is not polled."""
    row = connection.execute(load_statement("find_poll_time"), {"id": job_id}).fetchone()
    return row[0] if row else None


def find_awaited_jobs(connection: Connection, awaited: Collection[UUID], requested: Collection[UUID]) -> list[Job]:
    """Return those of the jobs `awaited` that are final, and the jobs `requested` whatever their status."""
    cursor = connection.cursor(row_factory=row_factory(Job, status=JobStatus))
    params = {"awaited": list(awaited), "requested": list(requested)}
    return cursor.execute(load_statement("find_awaited_jobs"), params).fetchall()


def find_due_polls(connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
    """Return the providers for which a poll is due and may begin now, and whether polling takes a slot."""
    params = {"capacities": as_jsonb(capacities)}
    return dict(connection.execute(load_statement("find_due_polls"), params).fetchall())


def claim_polls(
    connection: Connection,
    capacities: Sequence[ProviderCapacity],
    batches: Mapping[str, int],
    leases: Mapping[str, float],
) -> list[SilentJob]:
    """Lease jobs that are due for a poll.

    Args:
        connection: any connection.
        capacities: how many exchanges each provider has room for.
        batches: how many jobs one exchange polls, by provider; one job where a provider is missing.
        leases: seconds until the jobs are due again, should this worker die, by provider.
    """
    cursor = connection.cursor(row_factory=row_factory(SilentJob))
    params = {"capacities": as_jsonb(capacities), "batches": as_jsonb(batches), "leases": as_jsonb(leases)}
    return cursor.execute(load_statement("claim_polls"), params, binary=True).fetchall()


def schedule_polls(connection: Connection, polls: Sequence[NextPoll], other_ids: Collection[UUID]) -> None:
    """Set when jobs are polled next; call in the transaction that then reconciles events of these and other jobs.

    All the jobs, `other_ids` included, are locked first and in one global order: two workers may have received
    statuses of the same jobs.
    """
    params = {"polls": as_jsonb(polls), "other_ids": list(other_ids)}
    connection.execute(load_statement("schedule_polls"), params)


def schedule_polls_now(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Make open jobs due for a poll now; call in the transaction that reconciled the jobs and so locked them."""
    connection.execute(load_statement("schedule_polls_now"), {"ids": list(job_ids)})


def lock_overdue_jobs(connection: Connection, limit: int) -> list[OverdueJob]:
    """Return open jobs whose deadline has passed; call within a transaction, which keeps the jobs locked."""
    cursor = connection.cursor(row_factory=row_factory(OverdueJob))
    return cursor.execute(load_statement("lock_overdue_jobs"), {"limit": limit}).fetchall()
