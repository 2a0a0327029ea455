"""`lists`: a page of every list with every filter, from a small table and from a large one.

Each table is served by a gunicorn of one worker. Both are queried in turns, over HTTP and by the store's functions, for
pages with the same number of items. The statistics that count whole tables are timed on the large table only.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from receiver.cli.processes import WEB
from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from receiver.store.migrate import migrate
from receiver.store.stats import count_attention, count_by_provider, find_callback_stats, find_completion_stats
from tests.benchmarks.environment import BenchmarkEnvironment, BenchmarkFailed, describe_machine, start_environment
from tests.benchmarks.intake import start_gunicorn
from tests.benchmarks.list_cases import Case, build_cases
from tests.benchmarks.list_results import FilterResult, ListResults, Timing, compute_p95
from tests.benchmarks.loader import load_jobs
from tests.support.http import Server, exchange
from tests.support.population import PROVIDERS
from tests.support.processes import ADMIN_KEY, build_provider_toml

SMALL_JOBS = 10_000
_MAX_PAGE_ITEMS = 50
_WARM_UP_CALLS = 2
_MILLISECONDS = 1e3


@dataclass(frozen=True, slots=True)
class ListsLoad:
    """The load: `jobs` in the large table, and `calls` for each filter in each of `rounds`."""

    jobs: int
    rounds: int
    calls: int


@dataclass(frozen=True, slots=True)
class _Table:
    """A database of so many jobs, a connection to it, and the server for it."""

    jobs: int
    connection: Connection
    server: Server

    def build_cases(self) -> Iterator[Case]:
        return build_cases(self.jobs)

    def time_pages(self, case: Case, limit: int, calls: int) -> tuple[list[float], list[float]]:
        """Return the milliseconds of calls for a page over HTTP, and of as many by the store's function."""
        http = self.time_http(case.build_target(limit), calls)
        return http, _time_calls(lambda: case.read_page(self.connection, limit), calls)

    def time_http(self, target: str, calls: int) -> list[float]:
        """Return the milliseconds of calls on one connection, one after the other."""
        with closing(self.server.connect()) as connection:

            def call() -> None:
                response = exchange(connection, "GET", target, headers=self.server.headers)
                if response.status != 200:
                    raise BenchmarkFailed(f"{target}: status {response.status}: {response.body.decode()}")

            return _time_calls(call, calls)


def compare(load: ListsLoad) -> ListResults:
    """Run the benchmark.

    Raises:
        BenchmarkFailed: a response was not 200, or a filter matches nothing.
    """
    with ExitStack() as stack:
        environment = stack.enter_context(start_environment())
        small, large = (stack.enter_context(_start_table(environment, jobs)) for jobs in (SMALL_JOBS, load.jobs))
        pairs = zip(small.build_cases(), large.build_cases(), strict=True)
        filters = [_measure_filter((small, small_case), (large, large_case), load) for small_case, large_case in pairs]
        statistics = _time_statistics(large, load.calls)
        return ListResults(small.jobs, large.jobs, filters, statistics, describe_machine(environment.dsn))


@contextmanager
def _start_table(environment: BenchmarkEnvironment, jobs: int) -> Iterator[_Table]:
    config = environment.home / "lists.toml"
    config.write_text("".join(build_provider_toml(name) for name in PROVIDERS))
    with scratch_database(environment.dsn) as dsn, closing(connect(dsn)) as connection:
        migrate(dsn)
        load_jobs(dsn, jobs)
        connection.execute("CHECKPOINT")  # otherwise one would begin while pages are timed
        environ = {
            "DATABASE_URL": dsn,
            "RECEIVER_CONFIG": str(config),
            "RECEIVER_ADMIN_KEY": ADMIN_KEY,
            "RECEIVER_SECRET_KEY": "a-secret-key-of-tests",
            "RECEIVER_RATE_LIMIT": "1000000",
        }
        with start_gunicorn(environment, f"lists-{jobs}", WEB, 1, **environ) as web:
            headers = {"authorization": f"Bearer {ADMIN_KEY}"}
            yield _Table(jobs, connection, Server("127.0.0.1", web.port, headers=headers))


def _measure_filter(small: tuple[_Table, Case], large: tuple[_Table, Case], load: ListsLoad) -> FilterResult:
    """Time a filter on both tables in turns, with as many items on a page as both tables have."""
    items = min(len(case.read_page(table.connection, _MAX_PAGE_ITEMS).items) for table, case in (small, large))
    name = str(small[1])
    if not items:
        raise BenchmarkFailed(f"{name}: no items match")
    rounds = [[table.time_pages(case, items, load.calls) for table, case in (small, large)] for _ in range(load.rounds)]
    http, store = (
        Timing(
            [compute_p95(small_times[index]) for small_times, _ in rounds],
            [compute_p95(large_times[index]) for _, large_times in rounds],
        )
        for index in (0, 1)
    )
    return FilterResult(name, items, http, store)


def _time_statistics(table: _Table, calls: int) -> Mapping[str, Sequence[float]]:
    names = list(PROVIDERS)
    return {
        "GET /v1/stats": table.time_http("/v1/stats", calls),
        "GET /v1/providers": table.time_http("/v1/providers", calls),
        "counts (stats and metrics)": _time_calls(lambda: count_by_provider(table.connection), calls),
        "what needs attention (providers, stats and metrics)": _time_calls(
            lambda: count_attention(table.connection, names, names), calls
        ),
        "durations, oldest open jobs (stats and metrics)": _time_calls(
            lambda: find_completion_stats(table.connection, names), calls
        ),
        "missing callbacks (providers and metrics)": _time_calls(
            lambda: find_callback_stats(table.connection, names), calls
        ),
    }


def _time_calls(function: Callable[[], object], calls: int) -> list[float]:
    """Return the milliseconds of each call, after two that fill the caches."""
    return [_time_call(function) for _ in range(calls + _WARM_UP_CALLS)][_WARM_UP_CALLS:]


def _time_call(function: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    function()
    return (time.perf_counter() - started_at) * _MILLISECONDS
