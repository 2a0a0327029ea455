"""`memory`: what web and worker processes need while they take, send and reconcile requests and callbacks for minutes.

Requests are submitted at a quarter of the rate at which they can be submitted and sent, and callbacks at a quarter of
the rate at which they can be committed: together half of what the machine can do.
"""

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from receiver.cli.processes import WEB, WORKER
from receiver.store.connections import connect
from tests.benchmarks.contests import Goal
from tests.benchmarks.cpu import find_children
from tests.benchmarks.dispatch import PROVIDER, format_config
from tests.benchmarks.environment import BenchmarkEnvironment, BenchmarkFailed, describe_machine, start_environment
from tests.benchmarks.intake import Web, start_gunicorn
from tests.benchmarks.signed import sign_callbacks
from tests.benchmarks.submissions import SINGLE_PATH, write_submissions
from tests.benchmarks.submit import create_submit_key
from tests.benchmarks.wrk import WrkResult, find_wrk, send

MAX_MIB, MAX_GROWTH = 90.0, 0.03
_WARM_UP_SHARE, _COMPARED_SHARE = 0.2, 0.2
"""The share of the time that is warm-up, and of the spans after it and at the end that are compared."""
_SAMPLE_INTERVAL_S = 0.5
_SLICE_S = 20
_MEASURE_S = 3
_CONCURRENCY = 50
_MAX_RATE = 12_000
_DRAIN_TIMEOUT_S = 120.0
_POLL_INTERVAL_S = 0.05
_OPEN = b"SELECT count(*) FROM requests WHERE status IN ('queued', 'sending')"
_STORED = b"""
SELECT (SELECT count(*) FROM callbacks WHERE verdict = 'accepted'),
    (SELECT count(*) FROM requests WHERE status = 'accepted'), (SELECT count(*) FROM requests)
"""


@dataclass(frozen=True, slots=True)
class MemoryLoad:
    """The load: how long it lasts, the connections of each kind, and the number of web processes."""

    minutes: float
    connections: int
    workers: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The memory of a process, sample by sample, in MiB.

    `pss` counts pages that several processes share in equal parts, `rss` counts them whole.
    """

    name: str
    rss: Sequence[float]
    pss: Sequence[float]

    def compute_growth(self) -> float:
        """Return by which share the memory at the end is larger than after the warm-up."""
        start, count = int(len(self.pss) * _WARM_UP_SHARE), max(int(len(self.pss) * _COMPARED_SHARE), 1)
        return median(self.pss[-count:]) / median(self.pss[start : start + count]) - 1.0


@dataclass(frozen=True, slots=True)
class MemoryResults:
    """The memory of each process."""

    usages: Sequence[Usage]
    checks: Mapping[str, Any]
    machine: Mapping[str, Any]

    def list_goals(self) -> list[Goal]:
        """Return the goals with the measured values."""
        return [
            Goal("MiB (PSS) of the largest process", max(max(usage.pss) for usage in self.usages), MAX_MIB, True),
            Goal("growth after warm-up", max(usage.compute_growth() for usage in self.usages), MAX_GROWTH, True),
        ]

    def table(self) -> str:
        """Return the results as text for people."""
        lines = ["MiB: after warm-up, at the end, maximum; growth after warm-up"]
        for usage in self.usages:
            growth = f"{usage.compute_growth():+.1%}"
            lines.append(f"  {usage.name}: PSS {_format(usage.pss)}; {growth}; RSS {_format(usage.rss)}")
        details = [f"{name}: {value}" for name, value in {**self.checks, **self.machine}.items()]
        return "\n".join([*lines, "", *map(str, self.list_goals()), "", *details])

    def document(self) -> dict[str, Any]:
        """Return the results for JSON."""
        return {
            "benchmark": "memory",
            "processes": {
                usage.name: {
                    "max_pss_mib": max(usage.pss),
                    "max_rss_mib": max(usage.rss),
                    "growth": round(usage.compute_growth(), 4),
                }
                for usage in self.usages
            },
            "goals": [goal.document() for goal in self.list_goals()],
            "checks": dict(self.checks),
            "machine": dict(self.machine),
        }


def compare(load: MemoryLoad) -> MemoryResults:
    """Run the benchmark.

    Raises:
        WrkMissing: the load generator is not installed.
        BenchmarkFailed: a response was not 2xx, or what was accepted is not in Postgres, or not sent.
    """
    find_wrk()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1_024))
        config = format_config(f"http://127.0.0.1:{listener.getsockname()[1]}", _CONCURRENCY)
        environment = stack.enter_context(start_environment(more_config=config))
        fast_provider = ("-m", "tests.benchmarks.fast_provider", str(listener.fileno()))
        environment.start("provider", fast_provider, pass_fds=[listener.fileno()])
        arguments = (*WEB, "--max-requests", "0")  # a process that is replaced has no growth
        web = stack.enter_context(start_gunicorn(environment, "web", arguments, load.workers))
        worker = environment.start("worker", WORKER)
        benchmark = MemoryBenchmark(environment, load, web)
        rates = benchmark.measure_rates()
        pids = {f"web {number}": pid for number, pid in enumerate(sorted(find_children(web.pid)), 1)}
        with sample_memory({**pids, "worker": worker}) as usages:
            benchmark.run(*rates)
        checks = {"minutes": load.minutes, **benchmark.check_stored()}
        return MemoryResults(usages, checks, describe_machine(environment.dsn))


class MemoryBenchmark:
    """Sends callbacks and submissions, and counts those that were accepted."""

    def __init__(self, environment: BenchmarkEnvironment, load: MemoryLoad, web: Web) -> None:
        self._environment = environment
        self._load = load
        self._web = web
        self._key = create_submit_key(environment.dsn)
        self._callbacks: list[WrkResult] = []
        self._submissions: list[WrkResult] = []

    def measure_rates(self) -> tuple[float, float]:
        """Return how many callbacks per second are committed, and how many requests are submitted and sent."""
        seconds = min(_MEASURE_S, self._slice_s)
        callbacks = self._send_callbacks(_MAX_RATE * seconds, seconds, 0.0)
        started = time.monotonic()
        submissions = self._send_submissions(_MAX_RATE * seconds, seconds, 0.0)
        self._wait_until_sent()
        return callbacks.responses / callbacks.seconds, submissions.responses / (time.monotonic() - started)

    def run(self, callback_rate: float, submission_rate: float) -> None:
        """Send both at a quarter of these rates until the time is over."""
        deadline = time.monotonic() + self._load.minutes * 60.0
        with ThreadPoolExecutor(2) as pool:
            while time.monotonic() < deadline:
                runs = [
                    pool.submit(send_at_rate, self._slice_s, rate / 4.0)
                    for send_at_rate, rate in (
                        (self._send_callbacks_at, callback_rate),
                        (self._send_submissions_at, submission_rate),
                    )
                ]
                for run in runs:
                    run.result()
        self._wait_until_sent()

    @property
    def _slice_s(self) -> int:
        return max(min(_SLICE_S, int(self._load.minutes * 60.0)), 1)

    def _send_callbacks_at(self, seconds: int, rate: float) -> WrkResult:
        return self._send_callbacks(int(rate * seconds * 2) + 2, seconds, 1_000 * self._load.connections / rate)

    def _send_submissions_at(self, seconds: int, rate: float) -> WrkResult:
        return self._send_submissions(int(rate * seconds * 2) + 2, seconds, 1_000 * self._load.connections / rate)

    def _send_callbacks(self, count: int, seconds: int, pause_ms: float) -> WrkResult:
        with sign_callbacks(count, provider=PROVIDER) as requests:
            result, _ = send(
                self._web.port, requests, connections=self._load.connections, seconds=seconds, pause_ms=pause_ms
            )
        self._callbacks.append(result)
        return result

    def _send_submissions(self, count: int, seconds: int, pause_ms: float) -> WrkResult:
        with write_submissions(self._key, SINGLE_PATH, count, provider=PROVIDER) as requests:
            result, _ = send(
                self._web.port, requests, connections=self._load.connections, seconds=seconds, pause_ms=pause_ms
            )
        self._submissions.append(result)
        return result

    def _wait_until_sent(self) -> None:
        deadline = time.monotonic() + _DRAIN_TIMEOUT_S
        with closing(connect(self._environment.dsn)) as connection:
            while connection.execute(_OPEN).fetchone() != (0,):
                if time.monotonic() > deadline:
                    raise BenchmarkFailed("the worker did not send all requests in time")
                self._environment.processes.check()
                time.sleep(_POLL_INTERVAL_S)

    def check_stored(self) -> dict[str, int]:
        """Compare the rows in Postgres with the accepted calls and callbacks.

        The end of a run cuts off at most one request per connection, which may be stored without being answered.

        Raises:
            BenchmarkFailed: fewer are stored than accepted, or a request was not sent.
        """
        with closing(connect(self._environment.dsn)) as connection:
            callbacks, sent, requests = connection.execute(_STORED).fetchone() or (0, 0, 0)
        acknowledged, accepted = (
            sum(result.responses for result in results) for results in (self._callbacks, self._submissions)
        )
        counts = {"acknowledged": acknowledged, "callbacks": callbacks, "accepted": accepted, "requests": requests}
        if callbacks < acknowledged or requests < accepted or sent != requests:
            raise BenchmarkFailed(f"the rows in Postgres do not match what was accepted: {counts}, sent: {sent}")
        return counts


@contextmanager
def sample_memory(pids: Mapping[str, int]) -> Iterator[list[Usage]]:
    """Sample the memory of processes within the context; the list that is yielded is filled at its end."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in pids}
    stopping = threading.Event()

    def sample() -> None:
        while not stopping.wait(_SAMPLE_INTERVAL_S):
            for name, pid in pids.items():
                samples[name].append(read_memory(pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    usages: list[Usage] = []
    try:
        yield usages
    finally:
        stopping.set()
        sampler.join()
    for name, values in samples.items():
        if not values:
            raise BenchmarkFailed("the load was too short to sample the memory")
        usages.append(Usage(name, [rss for rss, _ in values], [pss for _, pss in values]))


def read_memory(pid: int) -> tuple[float, float]:
    """Return the RSS and the PSS of a process in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return kilobytes["Rss"] / 1_024, kilobytes["Pss"] / 1_024


def _format(values: Sequence[float]) -> str:
    start = values[int(len(values) * _WARM_UP_SHARE)]
    return f"{start:.1f}, {values[-1]:.1f}, {max(values):.1f}"
