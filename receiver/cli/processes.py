"""The commands of the Procfile's processes, and running one on `DATABASE_URL` or on the embedded Postgres."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from receiver.cli.process_group import ProcessGroup
from receiver.devtools.embedded import EmbeddedPostgres
from receiver.settings import Settings
from receiver.store.migrate import migrate

WORKER = ("-m", "receiver.worker")
WEB = ("-m", "gunicorn", "--config", "python:receiver.web.gunicorn_conf", "receiver.web.app:create_app()")


@contextmanager
def provide_database(settings: Settings) -> Iterator[str]:
    """Yield a DSN: `DATABASE_URL`, or the embedded Postgres, which runs until the context ends."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    with EmbeddedPostgres(settings.home) as postgres:
        yield postgres.dsn


def run_process(arguments: tuple[str, ...], settings: Settings) -> None:
    """Run one process: replace this one by it if `DATABASE_URL` is set, else run it beside the embedded Postgres."""
    if settings.database_url is not None:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  # our own interpreter and modules
    with provide_database(settings) as dsn, ProcessGroup() as processes:
        migrate(dsn)
        processes.start(arguments[1], arguments, build_environment(dsn))
        processes.watch()


def build_environment(dsn: str, **variables: str) -> Mapping[str, str]:
    """Return the environment of a child process: ours, with this database and these variables."""
    return {**os.environ, "DATABASE_URL": dsn, **variables}
