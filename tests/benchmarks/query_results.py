"""Results of `queries`: the p95 of every query in both databases and their ratio; as a table and as JSON. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from tests.benchmarks.results import Spread

MAX_RATIO = 1.5
"""How many times as long a page of the large database may take as a page of the small one."""
MAX_STATISTICS_MS = 50.0
"""How long statistics may take over HTTP."""


def compute_p95(milliseconds: Sequence[float]) -> float:
    """Return the time that 95 of 100 calls do not exceed, from at least two calls."""
    return quantiles(milliseconds, n=20, method="inclusive")[-1]


@dataclass(frozen=True, slots=True)
class Timing:
    """The p95 in milliseconds of the small and of the large database, round by round."""

    small: Sequence[float]
    large: Sequence[float]

    def compute_ratio(self) -> Spread:
        """Return how many times as long the large database takes as the small one in the round next to it."""
        return Spread.from_values([large / small for small, large in zip(self.small, self.large, strict=True)])

    def document(self) -> dict[str, Any]:
        """Return the timing for JSON."""
        sides = {
            "small_ms": Spread.from_values(self.small),
            "large_ms": Spread.from_values(self.large),
            "ratio": self.compute_ratio(),
        }
        return {name: spread.document() for name, spread in sides.items()}


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A query: the items on its page, 0 of statistics, and its timing over HTTP and by the store's functions."""

    name: str
    items: int
    http: Timing
    store: Timing

    @property
    def is_over(self) -> bool:
        """Whether the large database takes too long: a page either way, statistics over HTTP."""
        if self.items:
            return max(self.http.compute_ratio().median, self.store.compute_ratio().median) > MAX_RATIO
        return median(self.http.large) > MAX_STATISTICS_MS


@dataclass(frozen=True, slots=True)
class QueriesResults:
    """The results of all lists and statistics for so many jobs, and the machine."""

    small: int
    large: int
    lists: Sequence[QueryResult]
    statistics: Sequence[QueryResult]
    machine: Mapping[str, Any]

    @property
    def over(self) -> list[str]:
        """The queries for which the large database takes too long."""
        return [result.name for result in (*self.lists, *self.statistics) if result.is_over]

    def document(self) -> dict[str, Any]:
        """Return the results for JSON."""
        return {
            "benchmark": "queries",
            "jobs": {"small": self.small, "large": self.large},
            "goal": {"ratio": MAX_RATIO, "statistics_ms": MAX_STATISTICS_MS},
            "over": self.over,
            "queries": {
                result.name: {"items": result.items, "http": result.http.document(), "store": result.store.document()}
                for result in (*self.lists, *self.statistics)
            },
            "machine": dict(self.machine),
        }

    def table(self) -> str:
        """Return the results as text for people."""
        results = (*self.lists, *self.statistics)
        width = max(len(result.name) for result in results)
        sides = f"{'p95 small':>10}{'p95 large':>10}{'ratio':>7}"
        return "\n".join(
            [
                f"queries in databases of {self.small:,} and of {self.large:,} jobs, ms: medians of the rounds",
                f"{'':<{width}}  {'':>5}  {'over HTTP':^27}  {'in the store':^27}",
                f"{'query':<{width}}  {'items':>5}  {sides}  {sides}",
                *(_format_result(result, width) for result in results),
                "",
                f"goal: lists at most {MAX_RATIO} times as long, statistics at most {MAX_STATISTICS_MS:.0f} ms",
                f"exceeded by: {', '.join(self.over) or 'none'}",
                "",
                *(f"{name}: {value}" for name, value in self.machine.items()),
            ]
        )


def _format_result(result: QueryResult, width: int) -> str:
    name = f"{result.name:<{width}}  {result.items or '':>5}"
    return f"{name}  {_format_timing(result.http)}  {_format_timing(result.store)}"


def _format_timing(timing: Timing) -> str:
    return f"{median(timing.small):>10.1f}{median(timing.large):>10.1f}{timing.compute_ratio().median:>7.2f}"
