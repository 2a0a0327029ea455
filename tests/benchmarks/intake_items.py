"""`intake-items`: callbacks with many items each, as providers send them that collect delivery reports.

A declared provider and the sandbox provider take turns; both get the same items, signed by Standard Webhooks.
"""

from contextlib import ExitStack
from dataclasses import dataclass

from receiver.cli.processes import WEB
from tests.benchmarks.contests import Contest, Goal, compute_cpu, compute_rate
from tests.benchmarks.environment import (
    PROVIDER,
    BenchmarkFailed,
    describe_machine,
    query,
    start_environment,
)
from tests.benchmarks.intake import CONFIG, DECLARED, STORED, CallbackSupply, start_gunicorn
from tests.benchmarks.results import Contender
from tests.benchmarks.rounds import WARM_UP_S, CallbackRounds
from tests.benchmarks.wrk import find_wrk

MIN_ITEMS_PER_SECOND = 40_000
MAX_CPU_US = 45
_CALLBACKS_PER_SECOND = 1_000


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
        supply = CallbackSupply(_CALLBACKS_PER_SECOND)
        rounds = CallbackRounds(web, load.connections, {"postgres": environment.postmaster}, supply)
        providers = (DECLARED, PROVIDER)
        for provider in providers:
            rounds.run(min(WARM_UP_S, load.seconds), is_timed=False, provider=provider, items=load.items)
        turns = [
            [rounds.run(load.seconds, provider=provider, items=load.items) for provider in providers]
            for _ in range(load.rounds)
        ]
        environment.processes.stop()
        contenders = [Contender(name, rounds) for name, *rounds in zip(providers, *turns, strict=True)]
        settings = {"workers": load.workers, "connections": load.connections, "items_per_callback": load.items}
        stored = _check_stored(environment.dsn, rounds, load.items)
        return Contest(
            "intake-items",
            "items",
            contenders,
            None,
            [goal for contender in contenders for goal in _build_goals(contender)],
            {**settings, "p99_ms": rounds.compute_p99_ms(), **stored},
            describe_machine(environment.dsn),
        )


def _check_stored(dsn: str, rounds: CallbackRounds, items: int) -> dict[str, int]:
    """Compare the rows in Postgres with the items of the acknowledged callbacks.

    Raises:
        BenchmarkFailed: fewer are stored than acknowledged, or more than sent, or a callback lacks items.
    """
    callbacks, events, jobs = query(dsn, STORED)
    rounds.check_stored(callbacks)
    counts = {"acknowledged": rounds.acknowledged, "callbacks": callbacks, "events": events, "jobs": jobs}
    if not callbacks * items == events == jobs:
        raise BenchmarkFailed(f"callbacks lack items: {counts}")
    return counts


def _build_goals(contender: Contender) -> list[Goal]:
    cpu_us = compute_cpu(contender, ["python", "postgres"])
    return [
        Goal(f"{contender.name}, items per second", compute_rate(contender).median, MIN_ITEMS_PER_SECOND),
        Goal(f"{contender.name}, CPU µs of python and postgres per item", cpu_us, MAX_CPU_US, is_maximum=True),
    ]
