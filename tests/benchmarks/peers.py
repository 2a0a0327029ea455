"""`peers`: the intake against what services use otherwise, all beside an empty Flask view.

The peers are one transaction per callback, Celery with Redis, and procrastinate. All have the same gunicorn and verify
the same signatures. A round of a peer with a queue ends when its workers have stored what the endpoint acknowledged.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from receiver.cli.processes import WEB
from receiver.domain.errors import ReceiverError
from tests.benchmarks import naive
from tests.benchmarks.contests import Contest, Goal, compute_ratio
from tests.benchmarks.environment import (
    BenchmarkEnvironment,
    BenchmarkFailed,
    describe_machine,
    query,
    start_environment,
)
from tests.benchmarks.intake import CONFIG, DECLARED, EMPTY_VIEW, STORED, start_gunicorn
from tests.benchmarks.results import Contender, Round
from tests.benchmarks.rounds import WARM_UP_S, CallbackRounds
from tests.benchmarks.wrk import find_wrk

MIN_RATIO = 4
_CELERY, _PROCRASTINATE = "celery_peer", "procrastinate_peer"
_PROCRASTINATE_WORKERS = 2
_COMPLETION_TIMEOUT_S = 300.0
_POLL_INTERVAL_S = 0.1


class PeersMissing(ReceiverError):
    """A peer is not installed."""


@dataclass(frozen=True, slots=True)
class PeersLoad:
    """The load: `seconds` per round."""

    rounds: int
    seconds: int
    connections: int
    workers: int


@dataclass(frozen=True, slots=True)
class Competitor:
    """A contender that runs, and the number of callbacks in its queue; None without a queue."""

    name: str
    rounds: CallbackRounds
    count_queued: Callable[[], int] | None = None

    def run(self, seconds: int, *, is_timed: bool = True) -> Round:
        """Run a round, until all callbacks are stored that it acknowledged."""
        complete = self._empty_queue if self.count_queued else None
        return self.rounds.run(seconds, is_timed=is_timed, provider=DECLARED, complete=complete)

    def _empty_queue(self) -> None:
        """Wait until the workers have stored what is in the queue.

        Raises:
            BenchmarkFailed: the queue is not empty in time.
        """
        assert self.count_queued
        deadline = time.monotonic() + _COMPLETION_TIMEOUT_S
        while queued := self.count_queued():
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"{self.name} has not stored {queued} callbacks in its queue")
            time.sleep(_POLL_INTERVAL_S)


def compare(load: PeersLoad) -> Contest:
    """Run the benchmark.

    Raises:
        WrkMissing: the load generator is not installed.
        PeersMissing: a peer is not installed.
        BenchmarkFailed: a response was not 2xx, or an acknowledged callback is not in Postgres.
    """
    find_wrk()
    redis = find_peers()
    with ExitStack() as stack:
        environment = stack.enter_context(start_environment(more_config=CONFIG))
        competitors = list(_start_competitors(stack, environment, load, redis))
        for competitor in competitors:
            competitor.run(min(WARM_UP_S, load.seconds), is_timed=False)
        turns = [[competitor.run(load.seconds) for competitor in competitors] for _ in range(load.rounds)]
        environment.processes.stop()
        contenders = [
            Contender(competitor.name, rounds) for competitor, *rounds in zip(competitors, *turns, strict=True)
        ]
        reference, intake, *peers = contenders
        acknowledged = {
            f"{competitor.name}, acknowledged per second": competitor.rounds.compute_acknowledged_rate()
            for competitor in competitors[2:]
        }
        return Contest(
            "peers",
            "callbacks",
            contenders,
            reference,
            [Goal(f"intake, of {peer.name}", compute_ratio(intake, peer).median, MIN_RATIO) for peer in peers],
            {"workers": load.workers, **acknowledged, **_check_stored(environment, competitors)},
            describe_machine(environment.dsn),
        )


def find_peers() -> str:
    """Return the path of redis-server.

    Raises:
        PeersMissing: redis-server or a package is not installed.
    """
    if find_spec("celery") is None or find_spec("procrastinate") is None:
        raise PeersMissing(
            "celery or procrastinate is not installed: uv run --group peers python -m tests.benchmarks peers"
        )
    path = shutil.which("redis-server")
    if path is None:
        raise PeersMissing("redis-server is not installed: apt-get install -y redis-server")
    return path


def _start_competitors(
    stack: ExitStack, environment: BenchmarkEnvironment, load: PeersLoad, redis: str
) -> Iterator[Competitor]:
    naive.create_tables(environment.dsn)
    postgres = {"postgres": environment.postmaster}

    def start_web(name: str, arguments: tuple[str, ...], **environ: str) -> CallbackRounds:
        web = stack.enter_context(start_gunicorn(environment, name, arguments, load.workers, **environ))
        return CallbackRounds(web, load.connections, {**postgres, **processes})

    processes: dict[str, int] = {}
    yield Competitor("empty view", start_web("empty", EMPTY_VIEW))
    yield Competitor("intake", start_web("intake", WEB))
    yield Competitor("one transaction each", start_web("naive", naive.NAIVE))

    url, redis_pid = stack.enter_context(_start_redis(environment, redis))
    celery = import_module(f"tests.benchmarks.{_CELERY}")
    worker = environment.start("celery", celery.WORKER, REDIS_URL=url)
    processes = {"redis": redis_pid, "worker": worker}
    web_arguments = (*WEB[:-1], f"tests.benchmarks.{_CELERY}:create_app()")
    yield Competitor("Celery", start_web("celery-web", web_arguments, REDIS_URL=url), partial(celery.count_queued, url))

    procrastinate = import_module(f"tests.benchmarks.{_PROCRASTINATE}")
    procrastinate.create_tables(environment.dsn)
    names = [f"worker {number}" for number in range(1, _PROCRASTINATE_WORKERS + 1)]
    processes = {name: environment.start(f"procrastinate {name}", procrastinate.WORKER) for name in names}
    web_arguments = (*WEB[:-1], f"tests.benchmarks.{_PROCRASTINATE}:create_app()")
    web = start_web("procrastinate-web", web_arguments)
    yield Competitor("procrastinate", web, partial(procrastinate.count_queued, environment.dsn))


@contextmanager
def _start_redis(environment: BenchmarkEnvironment, path: str) -> Iterator[tuple[str, int]]:
    """Run redis-server, which appends to a file that it syncs every second, its default; yield its URL and pid.

    A crash of the machine loses up to a second of acknowledged callbacks, unlike one of Postgres.
    """
    directory = environment.home / "redis"
    directory.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    durability = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    with (
        (environment.home / "redis.log").open("wb") as log,
        subprocess.Popen([path, *options, *durability], stdout=log, stderr=log) as process,
    ):
        try:
            yield f"redis://127.0.0.1:{port}/0", process.pid
        finally:
            process.terminate()


def _check_stored(environment: BenchmarkEnvironment, competitors: list[Competitor]) -> dict[str, int]:
    """Compare the callbacks in the tables of the intake and of the peers with the acknowledged ones.

    Raises:
        BenchmarkFailed: fewer are stored than acknowledged, or callbacks lack their jobs.
    """
    _, intake, *peers = competitors
    callbacks, events, jobs = query(environment.dsn, STORED)
    intake.rounds.check_stored(callbacks)
    acknowledged_by_peers = sum(peer.rounds.acknowledged for peer in peers)
    callbacks_of_peers, jobs_of_peers = naive.count_stored(environment.dsn)
    counts = {
        "acknowledged": intake.rounds.acknowledged,
        "callbacks": callbacks,
        "acknowledged_by_peers": acknowledged_by_peers,
        "callbacks_of_peers": callbacks_of_peers,
    }
    if not callbacks == events == jobs or not acknowledged_by_peers <= callbacks_of_peers == jobs_of_peers:
        raise BenchmarkFailed(f"the rows in Postgres do not match the acknowledged callbacks: {counts}")
    return counts
