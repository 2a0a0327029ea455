"""The environment of a benchmark: a durable, migrated Postgres, and processes that stop with the benchmark."""

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
from receiver.devtools.embedded import EmbeddedPostgres
from receiver.domain.errors import ReceiverError
from receiver.store.connections import connect
from receiver.store.migrate import migrate
from tests.benchmarks.cpu import find_children

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
_DURABLE_SETTINGS = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_MEMORY_MB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
_POSTGRES_SETTINGS = {
    "shared_buffers": f"{_MEMORY_MB // 4096}GB" if _MEMORY_MB >= 4096 else f"{_MEMORY_MB // 4}MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
}
"""The usual settings of a server: a quarter of the memory, see `docs/performance.md`."""
_PACKAGES = ("gunicorn", "gevent", "flask", "geventhttpclient", "psycopg")


class BenchmarkFailed(ReceiverError):
    """The measured work was not done correctly, so its figures are void."""


@dataclass(frozen=True, slots=True)
class BenchmarkEnvironment:
    """A temporary directory, a database, the pid of its server, and a group of processes with their environment."""

    home: Path
    dsn: str
    postmaster: int
    processes: ProcessGroup
    environ: Mapping[str, str]

    def start(self, name: str, arguments: Sequence[str], *, pass_fds: Sequence[int] = (), **environ: str) -> int:
        """Start `python ARGUMENTS` with more environment variables and return its pid."""
        before = find_children(os.getpid())
        log = self.home / f"{name}.log"
        self.processes.start(name, arguments, {**self.environ, **environ}, log=log, pass_fds=pass_fds)
        (pid,) = find_children(os.getpid()) - before
        return pid


@contextmanager
def start_environment(
    *, base_url: str = "http://127.0.0.1:9", concurrency: int = 16, more_config: str = ""
) -> Iterator[BenchmarkEnvironment]:
    """Start Postgres in a temporary directory and configure providers; remove everything at the end.

    Args:
        base_url: the API of the sandbox provider.
        concurrency: how many requests the sandbox provider takes at once.
        more_config: tables of other providers, in the format of receiver.toml.
    """
    home = Path(tempfile.mkdtemp(prefix="receiver-benchmark-"))
    try:
        with EmbeddedPostgres(home, _POSTGRES_SETTINGS) as postgres, ProcessGroup() as processes:
            migrate(postgres.dsn)
            config = home / "receiver.toml"
            sandbox = _CONFIG.format(name=PROVIDER, base_url=base_url, secret=SECRET, concurrency=concurrency)
            config.write_text(sandbox + more_config)
            postmaster = int((home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
            environ = _build_environ(postgres.dsn, config)
            yield BenchmarkEnvironment(home, postgres.dsn, postmaster, processes, environ)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def query(dsn: str, statement: bytes) -> tuple[Any, ...]:
    """Return the first row of a statement's result, empty if there is none."""
    with closing(connect(dsn)) as connection:
        row = connection.execute(statement).fetchone()
    return row or ()


def describe_machine(dsn: str) -> dict[str, Any]:
    """Return the properties of the machine and its software that the figures depend on.

    Raises:
        BenchmarkFailed: Postgres is not durable.
    """
    names = [*_DURABLE_SETTINGS, *_POSTGRES_SETTINGS]
    settings = {name: query(dsn, b"SHOW " + name.encode())[0] for name in names}
    if not _DURABLE_SETTINGS.items() <= settings.items():
        raise BenchmarkFailed(f"Postgres is not durable: {settings}")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "postgres": query(dsn, b"SHOW server_version")[0],
        **settings,
        **{package: version(package) for package in _PACKAGES},
    }


def _build_environ(dsn: str, config: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RECEIVER_", "GUNICORN_"))}
    return {
        **inherited,
        "DATABASE_URL": dsn,
        "RECEIVER_CONFIG": str(config),
        "RECEIVER_PUBLIC_URL": "http://127.0.0.1:8000",
        "RECEIVER_SECRET_KEY": "a-secret-key-of-benchmarks",
        "LOG_LEVEL": "INFO",
        "LOG_FORMAT": "json",
    }
