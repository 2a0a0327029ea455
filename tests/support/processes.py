"""The project's processes for tests: started like in production, and killed at the end of each context."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from receiver.cli.processes import WEB, WORKER
from receiver.schemas.settings import EnvironmentSchema
from receiver.store.connections import Connection, connect
from tests.support.factories import SECRET
from tests.support.http import Server

ADMIN_KEY = "an-admin-key-for-tests"
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 45.0
RECEIVER = str(Path(sys.executable).with_name("receiver"))
"""The console script, which is run by the current interpreter."""

T = TypeVar("T")

PROVIDER = f"""
[providers.{{name}}]
kind = "sandbox"
base_url = "{{base_url}}"
auth = {{{{ scheme = "bearer", secret = "key" }}}}
signature = {{{{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}}}
{{more}}
"""


def build_provider_toml(name: str = "sandbox", base_url: str = "http://127.0.0.1:9", more: str = "") -> str:
    """Return the table of a sandbox provider for `receiver.toml`; `more` is TOML that is appended."""
    return PROVIDER.format(name=name, base_url=base_url, more=more)


def wait_for(probe: Callable[[], T | None], timeout_s: float = READY_TIMEOUT_S) -> T:
    """Call `probe` until it returns something true, for at most `timeout_s` seconds, and return that."""
    deadline = time.monotonic() + timeout_s
    while not (result := probe()):
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)
    return result


@dataclass(frozen=True)
class Process:
    """A process in its own session. Its stderr is written to `log`, and its stdout to a file beside it."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def stdout(self) -> str:
        return self.log.with_suffix(".out").read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the process to end, and return its exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Kill the process with all its children, and wait until they are gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        wait_for(lambda: not _has_processes(self.popen.pid))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; the process must keep running."""
        wait_for(lambda: self.popen.poll() is not None or condition())
        assert self.popen.poll() is None, self.output


@dataclass(frozen=True)
class Web(Process, Server):
    """A web process, and an HTTP client for it."""


@contextmanager
def running(
    arguments: Sequence[str],
    log: Path,
    environ: Mapping[str, str],
    *,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[Process]:
    """Run the current interpreter with these arguments; kill it with its children at the end of the context.

    The process inherits our environment, without the variables that configure a receiver.
    """
    with log.open("ab") as errors, log.with_suffix(".out").open("ab") as output:
        popen = subprocess.Popen(
            [sys.executable, *arguments],
            env={**_clean_environ(), **environ},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    process = Process(popen, log)
    try:
        yield process
    finally:
        process.kill()


@contextmanager
def running_web(
    directory: Path, dsn: str, config: str, listener: socket.socket, skew: float = 0.0, /, **environ: str
) -> Iterator[Web]:
    """Run the web process on a listening socket; wait until it is healthy. Its clock is ahead by `skew` seconds."""
    variables = build_environ(directory, dsn, config, "web") | environ
    arguments = [*_add_clock_skew(WEB, skew), "--bind", f"fd://{listener.fileno()}"]
    host, port = listener.getsockname()
    with running(arguments, directory / "web.log", variables, pass_fds=[listener.fileno()]) as process:
        web = Web(host, port, process.popen, process.log)
        web.wait_until(lambda: is_healthy(web))
        yield web


@contextmanager
def running_worker(
    directory: Path,
    dsn: str,
    config: str,
    name: str = "worker",
    *,
    skew: float = 0.0,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Process]:
    """Run a worker; wait until it has started. Its clock is ahead by `skew` seconds."""
    variables = {**build_environ(directory, dsn, config, name), **environ}
    with running(_add_clock_skew(WORKER, skew), directory / f"{name}.log", variables) as process:
        process.wait_until(lambda: "worker.started" in process.output)
        yield process


def _add_clock_skew(arguments: Sequence[str], skew: float) -> Sequence[str]:
    return ["-m", "tests.support.skewed", str(skew), *arguments[1:]] if skew else arguments


def assert_ends_well(process: Process) -> None:
    """Stop a process with SIGTERM, and check that it exits with 0 and logged no traceback."""
    assert process.stop() == 0, process.output
    assert "Traceback" not in process.output, process.output


def find_processes(directory: Path) -> dict[int, str]:
    """Return the processes whose directory, arguments or environment name a directory, by pid; needs /proc."""
    commands = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command, environ = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            cwd = os.fsencode((process / "cwd").readlink())
            if os.fsencode(directory) in command + environ + cwd and int(process.name) != os.getpid():
                commands[int(process.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return commands


def kill_processes(directory: Path) -> None:
    """Kill the processes that `find_processes` finds, for programs that run children in separate sessions."""
    for pid in find_processes(directory):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not find_processes(directory))


def _clean_environ() -> dict[str, str]:
    names = {field.data_key for field in EnvironmentSchema().fields.values()}
    return {name: value for name, value in os.environ.items() if name not in names}


def build_environ(directory: Path, dsn: str, config: str, name: str) -> dict[str, str]:
    """Write `NAME.toml` and return the environment of a process that reads it."""
    path = directory / f"{name}.toml"
    path.write_text(config)
    return {
        "DATABASE_URL": dsn,
        "RECEIVER_CONFIG": str(path),
        "RECEIVER_ADMIN_KEY": ADMIN_KEY,
        "RECEIVER_SECRET_KEY": "a-secret-key-of-tests",
        "RECEIVER_PUBLIC_URL": "https://receiver.example",
        "WEB_CONCURRENCY": "1",
        "LOG_LEVEL": "INFO",
    }


def is_healthy(server: Server) -> bool:
    """Return whether a server answers and is alive."""
    try:
        return server.call("GET", "/healthz").status == 200
    except OSError:
        return False


def _has_processes(group: int) -> bool:
    """Return whether a process group still has a running process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def find_lock_waiters(connection: Connection) -> list[int]:
    """Return the process ids of the connections to this database that wait for a lock."""
    rows = connection.execute(
        """SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE NOT granted AND datname = current_database()"""
    )
    return [pid for (pid,) in rows]


@contextmanager
def block_database(server: str, dsn: str) -> Iterator[None]:
    """Close all connections to a database, and refuse new ones until the context ends."""
    name = conninfo_to_dict(dsn)["dbname"]
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with closing(connect(server)) as connection:
        connection.execute(allow.format(sql.Identifier(str(name)), sql.Literal(False)))
        try:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            connection.execute(allow.format(sql.Identifier(str(name)), sql.Literal(True)))
