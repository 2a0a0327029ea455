"""Fill a database with millions of jobs: the rows of `tests.support.population`, set by set and without indexes."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

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

_REQUEST_TABLES = ("requests", "request_metadata", "attempts")
_JOB_TABLES = ("jobs", "events", "callbacks")
# Foreign keys are not checked row by row, rows are counted at the end, and sorts of millions of rows stay in memory.
_SETTINGS = (
    b"SET LOCAL session_replication_role = replica",
    b"SET LOCAL maintenance_work_mem = '512MB'",
    b"SET LOCAL work_mem = '256MB'",
)
_SUSPEND_INDEXES = b"""
UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid = ANY(%(tables)s::text[]::regclass[])
"""


def load_jobs(dsn: str, jobs: int) -> float:
    """Fill an empty, migrated database with a number of jobs and all related rows, and vacuum it.

    Requests and jobs are loaded at the same time. Indexes are marked as not ready while rows are inserted, and rebuilt
    afterwards; for this the role must be a superuser.

    Returns:
        How many seconds this took.
    """
    started_at = time.monotonic()
    with closing(connect(dsn)) as connection:
        with _begin(connection):
            create_samples(connection, jobs)
            connection.execute(_SUSPEND_INDEXES, {"tables": [*_REQUEST_TABLES, *_JOB_TABLES]})
        parts = ((REQUEST_STATEMENTS, _REQUEST_TABLES), (JOB_STATEMENTS, _JOB_TABLES))
        with ThreadPoolExecutor(len(parts)) as executor:
            futures = [executor.submit(_load_tables, dsn, jobs, *part) for part in parts]
            for future in futures:
                future.result()
        drop_samples(connection)
        count_all_rows(connection)
    return time.monotonic() - started_at


def _load_tables(dsn: str, jobs: int, statements: Sequence[bytes], tables: Sequence[str]) -> None:
    with closing(connect(dsn)) as connection:
        with _begin(connection):
            for statement in statements:
                insert_rows(connection, statement, jobs)
            for table in tables:
                connection.execute(sql.SQL("REINDEX TABLE {}").format(sql.Identifier(table)))
        for table in tables:
            connection.execute(sql.SQL("VACUUM (FREEZE, ANALYZE) {}").format(sql.Identifier(table)))


@contextmanager
def _begin(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        for setting in _SETTINGS:
            connection.execute(setting)
        yield
