"""Connections with time limits, directly, through a proxy and through PgBouncer."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from receiver.store.connections import (
    Connection,
    StatementTimedOut,
    connect,
    ensure_durability,
    prefer_host,
    transaction,
    translate_errors,
)
from receiver.store.errors import FailureKind, StoreUnavailable
from tests.support.pgbouncer import PoolMode, pgbouncer
from tests.support.processes import find_lock_waiters, wait_for
from tests.support.proxy import Proxy

LIMIT_S = 0.3


@pytest.fixture
def limited_connection(dsn: str) -> Iterator[Connection]:
    with closing(connect(dsn, limit_s=LIMIT_S)) as connection:
        yield connection


def measure(operation: Callable[[], object]) -> float:
    """Return the seconds that an operation takes which must fail by its time limit."""
    started_at = time.monotonic()
    with pytest.raises(StatementTimedOut, match=r"no response from Postgres within 0\.3 s"):
        operation()
    return time.monotonic() - started_at


def test_slow_statement_ends_at_the_limit(limited_connection: Connection) -> None:
    assert measure(lambda: limited_connection.execute("SELECT pg_sleep(20)")) < 2.0
    assert limited_connection.closed


def test_server_ends_a_statement_that_was_given_up(limited_connection: Connection, connection: Connection) -> None:
    with transaction(connection):
        connection.execute("LOCK TABLE callbacks")
        measure(lambda: limited_connection.execute("SELECT FROM callbacks"))
        wait_for(lambda: not find_lock_waiters(connection))


def test_statement_on_a_silent_connection_ends_at_the_limit(dsn: str) -> None:
    with Proxy(dsn) as proxy, closing(connect(proxy.dsn, limit_s=LIMIT_S)) as connection:
        proxy.silence()
        assert measure(lambda: connection.execute("SELECT 1")) < 2.0
        assert connection.closed


def test_transaction_on_a_silent_connection_waits_once(dsn: str) -> None:
    def insert(connection: Connection) -> None:
        with transaction(connection):
            proxy.silence()
            connection.execute("SELECT 1")

    with Proxy(dsn) as proxy, closing(connect(proxy.dsn, limit_s=LIMIT_S)) as connection:
        assert measure(lambda: insert(connection)) < 2 * LIMIT_S


def test_timed_out_statement_is_an_error_of_its_kind(limited_connection: Connection) -> None:
    with pytest.raises(StoreUnavailable) as caught, translate_errors():
        limited_connection.execute("SELECT pg_sleep(20)")
    assert caught.value.kind is FailureKind.TIMED_OUT
    assert caught.value.is_repeatable


def test_server_that_accepts_but_is_silent_is_given_up(dsn: str) -> None:
    with Proxy(dsn) as proxy:
        proxy.stall()
        started_at = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            connect(make_conninfo(proxy.dsn, connect_timeout=2))
        proxy.go()
    assert caught.value.kind is FailureKind.CONNECT_FAILED
    assert time.monotonic() - started_at < 4.0


def test_aborted_connection_fails_at_once(dsn: str) -> None:
    with closing(connect(dsn)) as connection, ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(connection.execute, "SELECT pg_sleep(20)")
        time.sleep(0.1)
        connection.abort()
        with pytest.raises(psycopg.OperationalError):
            sleeping.result(2.0)


def test_transaction_of_a_hanging_process_is_ended(limited_connection: Connection) -> None:
    with transaction(limited_connection):
        assert limited_connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("5s",)
    assert limited_connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("0",)


def test_nested_transaction_joins_the_outer_one(connection: Connection) -> None:
    connection.execute("CREATE TABLE notes (id integer)")

    def insert(error: Exception | None) -> None:
        with transaction(connection):
            connection.execute("INSERT INTO notes VALUES (1)")
            with transaction(connection):
                connection.execute("INSERT INTO notes VALUES (2)")
                if error:
                    raise error

    with pytest.raises(KeyError):
        insert(KeyError())
    assert connection.execute("SELECT FROM notes").fetchall() == []
    insert(None)
    assert connection.execute("SELECT count(DISTINCT xmin::text), count(*) FROM notes").fetchall() == [(1, 2)]


def test_durable_commit_leaves_no_row(connection: Connection) -> None:
    connection.execute("SET synchronous_commit = on")  # the server under test has it off
    before = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
    ensure_durability(connection)
    assert connection.execute("SELECT pg_current_wal_flush_lsn() > %s", before).fetchone() == (True,)


def test_too_many_connections_are_named_as_such(server: str, dsn: str, connection: Connection) -> None:
    role = sql.Identifier("one_connection")
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 1").format(role))
    try:
        limited_dsn = make_conninfo(dsn, user="one_connection")
        with closing(connect(limited_dsn)), pytest.raises(StoreUnavailable) as caught:
            connect(limited_dsn)
    finally:
        with closing(connect(server)) as operator:
            operator.execute(sql.SQL("DROP ROLE {}").format(role))
    assert caught.value.kind is FailureKind.TOO_MANY_CONNECTIONS


@pytest.mark.parametrize(("prepare", "count"), [("auto", 1), ("on", 1), ("off", 0)])
def test_statements_are_prepared_as_configured(dsn: str, prepare: str, count: int) -> None:
    with closing(connect(dsn, prepare=prepare)) as connection:
        connection.execute("SELECT %s::text", ["a"])
        row = connection.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT $1%%'", [])
        assert row.fetchone() == (count,)


@contextmanager
def server_time_zone(server: str, dsn: str) -> Iterator[None]:
    """Set another time zone for new sessions of a database."""
    name = sql.Identifier(str(conninfo_to_dict(dsn)["dbname"]))
    with closing(connect(server)) as operator:
        operator.execute(sql.SQL("ALTER DATABASE {} SET timezone = 'Asia/Kolkata'").format(name))
        yield


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_pooled_connection_uses_utc_and_prepares_nothing(server: str, dsn: str, mode: PoolMode) -> None:
    with server_time_zone(server, dsn), pgbouncer(dsn, mode) as pooled, closing(connect(pooled.dsn)) as connection:
        assert connection.prepare_threshold is None
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        assert connection.execute("SELECT '2026-01-01T00:00Z'::timestamptz").fetchone() == (
            datetime(2026, 1, 1, tzinfo=UTC),
        )


def test_connection_uses_utc_and_keeps_options(server: str, dsn: str) -> None:
    with (
        server_time_zone(server, dsn),
        closing(connect(make_conninfo(dsn, options="-c search_path=other"))) as connection,
    ):
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        assert connection.execute("SHOW search_path").fetchone() == ("other",)


@pytest.mark.parametrize(("setting", "value"), [("datestyle", "German"), ("client_encoding", "LATIN1")])
def test_settings_of_the_database_change_no_value(server: str, dsn: str, setting: str, value: str) -> None:
    name = sql.Identifier(str(conninfo_to_dict(dsn)["dbname"]))
    alter = sql.SQL("ALTER DATABASE {} SET {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
    with closing(connect(server)) as operator:
        operator.execute(alter)
    with closing(connect(dsn)) as connection:
        row = connection.execute("SELECT '2026-01-02T00:00Z'::timestamptz, %s::text", ["€"]).fetchone()
    assert row == (datetime(2026, 1, 2, tzinfo=UTC), "€")


@pytest.mark.parametrize(
    ("dsn", "host", "port", "expected"),
    [
        ("host=a,b port=1,2", "b", 2, ("b,a", "2,1")),
        ("host=a,b port=1,2", "a", 1, ("a,b", "1,2")),
        ("host=a,b,c port=5432", "c", 5432, ("c,a,b", "5432,5432,5432")),
        ("host=a,a port=1,2", "a", 2, ("a,a", "2,1")),
        ("postgresql://u@a,b:6000/db", "b", 6000, ("b,a", "6000,")),
        ("host=a,b", "b", 5432, ("b,a", ",")),
    ],
)
def test_host_that_works_comes_first(dsn: str, host: str, port: int, expected: tuple[str, str]) -> None:
    params = conninfo_to_dict(prefer_host(dsn, host, port))
    assert (params["host"], params["port"]) == expected


@pytest.mark.parametrize("dsn", ["host=a port=1", "dbname=x", "host=a,b hostaddr=10.0.0.1,10.0.0.2"])
def test_dsn_with_nothing_to_choose_is_unchanged(dsn: str) -> None:
    assert prefer_host(dsn, "a", 1) == dsn
