"""The service of a run: `receiver web` with two gunicorn workers and `receiver worker`, started by their commands."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.benchmarks.cpu import find_children
from tests.chaos.store.ledger import REUSE_AFTER_S
from tests.support.http import Server
from tests.support.processes import RECEIVER, Process, build_environ, build_provider_toml, running, wait_for

STOP_TIMEOUT_S = 12.0
_COMMAND_TIMEOUT_S = 30.0
_WEB_WORKERS = 2
_LOG_TAIL_CHARACTERS = 400
_SETTINGS = f"""
reference_reuse_after = {REUSE_AFTER_S}
on_ambiguous = "hold"
max_concurrency = 16
timeout = 4
connect_timeout = 1
retry = {{ attempts = 100, base = 0.05, max = 0.5 }}
poll = {{ first_after = 3600 }}
"""


@dataclass
class Service:
    """The processes of the service."""

    directory: Path
    environ: Mapping[str, str]
    server: Server
    _stack: ExitStack = field(default_factory=ExitStack)
    _processes: dict[str, Process] = field(default_factory=dict)
    _web_workers: frozenset[int] = frozenset()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the processes and wait until they are ready; kill them at the end of the context."""
        with self._stack:
            self.start("web")
            self.start("worker")
            self.wait_until_ready()
            self._web_workers = self.find_web_workers()
            yield

    def start(self, name: str) -> None:
        """Start a process by its command."""
        log = self.directory / f"{name}-{time.monotonic_ns()}.log"
        self._processes[name] = self._stack.enter_context(running([RECEIVER, name], log, self.environ))

    def wait_until_ready(self) -> None:
        """Wait until both processes run."""
        web, worker = self._processes["web"], self._processes["worker"]
        web.wait_until(lambda: len(self.find_web_workers()) == _WEB_WORKERS and self._is_healthy())
        worker.wait_until(lambda: "worker.started" in worker.output)

    def restart_killed(self, name: str) -> None:
        """Kill a process, but not its children, and start it again at once, as a supervisor does."""
        self._processes[name].popen.kill()
        self._processes[name].popen.wait()
        if name == "web":
            self._web_workers = frozenset()  # they end because their master is gone
        self.start(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process."""
        self._processes[name].popen.send_signal(number)

    def kill_web_worker(self, random: Random) -> None:
        """Kill one of gunicorn's workers, which gunicorn replaces."""
        pid = random.choice(sorted(wait_for(self.find_web_workers)))
        self._web_workers -= {pid}
        os.kill(pid, signal.SIGKILL)

    def find_web_workers(self) -> frozenset[int]:
        """Return the pids of gunicorn's workers."""
        return find_children(self._processes["web"].popen.pid)

    def find_ended(self) -> Iterator[str]:
        """Yield each process that ended although no fault killed it."""
        for name, process in self._processes.items():
            if process.popen.poll() is not None:
                yield f"{name} ended with {process.popen.returncode}: {process.output[-_LOG_TAIL_CHARACTERS:]}"
        if lost := self._web_workers - self.find_web_workers():
            yield f"gunicorn replaced {len(lost)} of its workers"

    def stop(self, *names: str) -> Iterator[str]:
        """Stop processes with SIGTERM, and yield each that does not end well in time."""
        processes = {name: self._processes[name] for name in names}
        for process in processes.values():
            process.popen.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for name, process in processes.items():
            try:
                code = process.popen.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                process.kill()
                yield f"{name} did not end within {STOP_TIMEOUT_S:g} s of SIGTERM"
            else:
                if code != 0:
                    yield f"{name} ended with {code} on SIGTERM: {process.output[-_LOG_TAIL_CHARACTERS:]}"

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `receiver` to its end, with more environment variables."""
        return subprocess.run(
            [RECEIVER, *arguments],
            env={**os.environ, **self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )

    def _is_healthy(self) -> bool:
        try:
            return self.server.call("GET", "/healthz").status == 200
        except OSError:
            return False


def build_service(directory: Path, dsn: str, provider_url: str, port: int) -> Service:
    """Return the service on a store and a port of 127.0.0.1; nothing is started yet."""
    config = build_provider_toml(base_url=provider_url, more=_SETTINGS)
    environ = {
        **build_environ(directory, dsn, config, "receiver"),
        "PORT": str(port),
        "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}",
        "WEB_CONCURRENCY": str(_WEB_WORKERS),
    }
    return Service(directory, environ, Server("127.0.0.1", port))
