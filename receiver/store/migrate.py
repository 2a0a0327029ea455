"""Brings the database to the newest schema; safe to run from many processes at once."""

from contextlib import closing
from importlib.resources import as_file, files

import psycopg
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri

from receiver.store.database import connect, translate_errors

_MIGRATION_LOCK = 7_305_042_311


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo over a libpq DSN, which may name several hosts or a socket and which yoyo's own parser does not read."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        super().__init__(parse_uri("postgresql+psycopg:///"), "schema_migrations")

    def connect(self, dburi: object) -> psycopg.Connection:
        return psycopg.connect(self._dsn, autocommit=True)

    def copy(self) -> "_Backend":
        return _Backend(self._dsn)


def migrate(dsn: str) -> list[str]:
    """Apply the migrations that are missing and give their names.

    A session lock makes others wait; under it any lock row of yoyo's was left by a process that died, and is cleared.

    Raises:
        StoreUnavailable: Postgres does not answer.
    """
    with (
        translate_errors(),
        closing(connect(dsn)) as auth,
        as_file(files("receiver.store") / "migrations") as directory,
    ):
        auth.execute("SELECT pg_advisory_lock(%s)", [_MIGRATION_LOCK])
        with _Backend(dsn) as backend:
            backend.init_database()
            backend.break_lock()
            missing = backend.to_apply(read_migrations(str(directory)))
            backend.apply_migrations(missing)
            return [migration.id for migration in missing]
