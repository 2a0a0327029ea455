"""Results of `lists`: the p95 of every filter in both tables and their ratio; as a table and as JSON. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from tests.benchmarks.results import Spread

MAX_RATIO = 2.0
"""How many times as long a page of the large table may take as a page of the small table."""


def compute_p95(milliseconds: Sequence[float]) -> float:
    """Return the time that 95 of 100 calls do not exceed, from at least two calls."""
    return quantiles(milliseconds, n=20, method="inclusive")[-1]


@dataclass(frozen=True, slots=True)
class Timing:
    """The p95 in milliseconds of the small and of the large table, round by round."""

    small: Sequence[float]
    large: Sequence[float]

    def compute_ratio(self) -> Spread:
        """Return how many times as long the large table takes as the small table in the round next to it."""
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
class FilterResult:
    """A list with a filter: the number of items on a page, and its timing over HTTP and by the store's function."""

    name: str
    items: int
    http: Timing
    store: Timing

    @property
    def is_over(self) -> bool:
        """Whether the large table takes too long either way."""
        return max(self.http.compute_ratio().median, self.store.compute_ratio().median) > MAX_RATIO


@dataclass(frozen=True, slots=True)
class ListResults:
    """The results of all filters, the milliseconds of each call for statistics of the large table, and the machine."""

    small: int
    large: int
    filters: Sequence[FilterResult]
    statistics: Mapping[str, Sequence[float]]
    machine: Mapping[str, Any]

    @property
    def over(self) -> list[str]:
        """The filters for which the large table takes too long."""
        return [result.name for result in self.filters if result.is_over]

    def document(self) -> dict[str, Any]:
        """Return the results for JSON."""
        return {
            "benchmark": "lists",
            "jobs": {"small": self.small, "large": self.large},
            "target_ratio": MAX_RATIO,
            "filters": {
                result.name: {"items": result.items, "http": result.http.document(), "store": result.store.document()}
                for result in self.filters
            },
            "figures_ms": {name: Spread.from_values(times).document() for name, times in self.statistics.items()},
            "machine": dict(self.machine),
        }

    def table(self) -> str:
        """Return the results as text for people."""
        width = max(len(result.name) for result in self.filters)
        sides = f"{'p95 small':>10}{'p95 large':>10}{'ratio':>7}"
        return "\n".join(
            [
                f"pages of {self.small:,} and of {self.large:,} jobs, ms: medians of the rounds",
                f"{'':<{width}}  {'':>5}  {'over HTTP':^27}  {'in the store':^27}",
                f"{'filter':<{width}}  {'items':>5}  {sides}  {sides}",
                *(_format_filter(result, width) for result in self.filters),
                "",
                f"target: at most {MAX_RATIO:.0f} times as long; exceeded by: {', '.join(self.over) or 'none'}",
                "",
                f"statistics of {self.large:,} jobs, ms: median (minimum to maximum)",
                *(_format_spread(name, Spread.from_values(times)) for name, times in self.statistics.items()),
                "",
                *(f"{name}: {value}" for name, value in self.machine.items()),
            ]
        )


def _format_filter(result: FilterResult, width: int) -> str:
    name = f"{result.name:<{width}}  {result.items:>5}"
    return f"{name}  {_format_timing(result.http)}  {_format_timing(result.store)}"


def _format_timing(timing: Timing) -> str:
    return f"{median(timing.small):>10.1f}{median(timing.large):>10.1f}{timing.compute_ratio().median:>7.2f}"


def _format_spread(name: str, spread: Spread) -> str:
    return f"  {name}: {spread.median:.0f} ({spread.low:.0f} to {spread.high:.0f})"
