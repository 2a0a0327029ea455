"""What spans say, without OpenTelemetry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

AttributeValue = str | int | float | bool | Sequence[str]


class SpanKind(Enum):
    """The role of this service in what a span describes; the names are those of OpenTelemetry."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class SpanData:
    """A span that has ended; times are Unix time in nanoseconds. `error` is the kind of the error that occurred."""

    name: str
    kind: SpanKind
    started_at: int
    ended_at: int
    attributes: Mapping[str, AttributeValue]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class JobReport:
    """A report on jobs, whose events are committed.

    Args:
        ids: what names the jobs: their ids, or that of the callback or of the request.
        received_at: the time at which the events were received, UTC: a job with a final status that was decided then
            has ended by this report.
        span: the span of the callback or exchange, which belongs to the trace of each job; None if it was traced
            otherwise.
    """

    ids: Sequence[UUID]
    received_at: datetime
    span: SpanData | None = None


def to_nanoseconds(time: datetime) -> int:
    """Return a time as Unix time in nanoseconds."""
    return round(time.timestamp() * 1e9)
