"""What `lists` measured: the p95 of every filter at both tables and their ratio; as a table and as JSON. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from tests.benchmarks.figures import Spread

TARGET = 2.0
"""A page from the large table may take so many times as long as one from the small."""


def p95(milliseconds: Sequence[float]) -> float:
    """Give the time that 95 of 100 calls do not exceed; of at least two."""
    return quantiles(milliseconds, n=20, method="inclusive")[-1]


@dataclass(frozen=True, slots=True)
class Timing:
    """The p95 in milliseconds at the small and at the large table, round by round."""

    small: Sequence[float]
    large: Sequence[float]

    def ratio(self) -> Spread:
        """Give how many times as long the large table takes; each round counts against its neighbour in time."""
        return Spread.of([large / small for small, large in zip(self.small, self.large, strict=True)])

    def document(self) -> dict[str, Any]:
        """Give it for JSON."""
        sides = {"small_ms": Spread.of(self.small), "large_ms": Spread.of(self.large), "ratio": self.ratio()}
        return {name: spread.document() for name, spread in sides.items()}


@dataclass(frozen=True, slots=True)
class Filter:
    """A list with a filter: how many items a page has, and what it takes over HTTP and by the store's function."""

    name: str
    items: int
    http: Timing
    store: Timing

    @property
    def is_over(self) -> bool:
        """Whether the large table takes too long."""
        return max(self.http.ratio().median, self.store.ratio().median) > TARGET


@dataclass(frozen=True, slots=True)
class Listed:
    """All filters; what the figures of the large table take, call by call; and on what machine."""

    small: int
    large: int
    filters: Sequence[Filter]
    figures: Mapping[str, Sequence[float]]
    machine: Mapping[str, Any]

    @property
    def over(self) -> list[str]:
        """The filters whose pages take too long from the large table."""
        return [each.name for each in self.filters if each.is_over]

    def document(self) -> dict[str, Any]:
        """Give everything for JSON."""
        return {
            "benchmark": "lists",
            "jobs": {"small": self.small, "large": self.large},
            "target_ratio": TARGET,
            "filters": {
                each.name: {"items": each.items, "http": each.http.document(), "store": each.store.document()}
                for each in self.filters
            },
            "figures_ms": {name: Spread.of(times).document() for name, times in self.figures.items()},
            "machine": dict(self.machine),
        }

    def table(self) -> str:
        """Give everything as text for people."""
        wide = max(len(each.name) for each in self.filters)
        sides = f"{'p95 small':>10}{'p95 large':>10}{'ratio':>7}"
        return "\n".join(
            [
                f"pages from {self.small:,} and from {self.large:,} jobs, ms: medians of the rounds",
                f"{'':<{wide}}  {'':>5}  {'over HTTP':^27}  {'in the store':^27}",
                f"{'filter':<{wide}}  {'items':>5}  {sides}  {sides}",
                *(
                    f"{each.name:<{wide}}  {each.items:>5}  {_cells(each.http)}  {_cells(each.store)}"
                    for each in self.filters
                ),
                "",
                f"target: at most {TARGET:.0f} times as long; over it: {', '.join(self.over) or 'none'}",
                "",
                f"figures of {self.large:,} jobs, ms: median (least to most)",
                *(_figure(name, Spread.of(times)) for name, times in self.figures.items()),
                "",
                *(f"{what}: {value}" for what, value in self.machine.items()),
            ]
        )


def _cells(timing: Timing) -> str:
    return f"{median(timing.small):>10.1f}{median(timing.large):>10.1f}{timing.ratio().median:>7.2f}"


def _figure(name: str, spread: Spread) -> str:
    return f"  {name}: {spread.median:.0f} ({spread.low:.0f} to {spread.high:.0f})"
