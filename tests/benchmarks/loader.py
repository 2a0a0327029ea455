"""Fill a database with millions of jobs: the rows of `tests.support.population`, set by set and without indexes."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass

from psycopg import sql

from receiver.store.connections import Connection, connect
from receiver.store.row_counts import count_all_rows
from tests.support.population import (
    JOB_STATEMENTS,
    REQUEST_STATEMENTS,
    create_samples,
    drop_samples,
    insert_rows,
)


@dataclass(frozen=True, slots=True)
class _Part:
    """Statements, and the tables that they fill."""

    statements: Sequence[bytes]
    tables: Sequence[str]


_PARTS = (
    _Part(REQUEST_STATEMENTS, ("requests", "request_metadata", "attempts")),
    _Part(JOB_STATEMENTS, ("jobs", "events", "callbacks")),
)
# Foreign keys are not checked row by row, rows are counted at the end, and sorts of millions of rows stay in memory.
_SETTINGS = (
    b"SET LOCAL session_replication_role = replica",
    b"SET LOCAL maintenance_work_mem = '512MB'",
    b"SET LOCAL work_mem = '256MB'",
)
_SUSPEND_INDEXES = b"""
UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid = ANY(%(tables)s::text[]::regclass[])
"""


_SET_AUTOVACUUM = sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = {})")
# Only some servers have the extension; without it, the first callbacks read the indexes from the disk.
_HAS_PREWARM = b"SELECT FROM pg_available_extensions WHERE name = 'pg_prewarm'"
_PREWARM = b"""
SELECT sum(pg_prewarm(indexrelid)) FROM pg_index WHERE indrelid = ANY('{jobs,events,callbacks,requests}'::regclass[])
"""


def load_jobs(dsn: str, jobs: int) -> float:
    """Fill an empty, migrated database with a number of jobs and all related rows, vacuum it, and write it to the disk.

    Requests and jobs are loaded at the same time. Indexes are marked as not ready while rows are inserted, and rebuilt
    afterwards; for this the role must be a superuser. At the end the indexes are in memory, as far as there is room:
    so they are in a server that has been running for a while.

    Returns:
        How many seconds this took.
    """
    started_at = time.monotonic()
    tables = [table for part in _PARTS for table in part.tables]
    with closing(connect(dsn)) as connection:
        _set_autovacuum(connection, tables, is_enabled=False)  # it would run beside the load, and beside what is timed
        with _begin(connection):
            create_samples(connection, jobs)
            connection.execute(_SUSPEND_INDEXES, {"tables": tables})
        with ThreadPoolExecutor() as executor:
            # Not until both parts are committed: VACUUM leaves out rows that are newer than any running transaction.
            for load in (_insert_rows, _vacuum):
                for future in [executor.submit(load, dsn, jobs, part) for part in _PARTS]:
                    future.result()
        drop_samples(connection)
        count_all_rows(connection)
        _set_autovacuum(connection, tables, is_enabled=True)
        if connection.execute(_HAS_PREWARM).fetchone():
            connection.execute(b"CREATE EXTENSION IF NOT EXISTS pg_prewarm")
            connection.execute(_PREWARM)
        connection.execute(b"CHECKPOINT")  # otherwise one would begin while something is timed
    return time.monotonic() - started_at


def _set_autovacuum(connection: Connection, tables: Sequence[str], *, is_enabled: bool) -> None:
    for table in tables:
        connection.execute(_SET_AUTOVACUUM.format(sql.Identifier(table), sql.Literal(is_enabled)))


def _insert_rows(dsn: str, jobs: int, part: _Part) -> None:
    with closing(connect(dsn)) as connection, _begin(connection):
        for statement in part.statements:
            insert_rows(connection, statement, jobs)
        for table in part.tables:
            connection.execute(sql.SQL("REINDEX TABLE {}").format(sql.Identifier(table)))


def _vacuum(dsn: str, _: int, part: _Part) -> None:
    with closing(connect(dsn)) as connection:
        for table in part.tables:
            connection.execute(sql.SQL("VACUUM (FREEZE, ANALYZE) {}").format(sql.Identifier(table)))


@contextmanager
def _begin(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        for setting in _SETTINGS:
            connection.execute(setting)
        yield
