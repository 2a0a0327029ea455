"""`intake`: callbacks verified, validated, deduplicated, reconciled and committed, against an empty Flask view.

Both run under gunicorn with the project's own settings and get the same bytes from the same load generator, in turns.
"""

import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from receiver.cli.processes import WEB
from tests.benchmarks.cpu import tree_seconds
from tests.benchmarks.figures import Comparison, Contender, Round
from tests.benchmarks.signed import SignedCallbacks, write_callbacks
from tests.benchmarks.stage import BenchmarkFailed, Stage, machine, query, set_stage
from tests.benchmarks.wrk import Told, demand_wrk, send

EMPTY = (*WEB[:-1], "tests.benchmarks.empty_view:create_app()")
_READY_WITHIN = 30.0
_WARM_UP = 2
_MEMORY = Path("/dev/shm")

_KEPT = b"""
SELECT (SELECT count(*) FROM callbacks WHERE verdict = 'accepted'),
    (SELECT count(*) FROM events), (SELECT count(*) FROM jobs WHERE status = 'succeeded')
"""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is sent: `seconds` per round, `most_per_second` callbacks signed ahead for each."""

    rounds: int
    seconds: int
    connections: int
    workers: int
    most_per_second: int


@dataclass(frozen=True, slots=True)
class Web:
    """One gunicorn: where it listens and the pid of its arbiter."""

    port: int
    pid: int


def compare(load: Load) -> Comparison:
    """Run the benchmark.

    Raises:
        WrkMissing: the load generator is not installed.
        BenchmarkFailed: an answer was not 2xx, or a callback that was acknowledged is not in Postgres.
    """
    demand_wrk()
    with ExitStack() as stack:
        stage = stack.enter_context(set_stage())
        taking = stack.enter_context(gunicorn(stage, "intake", WEB, load.workers))
        empty = stack.enter_context(gunicorn(stage, "empty", EMPTY, load.workers))
        bench = _Bench(stage, load)
        bench.pair(taking, empty, _WARM_UP)
        pairs = [bench.pair(taking, empty, load.seconds) for _ in range(load.rounds)]
        stage.fleet.stop()
        return Comparison(
            "intake",
            "callbacks",
            Contender("intake", [ours for ours, _ in pairs]),
            Contender("empty view", [bare for _, bare in pairs]),
            {"workers": load.workers, "connections": load.connections, **bench.waits(), **bench.kept()},
            machine(stage.dsn),
        )


class _Bench:
    """Runs rounds and remembers what was acknowledged in them."""

    def __init__(self, stage: Stage, load: Load) -> None:
        self._stage = stage
        self._load = load
        self._acknowledged: list[Told] = []

    def pair(self, taking: Web, empty: Web, seconds: int) -> tuple[Round, Round]:
        """Send fresh callbacks to one and then to the other."""
        with _signed(seconds * self._load.most_per_second) as callbacks:
            told, ours = self._round(taking, callbacks, seconds)
            self._acknowledged.append(told)
            _, bare = self._round(empty, callbacks, seconds)
        return ours, bare

    def _round(self, web: Web, callbacks: SignedCallbacks, seconds: int) -> tuple[Told, Round]:
        before = self._cpu(web)
        told, load_cpu = send(web.port, callbacks, connections=self._load.connections, seconds=seconds)
        cpu = {who: after - before[who] for who, after in self._cpu(web).items()}
        return told, Round(told.responses, told.seconds, {**cpu, "wrk": load_cpu})

    def _cpu(self, web: Web) -> dict[str, float]:
        return {"python": tree_seconds(web.pid), "postgres": tree_seconds(self._stage.postmaster)}

    def waits(self) -> dict[str, float]:
        """Give how long callbacks waited for their answer: the rounds' median, and how many waited over 2 s."""
        timed = self._acknowledged[1:]
        return {
            "p50_ms": round(median(told.p50_ms for told in timed), 1),
            "p99_ms": round(median(told.p99_ms for told in timed), 1),
            "over_2_s": sum(told.late for told in self._acknowledged),
        }

    def kept(self) -> dict[str, int]:
        """Compare what is in Postgres with what was acknowledged; those that a round's end cut off may be more.

        Raises:
            BenchmarkFailed: fewer are there, or more than were under way.
        """
        acknowledged = sum(told.responses for told in self._acknowledged)
        cut_off = self._load.connections * len(self._acknowledged)
        callbacks, events, jobs = query(self._stage.dsn, _KEPT)
        found = {"acknowledged": acknowledged, "callbacks": callbacks, "events": events, "jobs": jobs}
        if not acknowledged <= callbacks <= acknowledged + cut_off or not callbacks == events == jobs:
            raise BenchmarkFailed(f"what was acknowledged is not what is in Postgres: {found}")
        return found


@contextmanager
def _signed(count: int) -> Iterator[SignedCallbacks]:
    """Sign callbacks into a file in memory: writing it back must not disturb Postgres on the same disk."""
    with tempfile.NamedTemporaryFile(dir=_MEMORY if _MEMORY.is_dir() else None) as file:
        yield write_callbacks(Path(file.name), count)


@contextmanager
def gunicorn(stage: Stage, name: str, arguments: tuple[str, ...], workers: int, **more: str) -> Iterator[Web]:
    """Run gunicorn with `more` in its environment; gives it when it answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=2_048) as listener:
        number, port = listener.fileno(), listener.getsockname()[1]
        bind = ["--bind", f"fd://{number}"]
        pid = stage.start(name, [*arguments, *bind], pass_fds=[number], WEB_CONCURRENCY=str(workers), **more)
        _wait_until_it_answers(stage, port)
        yield Web(port, pid)


def _wait_until_it_answers(stage: Stage, port: int) -> None:
    until = time.monotonic() + _READY_WITHIN
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=_READY_WITHIN).close()
        except urllib.error.HTTPError:
            return
        except OSError as error:
            if time.monotonic() > until:
                raise BenchmarkFailed(f"a web process does not answer: {error}") from error
        stage.fleet.check(wait=0.1)
