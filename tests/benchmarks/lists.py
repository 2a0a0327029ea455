"""`lists`: a page of every list by every filter, from a small table and from a large one.

Both are served by a gunicorn of one worker and asked in turns, over HTTP and by the store's functions; a page has as
many items from the one as from the other. Beside them the figures that count whole tables, from the large one alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from receiver.cli.processes import WEB
from receiver.store.database import Connection, connect
from receiver.store.migrate import migrate
from receiver.store.scratch import scratch_database
from receiver.store.stats import count_attention, count_by_provider, find_callback_stats, find_completion_stats
from tests.benchmarks.intake import gunicorn
from tests.benchmarks.list_cases import Case, cases
from tests.benchmarks.list_figures import Filter, Listed, Timing, p95
from tests.benchmarks.stage import BenchmarkFailed, Stage, machine, set_stage
from tests.http import Server, exchange
from tests.population import PROVIDERS, populate
from tests.processes import ADMIN_KEY, declared

SMALL = 10_000
_LONGEST_PAGE = 50
_MILLI = 1e3


@dataclass(frozen=True, slots=True)
class Load:
    """How much is measured: a large table of so many `jobs`, `calls` of each filter in each of `rounds`."""

    jobs: int
    rounds: int
    calls: int


@dataclass(frozen=True, slots=True)
class _Table:
    """A database of so many jobs, and where it is served."""

    jobs: int
    connection: Connection
    server: Server

    def cases(self) -> Iterator[Case]:
        return cases(self.jobs)

    def times_of_pages(self, case: Case, limit: int, calls: int) -> tuple[list[float], list[float]]:
        """Give the milliseconds of pages over HTTP, and of as many by the store's function."""
        return self.times_over_http(case.target(limit), calls), _times(lambda: case.page(self.connection, limit), calls)

    def times_over_http(self, target: str, calls: int) -> list[float]:
        """Give the milliseconds of calls on one connection, one after the other."""
        with closing(self.server.connect()) as connection:

            def ask() -> None:
                response = exchange(connection, "GET", target, headers=self.server.headers)
                if response.status != 200:
                    raise BenchmarkFailed(f"{target}: answered with {response.status}: {response.body.decode()}")

            return _times(ask, calls)


def compare(load: Load) -> Listed:
    """Run the benchmark.

    Raises:
        BenchmarkFailed: an answer was not 200, or there is nothing to list.
    """
    with ExitStack() as stack:
        stage = stack.enter_context(set_stage())
        small, large = (stack.enter_context(_table(stage, jobs)) for jobs in (SMALL, load.jobs))
        pairs = zip(small.cases(), large.cases(), strict=True)
        filters = [_measured(small, ours, large, theirs, load) for ours, theirs in pairs]
        return Listed(small.jobs, large.jobs, filters, _figures(large, load.calls), machine(stage.dsn))


@contextmanager
def _table(stage: Stage, jobs: int) -> Iterator[_Table]:
    config = stage.home / "lists.toml"
    config.write_text("".join(declared(name) for name in PROVIDERS))
    with scratch_database(stage.dsn) as dsn, closing(connect(dsn)) as connection:
        migrate(dsn)
        populate(connection, jobs)
        connection.execute("CHECKPOINT")  # not while we measure
        environ = {
            "DATABASE_URL": dsn,
            "RECEIVER_CONFIG": str(config),
            "RECEIVER_ADMIN_KEY": ADMIN_KEY,
            "RECEIVER_RATE_LIMIT": "1000000",
        }
        with gunicorn(stage, f"lists-{jobs}", WEB, 1, **environ) as web:
            headers = {"authorization": f"Bearer {ADMIN_KEY}"}
            yield _Table(jobs, connection, Server("127.0.0.1", web.port, headers=headers))


def _measured(small: _Table, ours: Case, large: _Table, theirs: Case, load: Load) -> Filter:
    """Measure a filter at both tables in turns, with pages of as many items as both have of it."""
    items = min(len(case.page(at.connection, _LONGEST_PAGE).items) for case, at in ((ours, small), (theirs, large)))
    if not items:
        raise BenchmarkFailed(f"{ours}: there is nothing to list")
    rounds = [
        (small.times_of_pages(ours, items, load.calls), large.times_of_pages(theirs, items, load.calls))
        for _ in range(load.rounds)
    ]
    http, store = (
        Timing([p95(one[way]) for one, _ in rounds], [p95(other[way]) for _, other in rounds]) for way in (0, 1)
    )
    return Filter(str(ours), items, http, store)


def _figures(table: _Table, calls: int) -> Mapping[str, Sequence[float]]:
    names = list(PROVIDERS)
    return {
        "GET /v1/stats": table.times_over_http("/v1/stats", calls),
        "GET /v1/providers": table.times_over_http("/v1/providers", calls),
        "counts (stats and metrics)": _times(lambda: count_by_provider(table.connection), calls),
        "what needs somebody (providers, stats and metrics)": _times(
            lambda: count_attention(table.connection, names), calls
        ),
        "durations, oldest open jobs (stats and metrics)": _times(
            lambda: find_completion_stats(table.connection, names), calls
        ),
        "missing callbacks (providers and metrics)": _times(
            lambda: find_callback_stats(table.connection, names), calls
        ),
    }


def _times(work: Callable[[], object], calls: int) -> list[float]:
    """Give the milliseconds of each call, after two that fill the caches."""
    return [_milliseconds(work) for _ in range(calls + 2)][2:]


def _milliseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * _MILLI
