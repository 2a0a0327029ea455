"""The stores of a run: Postgres as the service reaches it, directly or through something that fails by itself.

A store that this machine cannot run skips the run, as it would skip a test.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.store.postgres import DATABASE, PostgresServer, Template
from tests.support.pgbouncer import PgBouncer, pgbouncer
from tests.support.proxy import Proxy

SMALL_DISK_BYTES = 96 << 20


@dataclass
class Store:
    """A Postgres, and what stands between it and the service.

    Args:
        server: the server that the service writes to now.
        dsn: the DSN of the service.
        proxy: the proxy in front of the server.
        bouncer: the PgBouncer in front of the server.
        standby: the synchronous standby of the server.
        disk: the small disk with the data directory.
    """

    server: PostgresServer
    dsn: str
    proxy: Proxy | None = None
    bouncer: PgBouncer | None = None
    standby: PostgresServer | None = None
    disk: Path | None = None


OpenStore = Callable[[Template, Path], AbstractContextManager[Store]]
"""Starts a store in an empty directory, and stops it at the end of the context."""


@contextmanager
def open_direct(template: Template, directory: Path) -> Iterator[Store]:
    """A server, and nothing in front of it."""
    with _running_copy(template, directory / "postgres") as server:
        yield Store(server, server.dsn)


@contextmanager
def open_behind_proxy(template: Template, directory: Path) -> Iterator[Store]:
    """A server behind a TCP proxy."""
    with _running_copy(template, directory / "postgres") as server, Proxy(server.dsn) as proxy:
        yield Store(server, proxy.dsn, proxy=proxy)


@contextmanager
def open_behind_pgbouncer(template: Template, directory: Path) -> Iterator[Store]:
    """A server behind PgBouncer in transaction mode."""
    with _running_copy(template, directory / "postgres") as server, pgbouncer(server.dsn, "transaction") as bouncer:
        yield Store(server, bouncer.dsn, bouncer=bouncer)


@contextmanager
def open_with_standby(template: Template, directory: Path) -> Iterator[Store]:
    """A primary with a synchronous standby, and a DSN that names both."""
    template.copy(directory / "standby")
    (directory / "standby" / "standby.signal").touch()
    with _running_copy(template, directory / "postgres", synchronous_standby_names="*") as primary:
        settings = {"primary_conninfo": f"host=127.0.0.1 port={primary.port} user=postgres"}
        standby = PostgresServer(template.programs, directory / "standby", settings)
        with standby.running():
            hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
            dsn = f"postgresql://{DATABASE}@{hosts}/{DATABASE}?target_session_attrs=read-write"
            yield Store(primary, dsn, standby=standby)


@contextmanager
def open_on_small_disk(template: Template, directory: Path) -> Iterator[Store]:
    """A server whose data directory is on a small disk of its own."""
    disk = directory / "disk"
    disk.mkdir()
    options = f"size={SMALL_DISK_BYTES},mode=0777"
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"a disk cannot be mounted: {mount.stderr.splitlines()[0]}")
    try:
        with _running_copy(template, disk / "postgres") as server:
            yield Store(server, server.dsn, disk=disk)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextmanager
def _running_copy(template: Template, data: Path, **settings: str) -> Iterator[PostgresServer]:
    template.copy(data)
    server = PostgresServer(template.programs, data, settings)
    with server.running():
        yield server
