"""`followup`: due polls leased by the real worker, sent to a fast provider, and their reports recorded.

Half of the jobs are still in progress, half of them have finished.
"""

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime

from uuid_utils.compat import uuid7

from receiver.cli.processes import WORKER
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, StatusReport
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.settings import load_settings
from receiver.store.connections import Connection, connect
from tests.benchmarks.contests import Contest, Goal, compute_rate
from tests.benchmarks.cpu import measure_tree
from tests.benchmarks.dispatch import PROVIDER, format_config
from tests.benchmarks.environment import (
    BenchmarkEnvironment,
    BenchmarkFailed,
    describe_machine,
    query,
    start_environment,
)
from tests.benchmarks.results import Contender, Round

MIN_PER_SECOND = 3_000.0
_WARM_UP_POLLS = 2_000
_POLL_INTERVAL_S = 0.02
_START_TIMEOUT_S = 10.0
_MIN_POLLS_PER_SECOND = 100.0
_INSERT_SIZE = 1_000

_MAKE_DUE = b"UPDATE jobs SET poll_at = now() WHERE polls = 0"
# The lease of a poll ends within two minutes; the next poll of a job is half an hour later or more.
_HAS_OPEN = b"SELECT EXISTS (SELECT FROM jobs WHERE poll_at < now() + interval '10 minutes')"
_FIRST_REPORT = b"""
SELECT extract(epoch FROM min(received_at))::float8 FROM events
WHERE source = 'poll' AND received_at >= to_timestamp(%s)
"""
_STORED = b"""
SELECT (SELECT count(*) FROM jobs WHERE status = 'in_progress' AND polls = 1 AND poll_at IS NOT NULL),
    (SELECT count(*) FROM jobs WHERE status = 'succeeded' AND polls = 1 AND poll_at IS NULL),
    (SELECT count(*) FROM events WHERE source = 'poll')
"""


@dataclass(frozen=True, slots=True)
class FollowupLoad:
    """The load: `polls` per round, `concurrency` of them at once."""

    rounds: int
    polls: int
    concurrency: int


def compare(load: FollowupLoad) -> Contest:
    """Run the benchmark.

    Raises:
        BenchmarkFailed: a job was not polled once, or its report is not in Postgres.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1_024))
        config = format_config(f"http://127.0.0.1:{listener.getsockname()[1]}", load.concurrency)
        environment = stack.enter_context(start_environment(more_config=config))
        fast_provider = ("-m", "tests.benchmarks.fast_provider", str(listener.fileno()))
        provider = environment.start("provider", fast_provider, pass_fds=[listener.fileno()])
        benchmark = _FollowupBenchmark(environment, environment.start("worker", WORKER), provider)
        benchmark.run_round(min(_WARM_UP_POLLS, load.polls))
        contender = Contender("followup", [benchmark.run_round(load.polls) for _ in range(load.rounds)])
        return Contest(
            "followup",
            "polls",
            [contender],
            None,
            [Goal("polls per second", compute_rate(contender).median, MIN_PER_SECOND)],
            {"concurrency": load.concurrency, **benchmark.check_stored()},
            describe_machine(environment.dsn),
        )


class _FollowupBenchmark:
    """Runs rounds and counts the jobs polled in them."""

    def __init__(self, environment: BenchmarkEnvironment, worker: int, provider: int) -> None:
        self._environment = environment
        self._pids = {"python": worker, "postgres": environment.postmaster, "provider": provider}
        self._provider = load_settings(environment.environ).providers[PROVIDER]
        self._polled = 0

    def run_round(self, count: int) -> Round:
        """Make new jobs due for a poll and wait until all polls are recorded."""
        with closing(connect(self._environment.dsn)) as connection:
            events = _build_events(self._provider, range(self._polled, self._polled + count))
            for start in range(0, count, _INSERT_SIZE):
                reconcile(connection, events[start : start + _INSERT_SIZE])
            due_at = time.time()
            # The CPU time is read before the commit: until then the worker sees none of the jobs as due.
            with connection.transaction():
                connection.execute(_MAKE_DUE)
                before = self._measure_cpu()
            self._wait_until_recorded(connection, count)
            finished_at, after = time.time(), self._measure_cpu()
            (started_at,) = connection.execute(_FIRST_REPORT, [due_at]).fetchone() or (None,)
        if started_at is None:
            raise BenchmarkFailed("no report is in Postgres")
        self._polled += count
        return Round(count, finished_at - started_at, {process: after[process] - before[process] for process in after})

    def _wait_until_recorded(self, connection: Connection, count: int) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S + count / _MIN_POLLS_PER_SECOND
        while (connection.execute(_HAS_OPEN).fetchone() or (True,))[0]:
            if time.monotonic() > deadline:
                raise BenchmarkFailed("the worker did not finish in time")
            self._environment.processes.check()
            time.sleep(_POLL_INTERVAL_S)

    def _measure_cpu(self) -> dict[str, float]:
        return {process: measure_tree(pid) for process, pid in self._pids.items()}

    def check_stored(self) -> dict[str, int]:
        """Compare the rows in Postgres with the jobs polled.

        Raises:
            BenchmarkFailed: a job was not polled once, or does not have the status that its poll reported.
        """
        names = ("in_progress", "succeeded", "reports")
        counts = dict(zip(names, query(self._environment.dsn, _STORED), strict=True))
        expected = {"in_progress": self._polled // 2, "succeeded": self._polled // 2, "reports": self._polled}
        if counts != expected:
            raise BenchmarkFailed(f"{self._polled} jobs were polled, but Postgres contains {counts}")
        return {"polled": self._polled, **counts}


def _build_events(provider: Provider, numbers: range) -> Sequence[JobEvent]:
    """Build the events of jobs that the provider accepted; those with an odd number have finished meanwhile."""
    now = datetime.now(UTC)
    reports = [StatusReport(f"fast-{number:012d}", JobStatus.ACCEPTED) for number in numbers]
    return [provider.build_event(report, EventSource.RESPONSE, uuid7(), now, request_id=uuid7()) for report in reports]
