"""An embedded Postgres for development, the demo and tests; never for production.

Any number of processes may share the server of one home directory: the first process starts it, later processes attach
to it, and the last process to leave stops it. The programs come from `programs`, tables from `receiver.store.migrate`.

Three lock files in the home coordinate this. The kernel releases a lock when its last holder dies, however it dies:

- `postgres.start.lock`: exclusive, held while a process starts or stops the server.
- `postgres.users.lock`: shared, one per started `EmbeddedPostgres`. A process that can take it exclusively is the last.
- `postgres.server.lock`: exclusive, inherited on purpose by every Postgres process of this home. It is free exactly
  when none of these processes is left, so that no pid file has to be trusted.
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

from receiver.devtools.programs import (
    NOBODY,
    EmbeddedPostgresError,
    Programs,
    drop_privileges,
    find_wheel_programs,
)

_START_TIMEOUT_S = 30.0
_FAST_SHUTDOWN_TIMEOUT_S = 20.0
_SHUTDOWN_TIMEOUT_S = 30.0
_POLL_INTERVAL_S = 0.02

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

_PORT = 5432
_SOCKET = f".s.PGSQL.{_PORT}"
_MAX_SOCKET_PATH_BYTES = 103  # the limit of macOS; the limit of Linux is 107


_children: dict[Path, int] = {}
"""Home → pid of the server that this process started, to collect its exit status once it has exited."""


class EmbeddedPostgres:
    """One use of the server in the directory `home`, which is created with mode 0700 if missing; a context manager.

    `settings` are Postgres configuration parameters, applied if this object starts the server. `dsn` is the libpq URI
    of the database `receiver`.
    """

    def __init__(self, home: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._home = home.resolve()
        self._settings = settings
        self._data = self._home / "postgres"
        self._log = self._home / "postgres.log"
        self._socket_directory = _choose_socket_directory(self._home)
        self._user_lock: BinaryIO | None = None
        self.dsn = self._build_dsn("receiver")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server or attach to the running server; return `dsn` once the database accepts connections.

        Raises:
            EmbeddedPostgresError: the server did not start within about 30 seconds. What was started is stopped.
        """
        if self._user_lock is None:
            try:
                _make_private_directory(self._home)
                self._attach(time.monotonic() + _START_TIMEOUT_S)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise EmbeddedPostgresError(
                    f"Embedded Postgres cannot start in {self._home}: {error}. "
                    f"Set RECEIVER_HOME to another directory, or DATABASE_URL to another Postgres server."
                ) from error
        return self.dsn

    def stop(self) -> None:
        """Leave the server. The last user stops it and waits until none of its processes is left. Safe to repeat.

        Raises:
            EmbeddedPostgresError: the server does not stop.
        """
        if self._user_lock is not None:
            with self._lock_start(time.monotonic() + _START_TIMEOUT_S + _SHUTDOWN_TIMEOUT_S):
                self._leave()

    @contextmanager
    def _lock_start(self, deadline: float) -> Iterator[None]:
        """Hold the start lock within the context; wait for it until `deadline`, a monotonic time."""
        while (lock := self._try_lock("start")) is None:
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"Another process is still starting or stopping the Postgres in {self._home}. Try again later."
                )
            time.sleep(_POLL_INTERVAL_S)
        with lock:
            yield

    def _attach(self, deadline: float) -> None:
        with self._lock_start(deadline):
            _make_private_directory(self._socket_directory)
            self._user_lock = self._try_lock("users", fcntl.LOCK_SH)
            try:
                self._ensure_running(deadline)
            except BaseException:
                self._leave()
                raise

    def _leave(self) -> None:
        if self._user_lock is not None:
            with self._user_lock as lock:
                fcntl.flock(lock, fcntl.LOCK_UN)  # closing alone would leave the lock to a forked child
            self._user_lock = None
        if (exclusive_lock := self._try_lock("users")) is not None:
            with exclusive_lock:
                self._shut_down()

    def _ensure_running(self, deadline: float) -> None:
        """Launch the server unless it is running, and wait until the database accepts connections."""
        launched = False
        while True:
            if (server_lock := self._try_lock("server")) is not None:
                with server_lock:
                    if launched:
                        raise self._build_start_error("the server exited immediately")
                    self._launch(server_lock, deadline)
                launched = True
            if (error := self._try_connect()) is None:
                return
            if time.monotonic() > deadline:
                raise self._build_start_error(f"no connection within {_START_TIMEOUT_S:.0f} s: {error}")
            time.sleep(_POLL_INTERVAL_S)

    def _launch(self, server_lock: BinaryIO, deadline: float) -> None:
        self._remove_leftovers()
        with self._log.open("wb") as log:
            programs = Programs(find_wheel_programs(), self._home, log, server_lock, deadline)
            if os.geteuid() == 0:
                programs = drop_privileges(programs, self._socket_directory)
            if not self._data.exists():
                self._initialize(programs)
            server = programs.spawn("postgres", "-D", str(self._data), *self._build_server_options())
        _children[self._home] = server.pid
        server.returncode = 0  # keeps Popen from warning: the server may outlive this object

    def _remove_leftovers(self) -> None:
        """Remove the pid files of a killed server, whose pids may belong to other processes now, and rename its log."""
        pid = self._read_postmaster_pid()
        if pid is not None and _has_working_directory(pid, self._data):
            raise EmbeddedPostgresError(
                f"Process {pid}, which was not started by receiver, is using {self._data}. Stop it first."
            )
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self._remove_socket()
        with suppress(FileNotFoundError):
            self._log.replace(self._home / "postgres.log.old")

    def _initialize(self, programs: Programs) -> None:
        """Create the data directory. It is renamed only when complete, so that a killed initdb is simply repeated."""
        unfinished = self._home / "postgres.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        access = ("-U", "postgres", "--auth-local=trust", "--auth-host=reject", "--no-instructions")
        locale = ("-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        if not programs.succeeds("initdb", "-D", str(unfinished), *access, *locale):
            raise self._build_start_error("initdb failed")
        unfinished.rename(self._data)

    def _build_server_options(self) -> list[str]:
        settings = {
            **self._settings,
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": str(self._socket_directory),
            "unix_socket_permissions": "0700",
        }
        return [f"--{name}={value}" for name, value in settings.items()]

    def _try_connect(self) -> str | None:
        """Connect and create the database unless it exists; return None, or the error."""
        try:
            with psycopg.connect(self._build_dsn("postgres"), autocommit=True, connect_timeout=2) as connection:
                if connection.execute("select from pg_database where datname = 'receiver'").rowcount == 0:
                    connection.execute("create database receiver")
        except psycopg.Error as error:
            return str(error).strip()
        return None

    def _shut_down(self) -> None:
        """Signal the postmaster until no process of the server is left: first fast, later immediate shutdown.

        The signal is repeated, because a server that was only just launched has no pid file yet. Postgres ignores
        repeated signals.
        """
        started_at = time.monotonic()
        while (server_lock := self._try_lock("server")) is None:
            pid, elapsed = self._read_postmaster_pid(), time.monotonic() - started_at
            if elapsed > _SHUTDOWN_TIMEOUT_S:
                raise EmbeddedPostgresError(
                    f"Postgres in {self._home} does not stop. See {self._log}, and kill process {pid}."
                )
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT if elapsed < _FAST_SHUTDOWN_TIMEOUT_S else signal.SIGQUIT)
            time.sleep(_POLL_INTERVAL_S)
        with server_lock:
            self._clean_up()

    def _clean_up(self) -> None:
        self._remove_socket()
        if self._socket_directory != self._home:
            self._socket_directory.rmdir()
        if self._home in _children:
            with suppress(ChildProcessError):
                os.waitpid(_children.pop(self._home), 0)

    def _remove_socket(self) -> None:
        for name in (_SOCKET, f"{_SOCKET}.lock"):
            (self._socket_directory / name).unlink(missing_ok=True)

    def _read_postmaster_pid(self) -> int | None:
        """Return the pid in Postgres's pid file, or None if the file does not exist or is not written yet."""
        try:
            return int((self._data / "postmaster.pid").read_text().partition("\n")[0])
        except (FileNotFoundError, ValueError):
            return None

    def _build_start_error(self, reason: str) -> EmbeddedPostgresError:
        last_lines = "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])
        return EmbeddedPostgresError(
            f"Embedded Postgres did not start: {reason}.\n{last_lines}\n"
            f"The complete log is {self._log}. If {self._data} is damaged or belongs to another Postgres version, "
            f"remove it to start with an empty database (or convert it with pg_upgrade)."
        )

    def _try_lock(self, name: str, operation: int = fcntl.LOCK_EX) -> BinaryIO | None:
        """Take a lock without waiting; return the file whose closing releases it, or None if the lock is taken."""
        file = (self._home / f"postgres.{name}.lock").open("ab")
        try:
            fcntl.flock(file, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def _build_dsn(self, database: str) -> str:
        host = quote(os.fsencode(self._socket_directory), safe="")
        return f"postgresql:///{database}?host={host}&port={_PORT}&user=postgres"


def _has_working_directory(pid: int, directory: Path) -> bool:
    """Return whether the process has this working directory; False on platforms without `/proc`."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == directory
    except OSError:
        return False


def _make_private_directory(path: Path) -> None:
    """Create the directory unless it exists.

    Raises:
        PermissionError: the path is a symlink, or the directory belongs to another user.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    owners = {0, NOBODY} if os.geteuid() == 0 else {os.geteuid()}
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
        raise PermissionError(f"{path} belongs to another user")


def _choose_socket_directory(home: Path) -> Path:
    """Return the directory of the server's sockets: the home, unless its path is too long or unsuitable.

    A socket's path has a maximum length, and Postgres reads `unix_socket_directories` as a list in which commas and
    quotes have a meaning. The alternative is a short path that every process derives in the same way.
    """
    if len(os.fsencode(home / _SOCKET)) <= _MAX_SOCKET_PATH_BYTES and not set(',"') & set(str(home)):
        return home
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path("/tmp", f"receiver-{os.geteuid()}-{digest}")  # noqa: S108  # its owner is checked
