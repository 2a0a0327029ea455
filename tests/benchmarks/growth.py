"""`growth`: the intake of callbacks into a database with millions of jobs, against one with 10,000 jobs.

Both databases are on one server, each with its own gunicorn, and take turns. Both grow by the callbacks of all rounds.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from receiver.cli.processes import WEB
from receiver.devtools.scratch import scratch_database
from receiver.store.migrate import migrate
from tests.benchmarks.contests import Contest, Goal, compute_cpu, compute_ratio
from tests.benchmarks.environment import BenchmarkEnvironment, describe_machine, query, start_environment
from tests.benchmarks.intake import start_gunicorn
from tests.benchmarks.loader import load_jobs
from tests.benchmarks.results import Contender
from tests.benchmarks.rounds import WARM_UP_S, CallbackRounds
from tests.benchmarks.wrk import find_wrk

SMALL_JOBS = 10_000
MIN_RATIO = 0.9
# Loaded rows have references that begin with `ref-`, and are days old.
_STORED = b"""
SELECT count(*) FROM callbacks
WHERE provider = 'sandbox' AND verdict = 'accepted' AND received_at > now() - interval '1 day'
"""


@dataclass(frozen=True, slots=True)
class GrowthLoad:
    """The load: `jobs` to load into the large database, and `seconds` per round."""

    jobs: int
    rounds: int
    seconds: int
    connections: int
    workers: int


@dataclass(frozen=True, slots=True)
class _Side:
    """A database with so many jobs, how long loading them took, and the rounds of its web process."""

    jobs: int
    dsn: str
    loading_s: float
    rounds: CallbackRounds


def compare(load: GrowthLoad) -> Contest:
    """Run the benchmark.

    Raises:
        WrkMissing: the load generator is not installed.
        BenchmarkFailed: a response was not 2xx, or an acknowledged callback is not in Postgres.
    """
    find_wrk()
    with ExitStack() as stack:
        environment = stack.enter_context(start_environment())
        sides = [stack.enter_context(_start_side(environment, jobs, load)) for jobs in (load.jobs, SMALL_JOBS)]
        for side in sides:
            side.rounds.run(min(WARM_UP_S, load.seconds), is_timed=False)
        turns = [[side.rounds.run(load.seconds) for side in sides] for _ in range(load.rounds)]
        environment.processes.stop()
        large, small = (Contender(f"{side.jobs:,} jobs", rounds) for side, *rounds in zip(sides, *turns, strict=True))
        for side in sides:
            [callbacks] = query(side.dsn, _STORED)
            side.rounds.check_stored(callbacks)
        return Contest(
            "growth",
            "callbacks",
            [large, small],
            small,
            [Goal("rate, of the small database", compute_ratio(large, small).median, MIN_RATIO)],
            {
                "workers": load.workers,
                "connections": load.connections,
                "loading_s": round(sides[0].loading_s, 1),
                "callbacks": [side.rounds.acknowledged for side in sides],
                "p99_ms": [side.rounds.compute_p99_ms() for side in sides],
                "postgres_cpu_ratio": round(compute_cpu(large, ["postgres"]) / compute_cpu(small, ["postgres"]), 2),
            },
            describe_machine(environment.dsn),
        )


@contextmanager
def _start_side(environment: BenchmarkEnvironment, jobs: int, load: GrowthLoad) -> Iterator[_Side]:
    with scratch_database(environment.dsn) as dsn:
        migrate(dsn)
        loading_s = load_jobs(dsn, jobs)
        with start_gunicorn(environment, f"intake-{jobs}", WEB, load.workers, DATABASE_URL=dsn) as web:
            yield _Side(
                jobs, dsn, loading_s, CallbackRounds(web, load.connections, {"postgres": environment.postmaster})
            )
