"""Apply migrations; safe to run from many processes at once."""

from contextlib import closing
from importlib.resources import as_file, files

import psycopg
from psycopg import sql
from psycopg.errors import UndefinedColumn
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri
from yoyo.migrations import MigrationList

from receiver.domain.errors import ReceiverError
from receiver.store.connections import Connection, connect, translate_errors

_MIGRATION_LOCK_ID = 7_305_042_311
_MIGRATION_TABLE = "schema_migrations"
_BASELINE = "0001_baseline"


class IncompatibleSchema(ReceiverError):
    """The database has tables of another application, or of an unreleased version, which has no upgrade path."""


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo over a libpq DSN, which may name several hosts or a socket and which yoyo's own parser does not read."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        super().__init__(parse_uri("postgresql+psycopg:///"), _MIGRATION_TABLE)

    def connect(self, dburi: object) -> psycopg.Connection:
        return psycopg.connect(self._dsn, autocommit=True)

    def copy(self) -> "_Backend":
        return _Backend(self._dsn)


def migrate(dsn: str) -> list[str]:
    """Apply the missing migrations and return their names.

    A session-level advisory lock makes concurrent callers wait. A row in yoyo's lock table that is found while holding
    the advisory lock was left by a process that died, and is deleted.

    Raises:
        IncompatibleSchema: the database was created before the baseline migration, or its migration table belongs to
            another application; nothing was changed.
        StoreUnavailable: Postgres does not answer.
    """
    with (
        translate_errors(),
        closing(connect(dsn)) as connection,
        as_file(files("receiver.store") / "migrations") as directory,
    ):
        connection.execute("SELECT pg_advisory_lock(%s)", [_MIGRATION_LOCK_ID])
        migrations = read_migrations(str(directory))
        _check_compatibility(connection, migrations)
        with _Backend(dsn) as backend:
            backend.init_database()
            backend.break_lock()
            missing = backend.to_apply(migrations)
            backend.apply_migrations(missing)
            return [migration.id for migration in missing]


def _check_compatibility(connection: Connection, migrations: MigrationList) -> None:
    """Raise `IncompatibleSchema` if the database was created by migrations from before the baseline.

    Unknown migrations on top of the baseline are those of a later release, and are accepted: a release that is rolled
    back runs `migrate` too.
    """
    applied = _find_applied_migrations(connection)
    unknown = sorted(applied - {migration.id for migration in migrations})
    if unknown and _BASELINE not in applied:
        raise IncompatibleSchema(
            f"The database was created by an unreleased version of callback-receiver (migration {unknown[0]}), whose "
            f"schema cannot be upgraded. Create a new database and set DATABASE_URL to it; if you use the embedded "
            f"Postgres, remove the directory RECEIVER_HOME (default: .receiver)."
        )


def _find_applied_migrations(connection: Connection) -> set[str]:
    """Return the names of the migrations that yoyo recorded in its table or in its log.

    Raises:
        IncompatibleSchema: the tables are not yoyo's.
    """
    names: set[str] = set()
    for table in (_MIGRATION_TABLE, _Backend.log_table):
        row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
        if row == (True,):
            query = sql.SQL("SELECT migration_id FROM {}").format(sql.Identifier(table))
            try:
                names |= {name for (name,) in connection.execute(query)}
            except UndefinedColumn:
                raise IncompatibleSchema(
                    f"The table {table} in this database belongs to another application. Create a database for "
                    f"callback-receiver alone, and set DATABASE_URL to it."
                ) from None
    return names
