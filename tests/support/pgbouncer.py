"""PgBouncer in front of the server under test, as it is installed: with no setting but the mode of the pool."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from receiver.devtools.programs import NOBODY

PoolMode = Literal["session", "transaction"]

_START_TIMEOUT_S = 10.0
_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
_CONFIG = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
max_client_conn = 200
logfile = {log}
"""


class PgBouncer:
    """A PgBouncer that pools the connections to all databases of a server.

    Attributes:
        dsn: the DSN with the address of PgBouncer.
    """

    def __init__(self, dsn: str, mode: PoolMode, home: Path) -> None:
        with closing(psycopg.connect(dsn)) as connection:
            info = connection.info
            host, port, user = info.host, info.port, info.user
        listen_port = _find_free_port()
        self.dsn = make_conninfo(dsn, host="127.0.0.1", port=listen_port)
        self.log = home / "pgbouncer.log"
        self._address = ("127.0.0.1", listen_port)
        self._config = home / "pgbouncer.ini"
        self._config.write_text(
            _CONFIG.format(host=host, port=port, user=user, listen_port=listen_port, mode=mode, log=self.log)
        )
        self._prefix, self._user = _choose_user(host)
        if self._user is not None:
            os.chown(home, self._user, self._user)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start PgBouncer, and return once it accepts connections."""
        program = shutil.which("pgbouncer", path=_SEARCH_PATH)
        assert program
        self._process = subprocess.Popen(
            [*self._prefix, program, "--quiet", str(self._config)],
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            cwd="/",
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(self._address, 1.0).close()
            except OSError:
                log = self.log.read_text() if self.log.exists() else ""
                assert self._process.poll() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """Stop PgBouncer at once, with all its connections."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


@contextmanager
def pgbouncer(dsn: str, mode: PoolMode) -> Iterator[PgBouncer]:
    """Run PgBouncer in front of the server of `dsn`; skip the test where PgBouncer is not installed."""
    if shutil.which("pgbouncer", path=_SEARCH_PATH) is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as home:
        bouncer = PgBouncer(dsn, mode, Path(home))
        try:
            bouncer.start()
            yield bouncer
        finally:
            bouncer.stop()


def _find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _choose_user(host: str) -> tuple[tuple[str, ...], int | None]:
    """Return a prefix of the command, or the user, with which PgBouncer starts: it refuses to run as root.

    It must be able to open the server's socket: see `receiver.devtools.programs.drop_privileges`.
    """
    if os.geteuid():
        return (), None
    owner = Path(host).stat().st_uid if host.startswith("/") else NOBODY
    if owner:
        return (), owner
    return ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"), None
