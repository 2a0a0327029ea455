"""`intake`: callbacks verified, validated, deduplicated, reconciled and committed, against an empty Flask view.

Both run under gunicorn with the project's own settings and get the same bytes from the same load generator, in turns.
"""

import math
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from receiver.cli.processes import WEB
from tests.benchmarks.cpu import measure_tree
from tests.benchmarks.environment import (
    BenchmarkEnvironment,
    BenchmarkFailed,
    describe_machine,
    query,
    start_environment,
)
from tests.benchmarks.results import Comparison, Contender, Round
from tests.benchmarks.signed import SignedCallbacks, sign_callbacks
from tests.benchmarks.wrk import THREADS, WrkResult, find_wrk, send

EMPTY_VIEW = (*WEB[:-1], "tests.benchmarks.empty_view:create_app()")
_READY_TIMEOUT_S = 30.0
_WARM_UP_S = 2

STORED = b"""
SELECT (SELECT count(*) FROM callbacks WHERE verdict = 'accepted'),
    (SELECT count(*) FROM events), (SELECT count(*) FROM jobs WHERE status = 'succeeded')
"""


@dataclass(frozen=True, slots=True)
class IntakeLoad:
    """The load: `seconds` per round; `callbacks_per_second` replaces the measured rate in `CallbackSupply`."""

    rounds: int
    seconds: int
    connections: int
    workers: int
    callbacks_per_second: int | None = None


@dataclass(frozen=True, slots=True)
class Web:
    """One gunicorn: the port it listens on and the pid of its arbiter."""

    port: int
    pid: int


class CallbackSupply:
    """How many callbacks to sign for a round, so that the load generator does not run out of them.

    Callbacks cannot be signed while they are sent, and nobody knows in advance how fast a machine is. So the first
    round uses a guess, later rounds the highest rate measured before and a margin; a round that runs out is repeated
    with twice as many.
    """

    FIRST_PER_SECOND = 12_000
    MARGIN = 1.5
    GROWTH = 2

    def __init__(self, per_second: int | None = None) -> None:
        """Use `per_second` in place of measured rates if it is set."""
        self._is_fixed = per_second is not None
        self._per_second = float(per_second or self.FIRST_PER_SECOND)

    def compute_count(self, seconds: int) -> int:
        """Return how many callbacks to sign for a round: at least one for each thread."""
        return max(math.ceil(self._per_second * seconds), THREADS)

    def record_rate(self, per_second: float) -> None:
        """Adapt to the higher rate of a pair of rounds that had enough callbacks."""
        if not self._is_fixed:
            self._per_second = per_second * self.MARGIN

    def grow(self) -> None:
        """Double the supply after a round that ran out of callbacks."""
        self._per_second *= self.GROWTH


def compare(load: IntakeLoad) -> Comparison:
    """Run the benchmark.

    Raises:
        WrkMissing: the load generator is not installed.
        BenchmarkFailed: a response was not 2xx, or an acknowledged callback is not in Postgres.
    """
    find_wrk()
    with ExitStack() as stack:
        environment = stack.enter_context(start_environment())
        intake = stack.enter_context(start_gunicorn(environment, "intake", WEB, load.workers))
        empty_view = stack.enter_context(start_gunicorn(environment, "empty", EMPTY_VIEW, load.workers))
        benchmark = IntakeBenchmark(environment, load, intake, empty_view)
        benchmark.run_pair(min(_WARM_UP_S, load.seconds), is_timed=False)
        pairs = [benchmark.run_pair(load.seconds) for _ in range(load.rounds)]
        environment.processes.stop()
        checks = {"workers": load.workers, "connections": load.connections}
        return Comparison(
            "intake",
            "callbacks",
            Contender("intake", [intake_round for intake_round, _ in pairs]),
            Contender("empty view", [empty_round for _, empty_round in pairs]),
            {**checks, **benchmark.summarize_latency(), **benchmark.check_stored()},
            describe_machine(environment.dsn),
        )


class IntakeBenchmark:
    """Runs pairs of rounds and records how many callbacks were acknowledged in them."""

    def __init__(self, environment: BenchmarkEnvironment, load: IntakeLoad, intake: Web, empty_view: Web) -> None:
        self._environment = environment
        self._load = load
        self._intake = intake
        self._empty_view = empty_view
        self._supply = CallbackSupply(load.callbacks_per_second)
        self._results: list[WrkResult] = []
        self._timed: list[WrkResult] = []

    def run_pair(self, seconds: int, *, is_timed: bool = True) -> tuple[Round, Round]:
        """Send new callbacks to the intake and then to the empty view; repeat both if either runs out of callbacks."""
        while True:
            with sign_callbacks(self._supply.compute_count(seconds)) as callbacks:
                intake_result, intake_round = self._run_round(self._intake, callbacks, seconds)
                self._results.append(intake_result)
                if not intake_result.exhausted:
                    empty_result, empty_round = self._run_round(self._empty_view, callbacks, seconds)
                    if not empty_result.exhausted:
                        break
            self._supply.grow()
        if is_timed:
            self._timed.append(intake_result)
        self._supply.record_rate(max(intake_round.rate, empty_round.rate))
        return intake_round, empty_round

    def _run_round(self, web: Web, callbacks: SignedCallbacks, seconds: int) -> tuple[WrkResult, Round]:
        before = self._measure_cpu(web)
        result, wrk_cpu = send(web.port, callbacks, connections=self._load.connections, seconds=seconds)
        cpu = {process: after - before[process] for process, after in self._measure_cpu(web).items()}
        return result, Round(result.responses, result.seconds, {**cpu, "wrk": wrk_cpu})

    def _measure_cpu(self, web: Web) -> dict[str, float]:
        return {"python": measure_tree(web.pid), "postgres": measure_tree(self._environment.postmaster)}

    def summarize_latency(self) -> dict[str, float]:
        """Return the medians of the timed rounds in milliseconds, and how many callbacks took over 2 s in any round."""
        return {
            "p50_ms": round(median(result.p50_ms for result in self._timed), 1),
            "p99_ms": round(median(result.p99_ms for result in self._timed), 1),
            "over_2_s": sum(result.late for result in self._results),
        }

    def check_stored(self) -> dict[str, int]:
        """Compare the rows in Postgres with the acknowledged callbacks.

        The end of a round cuts off at most one callback per connection, which may be stored without being acknowledged.

        Raises:
            BenchmarkFailed: fewer are stored than acknowledged, or more than sent.
        """
        acknowledged = sum(result.responses for result in self._results)
        cut_off = self._load.connections * len(self._results)
        callbacks, events, jobs = query(self._environment.dsn, STORED)
        counts = {"acknowledged": acknowledged, "callbacks": callbacks, "events": events, "jobs": jobs}
        if not acknowledged <= callbacks <= acknowledged + cut_off or not callbacks == events == jobs:
            raise BenchmarkFailed(f"the rows in Postgres do not match the acknowledged callbacks: {counts}")
        return counts


@contextmanager
def start_gunicorn(
    environment: BenchmarkEnvironment, name: str, arguments: tuple[str, ...], workers: int, **environ: str
) -> Iterator[Web]:
    """Run gunicorn with more environment variables, and yield it once it responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=2_048) as listener:
        descriptor, port = listener.fileno(), listener.getsockname()[1]
        bind = ["--bind", f"fd://{descriptor}"]
        environ = {"WEB_CONCURRENCY": str(workers), **environ}
        pid = environment.start(name, [*arguments, *bind], pass_fds=[descriptor], **environ)
        _wait_until_ready(environment, port)
        yield Web(port, pid)


def _wait_until_ready(environment: BenchmarkEnvironment, port: int) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=_READY_TIMEOUT_S).close()
        except urllib.error.HTTPError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"a web process does not respond: {error}") from error
        environment.processes.check(wait=0.1)
