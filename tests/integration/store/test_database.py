"""Connections to Postgres, and the driver's errors as errors of the store."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from receiver.store import database as database_module
from receiver.store.connections import Connection, connect
from receiver.store.database import Database, check_tables
from receiver.store.errors import FailureKind, NotMigrated, StoreUnavailable, Unstorable
from receiver.store.health import Part
from receiver.store.limits import lock_limits
from receiver.store.statements import find_migrations
from tests.support.pgbouncer import PoolMode, pgbouncer
from tests.support.processes import wait_for
from tests.support.proxy import Proxy


def test_terminated_transaction_raises_store_unavailable(database: Database) -> None:
    def terminate_transaction() -> None:
        with database.transaction() as connection:
            lock_limits(connection, ["a"])
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10ms'")
            time.sleep(0.1)
            connection.execute("SELECT")

    with pytest.raises(StoreUnavailable):
        terminate_transaction()


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


def test_idle_connections_that_fell_silent_are_replaced(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_CHECK_LIMIT_S", 0.2)
    with Proxy(dsn) as proxy, closing(Database(proxy.dsn)) as database, ThreadPoolExecutor(5) as pool:
        barrier = threading.Barrier(5)

        def use() -> None:
            with database.connection():
                barrier.wait(5.0)

        for future in [pool.submit(use) for _ in range(5)]:
            future.result(5.0)
        assert proxy.silence() >= 5
        started_at = time.monotonic()
        for open_connection in (database.connection, database.transaction):
            with open_connection() as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        assert time.monotonic() - started_at < 1.0


def test_silent_statement_fails_and_frees_its_place(dsn: str) -> None:
    with Proxy(dsn) as proxy, closing(Database(proxy.dsn, size=1, limit_s=0.2)) as database:

        def read_in_silence() -> None:
            with database.connection() as connection:
                proxy.silence()
                connection.execute("SELECT 1")

        with pytest.raises(StoreUnavailable, match="no response"):
            read_in_silence()
        with database.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert database.health.error_counts[FailureKind.TIMED_OUT] == 1


def test_read_only_connections_are_discarded(server: str, dsn: str, database: Database) -> None:
    name = sql.Identifier(str(conninfo_to_dict(dsn)["dbname"]))
    alter = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
    with closing(connect(server)) as operator:
        operator.execute(alter.format(name, sql.Literal("on")))
        with database.connection() as reader:
            reader.execute("SELECT 1")
        operator.execute(alter.format(name, sql.Literal("off")))

    def create(connection: Connection) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (id integer)")

    database.run_repeatably(create)
    assert database.health.error_counts[FailureKind.READ_ONLY] == 1
    with database.transaction() as connection:
        create(connection)


def test_read_only_connections_are_discarded_on_recovery(server: str, dsn: str, database: Database) -> None:
    name = sql.Identifier(str(conninfo_to_dict(dsn)["dbname"]))
    alter = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
    with closing(connect(server)) as operator:
        operator.execute(alter.format(name, sql.Literal("on")))
        with database.connection() as reader:
            reader.execute("SELECT 1")
        operator.execute(alter.format(name, sql.Literal("off")))
    database._probe(FailureKind.READ_ONLY)
    with database.connection() as connection:
        connection.execute("CREATE TABLE notes (id integer)")


def test_missing_slots_matter_to_a_process_without_connections(dsn: str, connection: Connection) -> None:
    connection.execute("CREATE ROLE one_place LOGIN CONNECTION LIMIT 1 IN ROLE pg_read_all_data, pg_write_all_data")

    def find_failure() -> FailureKind:
        with pytest.raises(StoreUnavailable, match="too many connections") as caught:
            database._probe(None)
        return caught.value.kind

    try:
        with closing(Database(make_conninfo(dsn, user="one_place"))) as database:
            with closing(connect(make_conninfo(dsn, user="one_place"))):
                assert find_failure() is FailureKind.CONNECT_FAILED
            wait_for(
                lambda: not connection.execute("SELECT FROM pg_stat_activity WHERE usename = 'one_place'").rowcount
            )
            with database.connection():
                assert find_failure() is FailureKind.TOO_MANY_CONNECTIONS
    finally:
        connection.execute("DROP ROLE one_place")


def test_health_of_a_read_only_server_names_commits(server: str, dsn: str, database: Database) -> None:
    name = sql.Identifier(str(conninfo_to_dict(dsn)["dbname"]))
    assert database.health.check() is None
    with closing(connect(server)) as operator:
        operator.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    time.sleep(1.0)  # the validity of a probe
    problem = database.health.check()
    assert problem is not None
    assert (problem.part, problem.kind) == (Part.COMMITS, FailureKind.READ_ONLY)


def test_health_without_a_migration_names_the_schema(database: Database, connection: Connection) -> None:
    connection.execute("DELETE FROM schema_migrations WHERE migration_id = %s", [find_migrations()[-1]])
    problem = database.health.check()
    assert problem is not None
    assert problem.part is Part.SCHEMA


@pytest.mark.parametrize("table", ["callbacks", "events", "jobs"])
def test_failure_lasts_while_a_table_is_locked(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(database_module, "_PROBE_COMMIT_LIMIT_S", 0.2)
    with connection.transaction():
        connection.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(table)))
        with pytest.raises(StoreUnavailable) as caught:
            database._probe(FailureKind.COMMIT_TIMED_OUT)
    assert caught.value.kind is FailureKind.COMMIT_TIMED_OUT
    database._probe(FailureKind.COMMIT_TIMED_OUT)


def test_check_of_tables_leaves_nothing(connection: Connection) -> None:
    check_tables(connection, 1_000)
    assert connection.execute("SELECT count(*) FROM callbacks").fetchone() == (0,)


@pytest.mark.parametrize("marker", [b"INSERT", b"COMMIT"])
def test_lost_reply_repeats_the_transaction_once(dsn: str, connection: Connection, marker: bytes) -> None:
    connection.execute("CREATE TABLE notes (id integer PRIMARY KEY)")
    calls = []

    def insert(connection: Connection) -> int:
        calls.append(connection.info.backend_pid)
        return connection.execute("INSERT INTO notes VALUES (1) ON CONFLICT DO NOTHING").rowcount

    with Proxy(dsn) as proxy, closing(Database(proxy.dsn)) as database:
        is_cut = proxy.cut_after(marker)
        rowcount = database.run_repeatably(insert)
        assert is_cut.is_set()
    assert rowcount == (1 if marker == b"INSERT" else 0)
    assert len(set(calls)) == 2
    assert connection.execute("SELECT id FROM notes").fetchall() == [(1,)]


def test_transaction_that_cannot_begin_takes_another_connection(dsn: str) -> None:
    with Proxy(dsn) as proxy, closing(Database(proxy.dsn)) as database:
        with database.transaction() as connection:
            connection.execute("SELECT 1")
        proxy.cut()
        with database.transaction() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_exhausted_pool_is_an_error_of_its_own(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_POOL_TIMEOUT_S", 0.05)
    with closing(Database(dsn, size=1)) as database, database.connection():
        assert database.in_use_count == 1
        with pytest.raises(StoreUnavailable, match="all 1 connections are in use") as caught, database.connection():
            pass
        assert caught.value.kind is FailureKind.POOL_EXHAUSTED
    assert database.in_use_count == 0


def test_unused_connections_are_closed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.connection() as pooled:
        pid = pooled.info.backend_pid
    database._close_unused()
    with database.connection() as pooled:
        assert pooled.info.backend_pid == pid
    monkeypatch.setattr(database_module, "_MAX_IDLE_S", 0.0)
    time.sleep(0.01)
    database._close_unused()
    assert pooled.closed


def test_abort_ends_waiting_statements(database: Database) -> None:
    with ThreadPoolExecutor(1) as pool:

        def sleep() -> None:
            with database.connection() as connection:
                connection.execute("SELECT pg_sleep(20)")

        sleeping = pool.submit(sleep)
        time.sleep(0.2)
        database.abort()
        with pytest.raises(StoreUnavailable):
            sleeping.result(2.0)
    with pytest.raises(StoreUnavailable, match="stopping"), database.connection():
        pass


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_many_transactions_through_a_pooler_stay_apart(dsn: str, connection: Connection, mode: PoolMode) -> None:
    connection.execute("CREATE TABLE notes (writer integer, number integer)")

    def write(database: Database, writer: int) -> None:
        for number in range(20):
            with database.transaction() as pooled:
                pooled.execute("INSERT INTO notes VALUES (%s, %s)", [writer, number])
                assert pooled.execute("SELECT %s::integer", [number]).fetchone() == (number,)

    with (
        pgbouncer(dsn, mode) as pooler,
        closing(Database(pooler.dsn, size=4)) as database,
        ThreadPoolExecutor(4) as pool,
    ):
        for future in [pool.submit(write, database, writer) for writer in range(4)]:
            future.result(20.0)
        assert database.health.check() is None
    assert connection.execute("SELECT count(*), count(DISTINCT (writer, number)) FROM notes").fetchone() == (80, 80)
