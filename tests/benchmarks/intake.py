"""`intake`: callbacks verified, validated, deduplicated, reconciled and committed, against an empty Flask view.

And against a Flask view with one transaction per callback. All run under gunicorn with the project's own settings and
get the same bytes from the same load generator, in turns. The provider is declared in receiver.toml, as a user's is.
"""

import math
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from receiver.cli.processes import WEB
from tests.benchmarks.contests import Contest, Goal, compute_cpu, compute_rate, compute_ratio
from tests.benchmarks.cpu import measure_tree
from tests.benchmarks.environment import (
    SECRET,
    BenchmarkEnvironment,
    BenchmarkFailed,
    describe_machine,
    query,
    start_environment,
)
from tests.benchmarks.naive import NAIVE, create_tables
from tests.benchmarks.results import Contender, Round
from tests.benchmarks.signed import sign_callbacks
from tests.benchmarks.wrk import THREADS, RequestFile, WrkResult, find_wrk, send

MIN_RATIO, MAX_CPU_RATIO, MIN_NAIVE_RATIO, MAX_P99_MS = 0.85, 1.2, 4.0, 50.0
DECLARED = "declared"
CONFIG = f"""
[providers.{DECLARED}]
kind = "declared"
base_url = "http://127.0.0.1:9"
signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}

[providers.{DECLARED}.callback]
items = "results[]"
reference = "id"
status = "state"
statuses = {{ QUEUED = "in_progress", DELIVERED = "succeeded", UNDELIVERED = "failed" }}
detail = "reason"
occurred_at = "at"
"""
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


def compare(load: IntakeLoad) -> Contest:
    """Run the benchmark.

    Raises:
        WrkMissing: the load generator is not installed.
        BenchmarkFailed: a response was not 2xx, or an acknowledged callback is not in Postgres.
    """
    find_wrk()
    with ExitStack() as stack:
        environment = stack.enter_context(start_environment(more_config=CONFIG))
        create_tables(environment.dsn)
        intake = stack.enter_context(start_gunicorn(environment, "intake", WEB, load.workers))
        empty_view = stack.enter_context(start_gunicorn(environment, "empty", EMPTY_VIEW, load.workers))
        naive = stack.enter_context(start_gunicorn(environment, "naive", NAIVE, load.workers))
        benchmark = IntakeBenchmark(environment, load, [intake, empty_view, naive])
        benchmark.run_turn(min(_WARM_UP_S, load.seconds))
        turns = [benchmark.run_turn(load.seconds) for _ in range(load.rounds)]
        intake_rounds, empty_rounds, naive_rounds = zip(*turns, strict=True)
        contender, reference = Contender("intake", intake_rounds), Contender("empty view", empty_rounds)
        one_by_one = Contender("one transaction each", naive_rounds)
        half = benchmark.run_at_half_rate(compute_rate(contender).median)
        environment.processes.stop()
        latency = {"half_rate": round(half.responses / half.seconds), "half_rate_p99_ms": round(half.p99_ms, 1)}
        return Contest(
            "intake",
            "callbacks",
            [contender, reference, one_by_one],
            reference,
            _build_goals(contender, reference, one_by_one, half),
            {"workers": load.workers, "connections": load.connections, **latency, **benchmark.check_stored()},
            describe_machine(environment.dsn),
        )


def _build_goals(contender: Contender, reference: Contender, naive: Contender, half: WrkResult) -> list[Goal]:
    cpu = compute_cpu(contender, ["python", "postgres"]) / compute_cpu(reference, ["python"])
    return [
        Goal("rate, of the empty view", compute_ratio(contender, reference).median, MIN_RATIO),
        Goal("CPU of python and postgres, of the empty view's", cpu, MAX_CPU_RATIO, is_maximum=True),
        Goal("rate, of one transaction each", compute_ratio(contender, naive).median, MIN_NAIVE_RATIO),
        Goal("p99 in ms at half of the rate", half.p99_ms, MAX_P99_MS, is_maximum=True),
    ]


class IntakeBenchmark:
    """Runs rounds in turns, and records how many callbacks the intake, which is the first, acknowledged in them."""

    def __init__(self, environment: BenchmarkEnvironment, load: IntakeLoad, webs: Sequence[Web]) -> None:
        self._environment = environment
        self._load = load
        self._webs = webs
        self._supply = CallbackSupply(load.callbacks_per_second)
        self._results: list[WrkResult] = []

    def run_turn(self, seconds: int) -> list[Round]:
        """Send the same new callbacks to each web process; repeat the turn if one runs out of callbacks."""
        while True:
            with sign_callbacks(self._supply.compute_count(seconds), provider=DECLARED) as callbacks:
                rounds = self._run_rounds(callbacks, seconds)
            if rounds:
                self._supply.record_rate(max(round_.rate for round_ in rounds))
                return rounds
            self._supply.grow()

    def _run_rounds(self, callbacks: RequestFile, seconds: int) -> list[Round]:
        """Send callbacks to each web process; return no rounds if one runs out of them."""
        rounds = []
        for web in self._webs:
            result, round_ = self._run_round(web, callbacks, seconds)
            if web is self._webs[0]:
                self._results.append(result)
            if result.exhausted:
                return []
            rounds.append(round_)
        return rounds

    def _run_round(self, web: Web, callbacks: RequestFile, seconds: int) -> tuple[WrkResult, Round]:
        before = self._measure_cpu(web)
        result, wrk_cpu = send(web.port, callbacks, connections=self._load.connections, seconds=seconds)
        cpu = {process: after - before[process] for process, after in self._measure_cpu(web).items()}
        return result, Round(result.responses, result.seconds, {**cpu, "wrk": wrk_cpu})

    def run_at_half_rate(self, top_rate: float) -> WrkResult:
        """Send callbacks to the intake at random times, half as many per second as it can take."""
        seconds = self._load.seconds
        pause_ms = 2_000 * self._load.connections / top_rate
        with sign_callbacks(self._supply.compute_count(seconds), provider=DECLARED) as callbacks:
            result, _ = send(
                self._webs[0].port, callbacks, connections=self._load.connections, seconds=seconds, pause_ms=pause_ms
            )
        self._results.append(result)
        return result

    def _measure_cpu(self, web: Web) -> dict[str, float]:
        return {"python": measure_tree(web.pid), "postgres": measure_tree(self._environment.postmaster)}

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
