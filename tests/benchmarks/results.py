"""Results of timed rounds: rates, their ratio and its spread, CPU time per operation; as a table and as JSON. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Round:
    """One timed round: its operations, its length in seconds, and the CPU seconds of each process tree."""

    operations: int
    seconds: float
    cpu: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


@dataclass(frozen=True, slots=True)
class Spread:
    """The median, minimum and maximum of some values."""

    median: float
    low: float
    high: float

    @classmethod
    def from_values(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of at least one value."""
        return cls(median(values), min(values), max(values))

    def document(self) -> dict[str, float]:
        """Return the spread for JSON."""
        return {"median": round(self.median, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def compute_cpu_per_operation(rounds: Sequence[Round]) -> dict[str, Spread]:
    """Return the CPU microseconds per operation of each process tree."""
    return {
        process: Spread.from_values([r.cpu[process] / r.operations * _MICROSECONDS for r in rounds if r.operations])
        for process in rounds[0].cpu
    }


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of a comparison: its name and its rounds."""

    name: str
    rounds: Sequence[Round]

    def document(self) -> dict[str, Any]:
        """Return rates per second and CPU microseconds per operation for JSON."""
        rates = [round_.rate for round_ in self.rounds]
        return {
            "name": self.name,
            "rates": [round(rate, 1) for rate in rates],
            "rate": Spread.from_values(rates).document(),
            "cpu_us": {process: cpu.document() for process, cpu in compute_cpu_per_operation(self.rounds).items()},
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """A path compared with its ceiling, round by round, with the checks made and the machine used."""

    benchmark: str
    operation: str
    path: Contender
    ceiling: Contender
    checks: Mapping[str, Any]
    machine: Mapping[str, Any]

    def compute_ratio(self) -> Spread:
        """Return the rate of the path as a share of the ceiling's rate in the round next to it."""
        return Spread.from_values([path.rate / ceiling.rate for path, ceiling in self.pair_rounds()])

    def pair_rounds(self) -> list[tuple[Round, Round]]:
        """Return each round of the path with the round of the ceiling next to it."""
        return list(zip(self.path.rounds, self.ceiling.rounds, strict=True))

    def document(self) -> dict[str, Any]:
        """Return the comparison for JSON."""
        return {
            "benchmark": self.benchmark,
            "ratio": self.compute_ratio().document(),
            "path": self.path.document(),
            "ceiling": self.ceiling.document(),
            "checks": dict(self.checks),
            "machine": dict(self.machine),
        }

    def table(self) -> str:
        """Return the comparison as text for people."""
        ratio = self.compute_ratio()
        return "\n".join(
            [
                *_format_rates(self),
                "",
                f"ratio {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
                "",
                *_format_cpu(self),
                "",
                *(f"{name}: {value}" for name, value in {**self.checks, **self.machine}.items()),
            ]
        )


def _format_rates(comparison: Comparison) -> list[str]:
    path, ceiling = comparison.path, comparison.ceiling
    path_width, ceiling_width = (max(len(side.name), 12) for side in (path, ceiling))
    lines = [
        f"{comparison.operation} per second",
        f"{'round':>5}  {path.name:>{path_width}}  {ceiling.name:>{ceiling_width}}  ratio",
    ]
    for number, (path_round, ceiling_round) in enumerate(comparison.pair_rounds(), 1):
        rates = f"{path_round.rate:>{path_width},.0f}  {ceiling_round.rate:>{ceiling_width},.0f}"
        lines.append(f"{number:>5}  {rates}  {path_round.rate / ceiling_round.rate:5.2f}")
    return lines


def _format_cpu(comparison: Comparison) -> list[str]:
    lines = [f"CPU µs per {comparison.operation.removesuffix('s')}: median (minimum to maximum)"]
    for side in (comparison.path, comparison.ceiling):
        for process, cpu in compute_cpu_per_operation(side.rounds).items():
            lines.append(f"  {side.name}, {process}: {cpu.median:.0f} ({cpu.low:.0f} to {cpu.high:.0f})")
    return lines
