"""Statistics: counts by status, how long jobs take, and how each provider calls back.

The complete lists at the end are for the small database of a demonstration.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from receiver.domain.jobs import JobStatus
from receiver.store.connections import Connection, row_factory
from receiver.store.statements import load_statement

ATTENTION_KINDS = (
    "unmatched",
    "unmapped",
    "invalid",
    "disputed",
    "unresolved",
    "unknown",
    "reference_conflict",
    "unconfigured",
    "refused",
)
"""The kinds of rows that need attention: the names of the counts in `Attention`."""
_DURATION_JOBS, _MAX_DURATION_JOBS, _MIN_DURATION_JOBS = 2_500, 1_000, 10
_CALLBACK_JOBS, _MAX_CALLBACK_JOBS, _MIN_CALLBACK_JOBS = 1_000, 100, 5
"""How many jobs are measured: in total, and of one provider and status at most and at least."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of requests and jobs by status."""

    requests: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    jobs: dict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True, slots=True)
class Attention:
    """The number of a provider's jobs, callbacks and requests that need attention, by kind.

    `unconfigured` are the queued requests and open jobs of a provider that is not configured. `refused` are the
    callbacks that were refused in the last day and not accepted since.
    """

    name: str
    unmatched: int
    unmapped: int
    invalid: int
    disputed: int
    unresolved: int
    unknown: int
    reference_conflict: int
    unconfigured: int = 0
    refused: int = 0

    @property
    def is_needed(self) -> bool:
        """Whether anything needs attention."""
        return any(getattr(self, kind) for kind in ATTENTION_KINDS)


@dataclass(frozen=True, slots=True)
class Durations:
    """Percentiles of the seconds from acceptance to the final status, over `jobs` jobs; None if there are no jobs."""

    jobs: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job without a final status; `accepted_at` is UTC."""

    id: UUID
    reference: str
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class CompletionStats:
    """How long a provider's jobs take, and its oldest open job."""

    seconds_to_final: Durations
    oldest_open_job: OpenJob | None


@dataclass(frozen=True, slots=True)
class DueAges:
    """How many seconds ago a provider's oldest due request, poll and lookup became due; 0 if none is due."""

    name: str
    requests: float
    polls: float
    lookups: float


@dataclass(frozen=True, slots=True)
class CallbackStats:
    """When a provider last called back (UTC), and how many of its recently ended `jobs` had no callback."""

    name: str
    last_callback_at: datetime | None
    jobs: int
    without_callback: int

    @property
    def missing_rate(self) -> float | None:
        """The share of recently ended jobs without a callback; None if no job has ended."""
        return self.without_callback / self.jobs if self.jobs else None


def count_by_provider(connection: Connection) -> Mapping[str, Counts]:
    """Count requests and jobs by status, for each provider."""
    counts: dict[str, Counts] = defaultdict(Counts)
    for provider, kind, status, count in connection.execute(load_statement("count_by_provider")):
        provider_counts = counts[provider]
        (provider_counts.requests if kind == "requests" else provider_counts.jobs)[status] = count
    return counts


def find_completion_stats(connection: Connection, names: Sequence[str]) -> Mapping[str, CompletionStats]:
    """Return how long the jobs of providers take, measured over the jobs that ended last."""
    limit = _divide(_DURATION_JOBS, names, _MIN_DURATION_JOBS, _MAX_DURATION_JOBS)
    params = {"names": list(names), "limit": limit}
    return {
        name: CompletionStats(
            Durations(jobs, *(percentiles or ())), OpenJob(job_id, reference, accepted_at) if job_id else None
        )
        for name, jobs, percentiles, job_id, reference, accepted_at in connection.execute(
            load_statement("find_completion_stats"), params, prepare=False
        )
    }


def count_open_jobs(
    connection: Connection,
    bounds: Sequence[datetime],
    statuses: Sequence[JobStatus],
    *,
    limit: int,
    providers: Collection[str] | None = None,
) -> Mapping[JobStatus, list[int]]:
    """Count jobs with certain statuses by the time of their acceptance.

    Args:
        connection: an open connection.
        bounds: times (UTC), newest first: the first count is of jobs accepted at the first bound or later, the next of
            those accepted before the first and not before the second, and so on; the last of those before all bounds.
        statuses: the statuses to count, such as those of open jobs. There must be few such jobs, or a low limit.
        limit: at most so many jobs of a status and an age are counted.
        providers: the only providers, with their accounts; None means all.
    """
    params = {
        "since": [*bounds, None],
        "until": [None, *bounds],
        "statuses": list(statuses),
        "limit": limit,
        "providers": None if providers is None else list(providers),
    }
    counts = {status: [0] * (len(bounds) + 1) for status in statuses}
    for number, status, count in connection.execute(load_statement("count_open_jobs"), params, prepare=False):
        counts[JobStatus(status)][number - 1] = count
    return counts


def find_due_ages(connection: Connection, names: Sequence[str]) -> Sequence[DueAges]:
    """Return how long work of each provider has been due, that of a paused provider too."""
    cursor = connection.cursor(row_factory=row_factory(DueAges))
    return cursor.execute(load_statement("find_due_ages"), {"names": list(names)}).fetchall()


def list_stored_providers(connection: Connection) -> list[str]:
    """Return the names of the providers of which rows are stored that may need attention, configured or not."""
    return [name for (name,) in connection.execute(load_statement("list_stored_providers"))]


def count_attention(
    connection: Connection, names: Sequence[str], configured: Collection[str]
) -> Mapping[str, Attention]:
    """Count what needs attention, by provider; `configured` are the names of all configured providers."""
    cursor = connection.cursor(row_factory=row_factory(Attention))
    params = {"names": list(names), "configured": list(configured)}
    rows = cursor.execute(load_statement("count_attention"), params).fetchall()
    refused: dict[str, int] = dict(connection.execute(load_statement("count_refusals"), params, prepare=False))
    return {row.name: replace(row, refused=refused.get(row.name, 0)) for row in rows}


def find_callback_stats(connection: Connection, names: Sequence[str]) -> Mapping[str, CallbackStats]:
    """Return how providers call back, measured over the jobs that ended last."""
    cursor = connection.cursor(row_factory=row_factory(CallbackStats))
    limit = _divide(_CALLBACK_JOBS, names, _MIN_CALLBACK_JOBS, _MAX_CALLBACK_JOBS)
    params = {"names": list(names), "limit": limit}
    rows = cursor.execute(load_statement("find_callback_stats"), params, prepare=False).fetchall()
    return {row.name: row for row in rows}


def count_by_status(connection: Connection) -> dict[tuple[str, str], int]:
    """Count requests and jobs by kind (`request` or `job`) and status."""
    return {(kind, status): count for kind, status, count in connection.execute(load_statement("count_by_status"))}


def list_all_requests(connection: Connection) -> list[tuple[str, str]]:
    """Return the client reference and status of every request."""
    return [(reference, status) for reference, status in connection.execute(load_statement("list_all_requests"))]


def list_all_jobs(connection: Connection) -> list[tuple[str, str, bool, bool]]:
    """Return the reference and status of every job, whether it is disputed, and whether its request is known."""
    return [
        (reference, status, disputed, matched)
        for reference, status, disputed, matched in connection.execute(load_statement("list_all_jobs"))
    ]


def _divide(total: int, names: Collection[str], at_least: int, at_most: int) -> int:
    """Divide a number of jobs between providers."""
    return max(at_least, min(at_most, total // max(len(names), 1)))
