"""Results of several contenders that took turns: rates, ratios to one of them, CPU time, and goals. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.results import Contender, Spread, compute_cpu_per_operation


@dataclass(frozen=True, slots=True)
class Goal:
    """A measured value and the limit that it must reach: at least `limit`, or at most if `is_maximum`."""

    name: str
    value: float
    limit: float
    is_maximum: bool = False

    @property
    def is_reached(self) -> bool:
        """Return whether the value reaches the limit."""
        return self.value <= self.limit if self.is_maximum else self.value >= self.limit

    def __str__(self) -> str:
        relation = "at most" if self.is_maximum else "at least"
        outcome = "reached" if self.is_reached else "missed"
        return f"goal: {self.name} {relation} {self.limit:,}: {_format(self.value)}, {outcome}"

    def document(self) -> dict[str, Any]:
        """Return the goal for JSON."""
        limit = {"at_most" if self.is_maximum else "at_least": self.limit}
        return {"name": self.name, "value": round(self.value, 4), **limit, "reached": self.is_reached}


@dataclass(frozen=True, slots=True)
class Contest:
    """Contenders with the same number of rounds; ratios are to the rate of the `reference` in the same turn, if any."""

    benchmark: str
    operation: str
    contenders: Sequence[Contender]
    reference: Contender | None
    goals: Sequence[Goal]
    checks: Mapping[str, Any]
    machine: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """Return the contest for JSON."""
        return {
            "benchmark": self.benchmark,
            "contenders": [
                contender.document()
                | ({"ratio": compute_ratio(contender, self.reference).document()} if self.reference else {})
                for contender in self.contenders
            ],
            "goals": [goal.document() for goal in self.goals],
            "checks": dict(self.checks),
            "machine": dict(self.machine),
        }

    def table(self) -> str:
        """Return the contest as text for people."""
        return "\n".join(
            [
                f"{self.operation} per second: median (minimum to maximum)",
                *(self._format_contender(contender) for contender in self.contenders),
                "",
                f"CPU µs per {self.operation.removesuffix('s')}: median (minimum to maximum)",
                *(line for contender in self.contenders for line in _format_cpu(contender)),
                "",
                *map(str, self.goals),
                "",
                *(f"{name}: {value}" for name, value in {**self.checks, **self.machine}.items()),
            ]
        )

    def _format_contender(self, contender: Contender) -> str:
        rate = compute_rate(contender)
        line = f"  {contender.name}: {rate.median:,.0f} ({rate.low:,.0f} to {rate.high:,.0f})"
        if self.reference is None or contender is self.reference:
            return line
        ratio = compute_ratio(contender, self.reference)
        return f"{line}, {ratio.median:.3f} of {self.reference.name} ({ratio.low:.3f} to {ratio.high:.3f})"


def compute_rate(contender: Contender) -> Spread:
    """Return the operations per second of a contender."""
    return Spread.from_values([round_.rate for round_ in contender.rounds])


def compute_ratio(contender: Contender, reference: Contender) -> Spread:
    """Return the rate of a contender as a share of the reference's rate in the same turn."""
    pairs = zip(contender.rounds, reference.rounds, strict=True)
    return Spread.from_values([own.rate / other.rate for own, other in pairs])


def compute_cpu(contender: Contender, processes: Sequence[str]) -> float:
    """Return the median CPU microseconds per operation of some processes together."""
    cpu = compute_cpu_per_operation(contender.rounds)
    return sum(cpu[process].median for process in processes)


def _format(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _format_cpu(contender: Contender) -> list[str]:
    return [
        f"  {contender.name}, {process}: {cpu.median:,.1f} ({cpu.low:,.1f} to {cpu.high:,.1f})"
        for process, cpu in compute_cpu_per_operation(contender.rounds).items()
    ]
