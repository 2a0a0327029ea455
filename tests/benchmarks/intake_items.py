"""`intake-items`: callbacks with many items each, as providers send them that collect delivery reports.

A declared provider and the sandbox provider take turns; both get the same items, signed by Standard Webhooks.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from receiver.cli.processes import WEB
from tests.benchmarks.contests import Contest, Goal, compute_cpu, compute_rate
from tests.benchmarks.cpu import measure_tree
from tests.benchmarks.environment import (
    PROVIDER,
    BenchmarkEnvironment,
    BenchmarkFailed,
    describe_machine,
    query,
    start_environment,
)
from tests.benchmarks.intake import CONFIG, DECLARED, STORED, CallbackSupply, Web, start_gunicorn
from tests.benchmarks.results import Contender, Round
from tests.benchmarks.signed import sign_callbacks
from tests.benchmarks.wrk import WrkResult, find_wrk, send

MIN_ITEMS_PER_SECOND = 40_000
MAX_CPU_US = 45
_CALLBACKS_PER_SECOND = 1_000
_WARM_UP_S = 2


@dataclass(frozen=True, slots=True)
class ItemsLoad:
    """The load: `seconds` per round, and `items` per callback."""

    rounds: int
    seconds: int
    connections: int
    workers: int
    items: int


def compare(load: ItemsLoad) -> Contest:
    """Run the benchmark.

    Raises:
        WrkMissing: the load generator is not installed.
        BenchmarkFailed: a response was not 2xx, or an item of an acknowledged callback is not in Postgres.
    """
    find_wrk()
    with ExitStack() as stack:
        environment = stack.enter_context(start_environment(more_config=CONFIG))
        web = stack.enter_context(start_gunicorn(environment, "intake", WEB, load.workers))
        benchmark = ItemsBenchmark(environment, load, web)
        for provider in (DECLARED, PROVIDER):
            benchmark.run_round(provider, min(_WARM_UP_S, load.seconds), is_timed=False)
        turns = [
            (benchmark.run_round(DECLARED, load.seconds), benchmark.run_round(PROVIDER, load.seconds))
            for _ in range(load.rounds)
        ]
        environment.processes.stop()
        contenders = [
            Contender(DECLARED, [turn[0] for turn in turns]),
            Contender(PROVIDER, [turn[1] for turn in turns]),
        ]
        settings = {"workers": load.workers, "connections": load.connections, "items_per_callback": load.items}
        return Contest(
            "intake-items",
            "items",
            contenders,
            None,
            [goal for contender in contenders for goal in _build_goals(contender)],
            {**settings, "p99_ms": benchmark.compute_p99_ms(), **benchmark.check_stored()},
            describe_machine(environment.dsn),
        )


class ItemsBenchmark:
    """Runs rounds and records how many callbacks were acknowledged in them."""

    def __init__(self, environment: BenchmarkEnvironment, load: ItemsLoad, web: Web) -> None:
        self._environment = environment
        self._load = load
        self._web = web
        self._supply = CallbackSupply(_CALLBACKS_PER_SECOND)
        self._results: list[WrkResult] = []
        self._timed: list[WrkResult] = []

    def run_round(self, provider: str, seconds: int, *, is_timed: bool = True) -> Round:
        """Send new callbacks of a provider; repeat the round if it runs out of callbacks."""
        while True:
            count = self._supply.compute_count(seconds)
            with sign_callbacks(count, provider=provider, items=self._load.items) as callbacks:
                before = self._measure_cpu()
                result, wrk_cpu = send(self._web.port, callbacks, connections=self._load.connections, seconds=seconds)
                cpu = {process: after - before[process] for process, after in self._measure_cpu().items()}
            self._results.append(result)
            if not result.exhausted:
                break
            self._supply.grow()
        if is_timed:
            self._timed.append(result)
        return Round(result.responses * self._load.items, result.seconds, {**cpu, "wrk": wrk_cpu})

    def _measure_cpu(self) -> dict[str, float]:
        return {"python": measure_tree(self._web.pid), "postgres": measure_tree(self._environment.postmaster)}

    def compute_p99_ms(self) -> float:
        """Return the median of the timed rounds, in milliseconds per callback."""
        return round(median(result.p99_ms for result in self._timed), 1)

    def check_stored(self) -> dict[str, int]:
        """Compare the rows in Postgres with the items of the acknowledged callbacks.

        The end of a round cuts off at most one callback per connection, which may be stored without being acknowledged.

        Raises:
            BenchmarkFailed: fewer are stored than acknowledged, or more than sent, or a callback lacks items.
        """
        acknowledged = sum(result.responses for result in self._results)
        cut_off = self._load.connections * len(self._results)
        callbacks, events, jobs = query(self._environment.dsn, STORED)
        counts = {"acknowledged": acknowledged, "callbacks": callbacks, "events": events, "jobs": jobs}
        is_complete = callbacks * self._load.items == events == jobs
        if not acknowledged <= callbacks <= acknowledged + cut_off or not is_complete:
            raise BenchmarkFailed(f"the rows in Postgres do not match the acknowledged callbacks: {counts}")
        return counts


def _build_goals(contender: Contender) -> list[Goal]:
    cpu_us = compute_cpu(contender, ["python", "postgres"])
    return [
        Goal(f"{contender.name}, items per second", compute_rate(contender).median, MIN_ITEMS_PER_SECOND),
        Goal(f"{contender.name}, CPU µs of python and postgres per item", cpu_us, MAX_CPU_US, is_maximum=True),
    ]
