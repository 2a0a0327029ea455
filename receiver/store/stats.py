"""Figures: how many there are of what, how long jobs take, and how each provider calls back."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import RequestStatus
from receiver.store.database import Connection
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement

ATTENTION = ("unmatched", "unmapped", "invalid", "disputed", "unresolved", "unknown")
"""The kinds of what needs somebody, as `Attention` names them."""
_DURATIONS_OF = 2_000
_CALLBACKS_OF = 300


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests and jobs there are, by status."""

    requests: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    jobs: dict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True, slots=True)
class Attention:
    """How much of a provider needs somebody: jobs, kept callbacks and requests, each kind named by its state."""

    name: str
    unmatched: int
    unmapped: int
    invalid: int
    disputed: int
    unresolved: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds from acceptance to the final word, of so many `jobs`; None where there are none."""

    jobs: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job without a final word; UTC."""

    id: UUID
    reference: str
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class CompletionStats:
    """How long a provider's jobs take, and the one that has taken longest so far."""

    seconds_to_final: Durations
    oldest_open_job: OpenJob | None


@dataclass(frozen=True, slots=True)
class CallbackStats:
    """When a provider last called back (UTC), and of how many of the jobs that ended lately it did not."""

    name: str
    last_callback_at: datetime | None
    jobs: int
    without_callback: int

    @property
    def missing_rate(self) -> float | None:
        """The share of jobs that no callback spoke of; None where none ended yet."""
        return self.without_callback / self.jobs if self.jobs else None


def count_by_provider(connection: Connection) -> Mapping[str, Counts]:
    """Count requests and jobs, by provider."""
    counted: dict[str, Counts] = defaultdict(Counts)
    given = {"request_statuses": list(RequestStatus), "job_statuses": list(JobStatus)}
    for provider, what, status, number in connection.execute(load_statement("count_by_provider"), given, prepare=False):
        counts = counted[provider]
        (counts.requests if what == "requests" else counts.jobs)[status] += number
    return counted


def find_completion_stats(connection: Connection, names: Sequence[str]) -> Mapping[str, CompletionStats]:
    """Tell how long providers take, from the jobs that ended last."""
    given = {"names": list(names), "most": _DURATIONS_OF}
    return {
        name: CompletionStats(
            Durations(jobs, *(percentiles or ())), OpenJob(job_id, reference, accepted_at) if job_id else None
        )
        for name, jobs, percentiles, job_id, reference, accepted_at in connection.execute(
            load_statement("find_completion_stats"), given, prepare=False
        )
    }


def count_attention(connection: Connection, names: Sequence[str]) -> Mapping[str, Attention]:
    """Count what needs somebody, by provider."""
    cursor = connection.cursor(row_factory=row_factory(Attention))
    found = cursor.execute(load_statement("count_attention"), {"names": list(names)}, prepare=False).fetchall()
    return {one.name: one for one in found}


def find_callback_stats(connection: Connection, names: Sequence[str]) -> Mapping[str, CallbackStats]:
    """Tell how providers call back, from the jobs that ended last."""
    cursor = connection.cursor(row_factory=row_factory(CallbackStats))
    given = {"names": list(names), "most": _CALLBACKS_OF}
    found = cursor.execute(load_statement("find_callback_stats"), given, prepare=False).fetchall()
    return {one.name: one for one in found}
