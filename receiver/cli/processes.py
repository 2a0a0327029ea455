"""The processes of the Procfile: what each is started with, alone or on an embedded Postgres that lives as long."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from receiver.cli.process_group import ProcessGroup
from receiver.settings import Settings
from receiver.store.embedded import EmbeddedPostgres
from receiver.store.migrate import migrate

WORKER = ("-m", "receiver.worker")
WEB = ("-m", "gunicorn", "--config", "python:receiver.web.gunicorn_conf", "receiver.web.app:create_app()")


@contextmanager
def provide_database(settings: Settings) -> Iterator[str]:
    """Give the DSN to use: `DATABASE_URL`, or the embedded Postgres, which stays up within the context."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    with EmbeddedPostgres(settings.home) as postgres:
        yield postgres.dsn


def run_process(arguments: tuple[str, ...], settings: Settings) -> None:
    """Run one process: become it where `DATABASE_URL` is set, else run it beside the embedded Postgres."""
    if settings.database_url is not None:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  # our own interpreter and modules
    with provide_database(settings) as dsn, ProcessGroup() as fleet:
        migrate(dsn)
        fleet.start(arguments[1], arguments, build_environment(dsn))
        fleet.watch()


def build_environment(dsn: str, **more: str) -> Mapping[str, str]:
    """Give a child's environment: ours, with this database."""
    return {**os.environ, "DATABASE_URL": dsn, **more}
