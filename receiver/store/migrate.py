"""Apply migrations; safe to run from many processes at once, and beside processes that serve.

A migration that takes locks waits for them only briefly, because whoever needs the table waits behind it, and is
repeated until it gets them. Indexes are built without locks, by migrations that are not transactional. Every migration
can be repeated after it was interrupted: a transactional one is recorded in its own transaction, and of another one the
indexes that it left invalid are dropped first.
"""

import re
import time
from collections.abc import Sequence
from importlib.resources import as_file, files

import structlog
from psycopg import DatabaseError, sql
from psycopg.errors import DeadlockDetected, InternalError_, LockNotAvailable, UndefinedColumn
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri
from yoyo.migrations import Migration, MigrationList

from receiver.domain.errors import ReceiverError
from receiver.store.connections import Connection, translate_errors
from receiver.store.errors import StoreUnavailable
from receiver.store.migration_lock import (
    MigrationWatch,
    get_migration_limits,
    hold_migration_lock,
    open_connection,
)
from receiver.store.statements import load_statement

_PATIENCE_S = 300.0
_FIRST_PAUSE_S = 1.0
_MAX_PAUSE_S = 15.0
_MIGRATION_TABLE = "schema_migrations"
_BASELINE = "0001_baseline"
_log = structlog.get_logger(__name__)


class IncompatibleSchema(ReceiverError):
    """The database has tables of another application, or of an unreleased version, which has no upgrade path."""


class MigrationBlocked(ReceiverError):
    """A migration did not get a lock for several minutes; the message names who holds the lock, and the remedy."""


class _InvalidIndex(Exception):
    """An index was not built, because another session failed to build it at the same time."""


_REPEATED_ERRORS = (
    LockNotAvailable,
    DeadlockDetected,
    InternalError_,  # "tuple concurrently updated": the build of a killed process ended while its index was dropped
    _InvalidIndex,
)


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo over a libpq DSN, which may name several hosts or a socket and which yoyo's own parser does not read."""

    def __init__(self, dsn: str, application: str = "receiver migrate") -> None:
        self._dsn = dsn
        self._application = application
        super().__init__(parse_uri("postgresql+psycopg:///"), _MIGRATION_TABLE)

    def connect(self, dburi: object) -> Connection:
        return open_connection(self._dsn, self._application)

    def create_lock_table(self) -> None:
        """Create yoyo's lock table; yoyo's own method ignores that it cannot, and something else fails later.

        Raises:
            StoreUnavailable: the role may not create tables, or the server is read-only.
        """
        try:
            with self.transaction():
                self.execute(self.format_sql(self.create_lock_table_sql))
        except DatabaseError as error:
            if self.connection.closed or self.lock_table not in self.list_tables():
                raise StoreUnavailable(f"The tables cannot be created: {str(error).splitlines()[0]}") from error

    def rollback(self) -> None:
        if not self.connection.closed:  # else the error that closed it would be hidden by a second one
            super().rollback()

    def savepoint_rollback(self, id: str) -> None:  # noqa: A002  # yoyo's name
        if not self.connection.closed:
            super().savepoint_rollback(id)

    def apply_one(self, migration: Migration, **_: object) -> None:
        """Apply a migration and record it: a transactional one in the same transaction, with a limit for locks."""
        self.ensure_internal_schema_updated()
        migration.load()
        if migration.use_transactions:
            with self.transaction():
                self.connection.execute(load_statement("set_migration_limits"), get_migration_limits())
                migration.process_steps(self, "apply")
                self._record(migration)
            return
        self._drop_invalid_indexes(migration)
        migration.process_steps(self, "apply")
        if self._find_invalid_indexes(migration):
            raise _InvalidIndex(migration.id)
        with self.transaction():
            self._record(migration)

    def _record(self, migration: Migration) -> None:
        self.log_migration(migration, "apply")
        self.mark_one(migration, log=False)

    def _drop_invalid_indexes(self, migration: Migration) -> None:
        """Drop the invalid indexes that a migration builds: an interrupted CREATE INDEX CONCURRENTLY left them."""
        for _, table in self._find_invalid_indexes(migration):
            # Wait for a build that continues in the server although the process that began it was killed.
            with self.transaction():
                self.connection.execute(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE")
        for index, _ in self._find_invalid_indexes(migration):
            self.connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")

    def _find_invalid_indexes(self, migration: Migration) -> Sequence[tuple[str, str]]:
        """Return the quoted names of those indexes that a migration names, each with the quoted name of its table."""
        names = set(re.findall(r"\w+", migration.source))
        rows = self.connection.execute(load_statement("find_invalid_indexes")).fetchall()
        return [(index, table) for name, index, table in rows if name in names]


def migrate(dsn: str) -> list[str]:
    """Apply the missing migrations and return their names.

    One process at a time migrates; others wait for it. A row in yoyo's lock table was left by a process that died, and
    is deleted.

    Raises:
        IncompatibleSchema: the database was created before the baseline migration, or its migration table belongs to
            another application; nothing was changed.
        MigrationBlocked: a migration did not get a lock within `_PATIENCE_S` seconds.
        StoreUnavailable: Postgres does not answer, or no longer does.
    """
    with (
        translate_errors(),
        as_file(files("receiver.store") / "migrations") as directory,
        hold_migration_lock(dsn) as watch,
        _Backend(dsn, watch.application) as backend,
        watch.watching(backend.connection),
    ):
        migrations = read_migrations(str(directory))
        _check_compatibility(backend.connection, migrations)
        backend.init_database()
        backend.break_lock()
        missing = backend.to_apply(migrations)
        for migration in missing:
            _apply(backend, migration, watch)
        return [migration.id for migration in missing]


def _apply(backend: _Backend, migration: Migration, watch: MigrationWatch) -> None:
    """Apply a migration, and repeat it with growing pauses while it does not get its locks.

    Raises:
        MigrationBlocked: the migration did not get its locks within `_PATIENCE_S` seconds.
    """
    deadline = time.monotonic() + _PATIENCE_S
    pause_s = _FIRST_PAUSE_S
    while True:
        watch.lock_holders = ()
        try:
            backend.apply_one(migration)
        except _REPEATED_ERRORS as error:
            holders = list(map(str, watch.lock_holders))
            if time.monotonic() + pause_s > deadline:
                raise _build_blocked_error(migration.id, holders) from error
            _log.warning("migration.postponed", migration=migration.id, pause_s=pause_s, lock_holders=holders)
        else:
            return
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _MAX_PAUSE_S)


def _build_blocked_error(name: str, holders: Sequence[str]) -> MigrationBlocked:
    return MigrationBlocked(
        f"The migration {name} did not get the lock that it needs within {_PATIENCE_S:.0f} s. The lock is held by "
        f"{' and '.join(holders) or 'an unknown process'}. Wait until that transaction has ended, or end it with "
        f"`SELECT pg_terminate_backend(PID)`. Then run `receiver migrate` again."
    )


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
