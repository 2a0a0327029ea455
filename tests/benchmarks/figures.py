"""What the rounds amount to: rates, the ratio with its spread, CPU time per operation; as a table and as JSON. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

_MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Round:
    """One timed round: how many operations in how many seconds, and the CPU seconds of who worked for them."""

    operations: int
    seconds: float
    cpu: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest value it comes from."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Give the spread of at least one value."""
        return cls(median(values), min(values), max(values))

    def document(self) -> dict[str, float]:
        """Give it for JSON."""
        return {"median": round(self.median, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def cpu_per_operation(rounds: Sequence[Round]) -> dict[str, Spread]:
    """Give the CPU microseconds per operation of everybody who worked in these rounds."""
    return {
        who: Spread.of([each.cpu[who] / each.operations * _MICRO for each in rounds if each.operations])
        for who in rounds[0].cpu
    }


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of the comparison: its name and its rounds."""

    name: str
    rounds: Sequence[Round]

    def document(self) -> dict[str, Any]:
        """Give it for JSON: rates per second, CPU microseconds per operation."""
        return {
            "name": self.name,
            "rates": [round(each.rate, 1) for each in self.rounds],
            "rate": Spread.of([each.rate for each in self.rounds]).document(),
            "cpu_us": {who: spread.document() for who, spread in cpu_per_operation(self.rounds).items()},
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """The path that is measured against its ceiling, round by round, with what was checked and on what machine."""

    benchmark: str
    operation: str
    path: Contender
    ceiling: Contender
    checks: Mapping[str, Any]
    machine: Mapping[str, Any]

    def ratio(self) -> Spread:
        """Give how much of the ceiling the path reaches; each round counts against its neighbour in time."""
        pairs = zip(self.path.rounds, self.ceiling.rounds, strict=True)
        return Spread.of([ours.rate / bare.rate for ours, bare in pairs])

    def document(self) -> dict[str, Any]:
        """Give everything for JSON."""
        return {
            "benchmark": self.benchmark,
            "ratio": self.ratio().document(),
            "path": self.path.document(),
            "ceiling": self.ceiling.document(),
            "checks": dict(self.checks),
            "machine": dict(self.machine),
        }

    def table(self) -> str:
        """Give everything as text for people."""
        ratio = self.ratio()
        return "\n".join(
            [
                *_rates(self),
                "",
                f"ratio {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
                "",
                *_costs(self),
                "",
                *(f"{what}: {value}" for what, value in {**self.checks, **self.machine}.items()),
            ]
        )


def _rates(comparison: Comparison) -> list[str]:
    path, ceiling = comparison.path, comparison.ceiling
    wide, narrow = (max(len(side.name), 12) for side in (path, ceiling))
    lines = [
        f"{comparison.operation} per second",
        f"{'round':>5}  {path.name:>{wide}}  {ceiling.name:>{narrow}}  ratio",
    ]
    for number, (ours, bare) in enumerate(zip(path.rounds, ceiling.rounds, strict=True), 1):
        cells = f"{number:>5}  {ours.rate:>{wide},.0f}  {bare.rate:>{narrow},.0f}"
        lines.append(f"{cells}  {ours.rate / bare.rate:5.2f}")
    return lines


def _costs(comparison: Comparison) -> list[str]:
    lines = [f"CPU µs per {comparison.operation.removesuffix('s')}: median (least to most)"]
    for side in (comparison.path, comparison.ceiling):
        for who, spread in cpu_per_operation(side.rounds).items():
            lines.append(f"  {side.name}, {who}: {spread.median:.0f} ({spread.low:.0f} to {spread.high:.0f})")
    return lines
