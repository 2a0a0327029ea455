"""What both benchmarks stand on: a durable Postgres, migrated, and processes that end with the benchmark."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from receiver.cli.process_group import ProcessGroup
from receiver.domain.errors import ReceiverError
from receiver.store.database import connect
from receiver.store.embedded import EmbeddedPostgres
from receiver.store.migrate import migrate
from tests.benchmarks.cpu import children_of

PROVIDER = "sandbox"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_CONFIG = """\
[providers.{name}]
kind = "sandbox"
base_url = "{base_url}"
auth = {{ scheme = "bearer", secret = "benchmark" }}
signature = {{ scheme = "standard-webhooks", secrets = ["{secret}"] }}
max_concurrency = {concurrency}
poll = {{ first_after = 86400 }}
"""
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class BenchmarkFailed(ReceiverError):
    """What was measured is not what was promised; its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything is; `environ` is for our processes."""

    home: Path
    dsn: str
    postmaster: int
    fleet: ProcessGroup
    environ: Mapping[str, str]

    def start(self, name: str, arguments: Sequence[str], *, pass_fds: Sequence[int] = (), **more: str) -> int:
        """Start `python ARGUMENTS` with `more` in its environment; gives its pid."""
        before = children_of(os.getpid())
        log = self.home / f"{name}.log"
        self.fleet.start(name, arguments, {**self.environ, **more}, log=log, pass_fds=pass_fds)
        (pid,) = children_of(os.getpid()) - before
        return pid


@contextmanager
def set_stage(*, base_url: str = "http://127.0.0.1:9", concurrency: int = 16) -> Iterator[Stage]:
    """Start Postgres in a temporary home and configure the sandbox provider; leaves nothing behind."""
    home = Path(tempfile.mkdtemp(prefix="receiver-benchmark-"))
    try:
        with EmbeddedPostgres(home) as postgres, ProcessGroup() as fleet:
            migrate(postgres.dsn)
            config = home / "receiver.toml"
            config.write_text(_CONFIG.format(name=PROVIDER, base_url=base_url, secret=SECRET, concurrency=concurrency))
            postmaster = int((home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
            yield Stage(home, postgres.dsn, postmaster, fleet, _environ(postgres.dsn, config))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def query(dsn: str, statement: bytes) -> tuple[Any, ...]:
    """Give the first row that a statement finds."""
    with closing(connect(dsn)) as connection:
        row = connection.execute(statement).fetchone()
    return row or ()


def machine(dsn: str) -> dict[str, Any]:
    """Give the facts the figures depend on.

    Raises:
        BenchmarkFailed: Postgres would forget what it has committed.
    """
    durability = {name: query(dsn, b"SHOW " + name.encode())[0] for name in _DURABLE}
    if durability != _DURABLE:
        raise BenchmarkFailed(f"Postgres is not durable: {durability}")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "postgres": query(dsn, b"SHOW server_version")[0],
        **durability,
        **{package: version(package) for package in ("gunicorn", "gevent", "flask", "geventhttpclient", "psycopg")},
    }


def _environ(dsn: str, config: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RECEIVER_", "GUNICORN_"))}
    return {
        **inherited,
        "DATABASE_URL": dsn,
        "RECEIVER_CONFIG": str(config),
        "RECEIVER_PUBLIC_URL": "http://127.0.0.1:8000",
        "LOG_LEVEL": "WARNING",
        "LOG_FORMAT": "json",
    }
