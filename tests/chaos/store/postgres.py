"""Postgres servers of a trial: copies of one migrated data directory, which are killed, frozen and promoted."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg

from receiver.devtools.programs import Programs, drop_privileges, find_wheel_programs
from receiver.store.migrate import migrate
from tests.benchmarks.cpu import find_children
from tests.support.ports import find_free_port
from tests.support.processes import wait_for

DATABASE = "receiver"
"""The database of the service, and its role."""
OTHER_ROLE = "other"
"""The role of somebody else who connects to the same server."""
_PREPARE_TIMEOUT_S = 60.0
_STATEMENT_TIMEOUT_MS = 5_000
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",  # killed with SIGKILL, a server leaves nothing in /dev/shm
    "fsync": "off",  # processes are killed, the machine is not
    "hot_standby": "on",
}


@dataclass(frozen=True, slots=True)
class Template:
    """A stopped, migrated server to copy, and the programs that run copies of it."""

    programs: Programs
    data: Path

    def copy(self, target: Path) -> None:
        """Copy the data directory; the copy belongs to the user who runs Postgres."""
        assert self.programs.succeeds("/bin/cp", "-r", str(self.data), str(target))


@contextmanager
def prepare_template(home: Path) -> Iterator[Template]:
    """Yield a template in an empty directory.

    The service's role is not a superuser, so that the connections which Postgres reserves are left to the trial.
    """
    with ExitStack() as stack:
        log, lock = (stack.enter_context((home / name).open("ab")) for name in ("postgres.log", "postgres.lock"))
        programs = Programs(_find_programs(), home, log, lock, time.monotonic() + _PREPARE_TIMEOUT_S)
        if os.geteuid() == 0:
            programs = drop_privileges(programs, home)
        data = home / "template"
        options = ("-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--wal-segsize=1", "--no-instructions")
        assert programs.succeeds("initdb", "-D", str(data), *options), (home / "postgres.log").read_text()
        server = PostgresServer(replace(programs, deadline=float("inf")), data)
        with server.running():
            with closing(server.connect("postgres")) as connection:
                for statement in (
                    f"CREATE ROLE {DATABASE} LOGIN",
                    f"CREATE ROLE {OTHER_ROLE} LOGIN",
                    f"CREATE DATABASE {DATABASE} OWNER {DATABASE}",
                ):
                    connection.execute(statement.encode())
            migrate(server.dsn)
        yield Template(server.programs, data)


def _find_programs() -> Path:
    """Return the directory of Debian's programs, which are older, or of the embedded ones."""
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None) or find_wheel_programs()


@dataclass
class PostgresServer:
    """A server on a port of 127.0.0.1, which stays the same when the server is started again."""

    programs: Programs
    data: Path
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    port: int = field(default_factory=find_free_port)
    _postmaster: "subprocess.Popen[bytes] | None" = None

    @property
    def dsn(self) -> str:
        """The DSN of the service's database and role."""
        return self.build_dsn(DATABASE)

    def build_dsn(self, role: str) -> str:
        """Return the DSN of the service's database for a role."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{DATABASE}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server; stop it at the end of the context, in whatever state it is."""
        try:
            self.start()
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        options = [f"--{name}={value}" for name, value in {**_SETTINGS, **self.settings, "port": self.port}.items()]
        self._postmaster = self.programs.spawn("postgres", "-D", str(self.data), *options)
        wait_for(lambda: self.has_exited or self.is_available)
        assert not self.has_exited, "Postgres did not start"

    @property
    def is_available(self) -> bool:
        """Whether the server accepts connections."""
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def has_exited(self) -> bool:
        """Whether the server has ended by itself."""
        return self._postmaster is not None and self._postmaster.poll() is not None

    def connect(self, database: str = DATABASE) -> psycopg.Connection[Any]:
        """Connect as the superuser, in autocommit mode, whatever the server's defaults are during a fault."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            dbname=database,
            autocommit=True,
            connect_timeout=5,
            options=f"-c default_transaction_read_only=off -c statement_timeout={_STATEMENT_TIMEOUT_MS}",
        )

    def execute(self, *statements: str) -> None:
        """Execute statements, each in a transaction of its own."""
        with closing(self.connect()) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        with closing(self.connect()) as connection:
            return connection.execute(statement.encode()).fetchall()

    def find_backends(self) -> list[int]:
        """Return the process ids of the service's connections."""
        return [pid for (pid,) in self.query(f"SELECT pid FROM pg_stat_activity WHERE usename = '{DATABASE}'")]

    def kill(self) -> None:
        """Kill all processes of the server at once."""
        self._signal_all(signal.SIGKILL)
        assert self._postmaster is not None
        self._postmaster.wait()

    def freeze(self) -> None:
        """Stop all processes of the server, as when its machine hangs; the kernel keeps its connections open."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue all processes of the server."""
        self._signal_all(signal.SIGCONT)

    def stop(self) -> None:
        """Stop the server at once, and release the shared memory that a killed server leaves."""
        if self._postmaster is None:
            return
        self.thaw()
        self._postmaster.send_signal(signal.SIGQUIT)
        try:
            self._postmaster.wait(10.0)
        except subprocess.TimeoutExpired:
            self.kill()
        self._postmaster = None
        with suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            subprocess.run(["ipcrm", "-m", lines[6].split()[1]], check=False, stderr=subprocess.DEVNULL)

    def _signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the postmaster, which then forks no more, and to its children."""
        assert self._postmaster is not None
        children = find_children(self._postmaster.pid)
        self._postmaster.send_signal(number)
        for pid in children | find_children(self._postmaster.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
