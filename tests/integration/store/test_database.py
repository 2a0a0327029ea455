"""Connections to Postgres, and the driver's errors as errors of the store."""

import time
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.errors import NotMigrated, StoreUnavailable, Unstorable
from receiver.store.limits import lock_limits


def test_terminated_transaction_raises_store_unavailable(database: Database) -> None:
    def terminate_transaction() -> None:
        with database.transaction() as connection:
            lock_limits(connection, ["a"])
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10ms'")
            time.sleep(0.1)
            connection.execute("SELECT")

    with pytest.raises(StoreUnavailable):
        terminate_transaction()


def test_connection_uses_utc_and_keeps_options(dsn: str) -> None:
    with closing(connect(make_conninfo(dsn, options="-c search_path=other"))) as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        assert connection.execute("SHOW search_path").fetchone() == ("other",)


def test_unreachable_server_raises_store_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        connect("postgresql://127.0.0.1:9/none")


def test_unstorable_value_is_named_as_such(database: Database) -> None:
    with pytest.raises(Unstorable), database.connection() as connection:
        connection.execute("SELECT %s::text", ["nul\0"])


def test_failed_transaction_is_rolled_back(database: Database, connection: Connection) -> None:
    connection.execute("CREATE TABLE notes (id integer)")

    def insert_and_fail() -> None:
        with database.transaction() as transaction:
            transaction.execute("INSERT INTO notes VALUES (1)")
            raise KeyError

    with pytest.raises(KeyError):
        insert_and_fail()
    assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)


def test_programming_error_is_raised_unchanged(database: Database) -> None:
    with pytest.raises(psycopg.errors.SyntaxError), database.connection() as connection:
        connection.execute("SELECT FROM WHERE")


def test_missing_table_names_the_remedy(database: Database) -> None:
    with pytest.raises(NotMigrated, match="receiver migrate"), database.connection() as connection:
        connection.execute("SELECT FROM nowhere")


def test_lost_connection_is_replaced(database: Database, connection: Connection) -> None:
    with database.connection() as pooled:
        process = pooled.info.backend_pid
    connection.execute("SELECT pg_terminate_backend(%s)", [process])
    with database.connection() as pooled:
        assert pooled.info.backend_pid != process
        assert pooled.execute("SELECT 1").fetchone() == (1,)
