"""`queries`: a page of every list with every filter, and the statistics, from a small database and from a large one.

Each database is served by a gunicorn of one worker. Both are queried in turns, over HTTP and by the store's functions,
for pages with the same number of items.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from receiver.cli.processes import WEB
from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from receiver.store.migrate import migrate
from tests.benchmarks.environment import BenchmarkEnvironment, BenchmarkFailed, describe_machine, start_environment
from tests.benchmarks.intake import start_gunicorn
from tests.benchmarks.loader import load_jobs
from tests.benchmarks.query_cases import STATISTICS, ListCase, StatisticsCase, build_list_cases
from tests.benchmarks.query_results import QueriesResults, QueryResult, Timing, compute_p95
from tests.support.http import Server, exchange
from tests.support.population import PROVIDERS
from tests.support.processes import ADMIN_KEY, build_provider_toml

SMALL_JOBS = 10_000
_MAX_PAGE_ITEMS = 50
_WARM_UP_CALLS = 2
_MILLISECONDS = 1e3


@dataclass(frozen=True, slots=True)
class QueriesLoad:
    """The load: `jobs` in the large database, and `calls` for each query in each of `rounds`."""

    jobs: int
    rounds: int
    calls: int


@dataclass(frozen=True, slots=True)
class _Side:
    """A database of so many jobs, a connection to it, and the server for it."""

    jobs: int
    connection: Connection
    server: Server

    def time_query(self, case: ListCase | StatisticsCase, limit: int, calls: int) -> tuple[list[float], list[float]]:
        """Return the milliseconds of calls for a query over HTTP, and of as many by the store's functions."""
        http = self.time_http(case.build_target(limit), calls)
        return http, _time_calls(lambda: case.read(self.connection, limit), calls)

    def time_http(self, target: str, calls: int) -> list[float]:
        """Return the milliseconds of calls on one connection, one after the other."""
        with closing(self.server.connect()) as connection:

            def call() -> None:
                response = exchange(connection, "GET", target, headers=self.server.headers)
                if response.status != 200:
                    raise BenchmarkFailed(f"{target}: status {response.status}: {response.body.decode()}")

            return _time_calls(call, calls)


def compare(load: QueriesLoad) -> QueriesResults:
    """Run the benchmark.

    Raises:
        BenchmarkFailed: a response was not 200, or a filter matches nothing.
    """
    with ExitStack() as stack:
        environment = stack.enter_context(start_environment())
        small, large = (stack.enter_context(_start_side(environment, jobs)) for jobs in (SMALL_JOBS, load.jobs))
        pairs = zip(build_list_cases(small.jobs), build_list_cases(large.jobs), strict=True)
        lists = [_measure_list((small, small_case), (large, large_case), load) for small_case, large_case in pairs]
        statistics = [_measure((small, case), (large, case), 0, load) for case in STATISTICS]
        return QueriesResults(small.jobs, large.jobs, lists, statistics, describe_machine(environment.dsn))


@contextmanager
def _start_side(environment: BenchmarkEnvironment, jobs: int) -> Iterator[_Side]:
    config = environment.home / "queries.toml"
    config.write_text("".join(build_provider_toml(name) for name in PROVIDERS))
    with scratch_database(environment.dsn) as dsn, closing(connect(dsn)) as connection:
        migrate(dsn)
        load_jobs(dsn, jobs)
        environ = {
            "DATABASE_URL": dsn,
            "RECEIVER_CONFIG": str(config),
            "RECEIVER_ADMIN_KEY": ADMIN_KEY,
            "RECEIVER_SECRET_KEY": "a-secret-key-of-tests",
            "RECEIVER_RATE_LIMIT": "1000000",
        }
        with start_gunicorn(environment, f"queries-{jobs}", WEB, 1, **environ) as web:
            headers = {"authorization": f"Bearer {ADMIN_KEY}"}
            yield _Side(jobs, connection, Server("127.0.0.1", web.port, headers=headers))


def _measure_list(small: tuple[_Side, ListCase], large: tuple[_Side, ListCase], load: QueriesLoad) -> QueryResult:
    """Time a list with as many items on a page as both databases have."""
    items = min(len(case.read(side.connection, _MAX_PAGE_ITEMS).items) for side, case in (small, large))
    if not items:
        raise BenchmarkFailed(f"{small[1]}: no items match")
    return _measure(small, large, items, load)


def _measure(
    small: tuple[_Side, ListCase | StatisticsCase],
    large: tuple[_Side, ListCase | StatisticsCase],
    items: int,
    load: QueriesLoad,
) -> QueryResult:
    """Time a query on both databases in turns."""
    rounds = [[side.time_query(case, items, load.calls) for side, case in (small, large)] for _ in range(load.rounds)]
    http, store = (
        Timing(
            [compute_p95(small_times[index]) for small_times, _ in rounds],
            [compute_p95(large_times[index]) for _, large_times in rounds],
        )
        for index in (0, 1)
    )
    return QueryResult(str(small[1]), items, http, store)


def _time_calls(function: Callable[[], object], calls: int) -> list[float]:
    """Return the milliseconds of each call, after two that fill the caches."""
    return [_time_call(function) for _ in range(calls + _WARM_UP_CALLS)][_WARM_UP_CALLS:]


def _time_call(function: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    function()
    return (time.perf_counter() - started_at) * _MILLISECONDS
