"""Charts of what happened by minute or hour, from the counts of `receiver.store.activity`."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from receiver.domain.activity import ActivityCount, ActivityKind, estimate_percentiles, list_bucket_bounds
from receiver.web.admin.charts import HistogramBar, Series, draw_histogram, draw_periods

_CALLBACKS: Sequence[tuple[str, str, Collection[str]]] = (
    ("✓ accepted", "good", ("accepted",)),
    ("= duplicate", "waiting", ("duplicate",)),
    ("~ invalid, unmapped", "doubtful", ("invalid", "unmapped")),
    ("⊘ refused", "bad", ("refused",)),
)
"""The series of the chart of callbacks: name, style and verdicts."""
_REQUESTS = (("→ submitted", "accent", ("submitted",)),)
_UNITS = {60: "minute", 3_600: "hour"}
_SHORT_UNITS = {60: "min", 3_600: "h"}
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Window:
    """A number of periods of the same length, up to now.

    `since` and `until` are UTC; `seconds` is the length of a period. The last period may be incomplete.
    """

    since: datetime
    until: datetime
    seconds: int

    @classmethod
    def of_last(cls, periods: int, seconds: int, until: datetime) -> "Window":
        """Return the window of so many periods, of which the last contains a time."""
        start = datetime.fromtimestamp(until.timestamp() // seconds * seconds, UTC)
        return cls(start - timedelta(seconds=seconds * (periods - 1)), start + timedelta(seconds=seconds), seconds)

    @property
    def starts(self) -> list[datetime]:
        """The beginning of each period."""
        count = round((self.until - self.since).total_seconds() / self.seconds)
        return [self.since + timedelta(seconds=self.seconds * number) for number in range(count)]

    @property
    def labels(self) -> list[str]:
        """The beginning of each period as text, UTC."""
        return [f"{start:%H:%M}" for start in self.starts]


def sum_by_period(
    window: Window, counts: Iterable[ActivityCount], kind: ActivityKind, outcomes: Collection[str], until: datetime
) -> list[int | None]:
    """Return how often something happened in each period; None for periods that are not counted up to `until`."""
    totals: dict[datetime, int] = defaultdict(int)
    for count in counts:
        if count.kind == kind and count.outcome in outcomes:
            totals[count.started_at] += count.count
    return [totals[start] if start in totals or start < until else None for start in window.starts]


def draw_callbacks(chart_id: str, window: Window, counts: Sequence[ActivityCount], until: datetime) -> Markup:
    """Draw the callbacks by verdict."""
    series = _build_series(window, counts, ActivityKind.CALLBACKS, _CALLBACKS, until)
    return draw_periods(
        chart_id, f"Callbacks per {_UNITS[window.seconds]}", window.labels, _SHORT_UNITS[window.seconds], series
    )


def draw_requests(chart_id: str, window: Window, counts: Sequence[ActivityCount], until: datetime) -> Markup:
    """Draw the requests that were submitted."""
    series = _build_series(window, counts, ActivityKind.REQUESTS, _REQUESTS, until)
    return draw_periods(
        chart_id, f"Requests per {_UNITS[window.seconds]}", window.labels, _SHORT_UNITS[window.seconds], series
    )


def draw_durations(chart_id: str, title: str, durations: Iterable[Mapping[int, int]]) -> Markup | None:
    """Draw how long jobs took, from the counts of each provider by bucket; None without jobs."""
    totals: dict[int, int] = defaultdict(int)
    for counts in durations:
        for bucket, count in counts.items():
            totals[bucket] += count
    percentiles = estimate_percentiles(totals, list(_PERCENTILES.values()))
    if percentiles is None:
        return None
    bars = [HistogramBar(low, high, totals[bucket]) for bucket, low, high in list_bucket_bounds(totals)]
    return draw_histogram(chart_id, title, bars, list(zip(_PERCENTILES, percentiles, strict=True)))


def _build_series(
    window: Window,
    counts: Sequence[ActivityCount],
    kind: ActivityKind,
    outcomes: Sequence[tuple[str, str, Collection[str]]],
    until: datetime,
) -> list[Series]:
    return [
        Series(name, sum_by_period(window, counts, kind, included, until), style) for name, style, included in outcomes
    ]
