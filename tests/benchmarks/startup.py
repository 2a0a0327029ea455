"""`startup`: how long commands take, and how long processes take until they are ready."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receiver.cli.processes import WEB, WORKER
from tests.benchmarks.contests import Goal
from tests.benchmarks.environment import BenchmarkEnvironment, BenchmarkFailed, describe_machine, start_environment
from tests.benchmarks.intake import start_gunicorn
from tests.benchmarks.results import Spread
from tests.support.ports import find_free_port

GOALS_S: Mapping[str, float] = {
    "receiver --help": 0.25,
    "receiver request list": 0.4,
    "receiver serve, ready": 3.0,
}
_KEY = "a-key-of-the-benchmark"
_POLL_INTERVAL_S = 0.01
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class StartupResults:
    """The wall-clock and CPU seconds of each start, by what was started."""

    seconds: Mapping[str, Sequence[float]]
    cpu_seconds: Mapping[str, Sequence[float]]
    machine: Mapping[str, Any]

    def list_goals(self) -> list[Goal]:
        """Return the goals with the measured medians."""
        return [
            Goal(f"seconds of {name}", Spread.from_values(self.seconds[name]).median, limit, is_maximum=True)
            for name, limit in GOALS_S.items()
        ]

    def table(self) -> str:
        """Return the results as text for people."""
        width = max(map(len, self.seconds))
        lines = ["seconds: median (minimum to maximum)"]
        for name, values in self.seconds.items():
            wall, cpu = Spread.from_values(values), Spread.from_values(self.cpu_seconds[name]).median
            lines.append(f"  {name:<{width}}  {wall.median:.2f} ({wall.low:.2f} to {wall.high:.2f}), CPU {cpu:.2f}")
        machine = [f"{name}: {value}" for name, value in self.machine.items()]
        return "\n".join([*lines, "", *map(str, self.list_goals()), "", *machine])

    def document(self) -> dict[str, Any]:
        """Return the results for JSON."""
        return {
            "benchmark": "startup",
            "seconds": {name: Spread.from_values(values).document() for name, values in self.seconds.items()},
            "cpu_seconds": {name: Spread.from_values(values).document() for name, values in self.cpu_seconds.items()},
            "goals": [goal.document() for goal in self.list_goals()],
            "machine": dict(self.machine),
        }


def compare(rounds: int) -> StartupResults:
    """Run the benchmark, each start once per round.

    Raises:
        BenchmarkFailed: a command failed, or a process did not become ready.
    """
    with ExitStack() as stack:
        environment = stack.enter_context(start_environment())
        web = stack.enter_context(start_gunicorn(environment, "web", WEB, 1, RECEIVER_ADMIN_KEY=_KEY))
        benchmark = StartupBenchmark(environment, f"http://127.0.0.1:{web.port}")
        for _ in range(rounds):
            benchmark.run_round()
        machine = describe_machine(environment.dsn)
    return StartupResults(benchmark.seconds, benchmark.cpu_seconds, machine)


class StartupBenchmark:
    """Starts commands and processes, and records how long each takes; `url` is that of a running web process."""

    def __init__(self, environment: BenchmarkEnvironment, url: str) -> None:
        self._environment = environment
        self._url = url
        self._log = environment.home / "startup.log"
        self.seconds: dict[str, list[float]] = {}
        self.cpu_seconds: dict[str, list[float]] = {}

    def run_round(self) -> None:
        """Start everything once; `serve` twice, of which the first start creates the database."""
        home, number = self._environment.home, len(self.seconds.get("python", ()))
        self._run("python", [sys.executable, "-c", "pass"])
        self._run("receiver --help", _receiver("--help"))
        self._run("receiver request list", _receiver("request", "list"), RECEIVER_URL=self._url, RECEIVER_KEY=_KEY)
        self._wait("receiver web, ready", [sys.executable, *WEB], "/readyz")
        self._wait("receiver worker, ready", [sys.executable, *WORKER], "/metrics")
        variables = {"RECEIVER_HOME": str(home / f"serve-{number}"), "DATABASE_URL": ""}
        self._wait("receiver serve, first start", _receiver("serve"), "/readyz", **variables)
        self._wait("receiver serve, ready", _receiver("serve"), "/readyz", **variables)

    def _run(self, name: str, arguments: Sequence[str], **variables: str) -> None:
        """Run a command to its end."""
        with self._start(name, arguments, variables) as process:
            code = process.wait(_TIMEOUT_S)
        if code:
            raise BenchmarkFailed(f"{name} ended with code {code}: {self._log.read_text(errors='replace')[-1_000:]}")

    def _wait(self, name: str, arguments: Sequence[str], path: str, **variables: str) -> None:
        """Start a process, wait until it answers a path with 200, and stop it."""
        port = str(find_free_port())
        listening = {"RECEIVER_METRICS_PORT" if path == "/metrics" else "PORT": port}
        with self._start(name, arguments, {"WEB_CONCURRENCY": "1", **listening, **variables}) as process:
            deadline = time.monotonic() + _TIMEOUT_S
            while not _is_ok(f"http://127.0.0.1:{port}{path}"):
                if process.poll() is not None or time.monotonic() > deadline:
                    log = self._log.read_text(errors="replace")[-1_000:]
                    raise BenchmarkFailed(f"{name} did not become ready: {log}")
                time.sleep(_POLL_INTERVAL_S)

    @contextmanager
    def _start(
        self, name: str, arguments: Sequence[str], variables: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start a process, record the time that the context takes, stop the process, and record its CPU time."""
        cpu_before, started = _read_children_cpu(), time.perf_counter()
        with self._log.open("wb") as log:
            environ = {**self._environment.environ, **variables}
            process = subprocess.Popen(arguments, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
            self.seconds.setdefault(name, []).append(time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait(_TIMEOUT_S)
        self.cpu_seconds.setdefault(name, []).append(_read_children_cpu() - cpu_before)


def _receiver(*arguments: str) -> list[str]:
    """Return the command line of the installed command."""
    return [str(Path(sys.executable).with_name("receiver")), *arguments]


def _is_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S):
            return True
    except OSError:  # also an HTTP status of 400 or more
        return False


def _read_children_cpu() -> float:
    """Return the CPU seconds of the children that this process has waited for, and of theirs."""
    times = os.times()
    return times.children_user + times.children_system
