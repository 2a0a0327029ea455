"""The lock of migrations through PgBouncer, beside index builds and after kills, and connections that fall silent."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.resources import files

import pytest
from psycopg import sql
from yoyo import read_migrations

from receiver.devtools.scratch import scratch_database
from receiver.store import migrate as migrate_module
from receiver.store import migration_lock
from receiver.store.connections import Connection, connect
from receiver.store.errors import StoreUnavailable
from receiver.store.migrate import MigrationBlocked, _Backend, migrate
from receiver.store.migration_lock import hold_migration_lock, open_connection
from receiver.store.statements import find_migrations
from tests.support.pgbouncer import PoolMode, pgbouncer
from tests.support.processes import wait_for
from tests.support.proxy import Proxy

MIGRATE_SCRIPT = "import sys; from receiver.store.migrate import migrate; migrate(sys.argv[1])"
INDEX = "events_callback_position_idx"
LATER_MIGRATIONS = [name for name in find_migrations() if name >= "0004"]
"""The migrations from the first one that builds an index beside traffic."""
FIND_INDEX = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
FIND_BUILDER = """
    SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase LIKE 'waiting%'
"""
FIND_WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid IS DISTINCT FROM %s
"""
FIND_LOCK = """
    SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND locktype = 'advisory' AND granted
"""


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    """A database without any schema."""
    with scratch_database(server) as dsn:
        yield dsn


@pytest.fixture
def older_dsn(empty: str) -> str:
    """A database with the schema before the first index that is built beside traffic."""
    migrations = read_migrations(str(files("receiver.store") / "migrations"))
    with _Backend(empty) as backend:
        backend.init_database()
        backend.apply_migrations(migrations.filter(lambda migration: migration.id < "0004"))
    return empty


@pytest.fixture
def observer(empty: str) -> Iterator[Connection]:
    with closing(connect(empty)) as connection:
        yield connection


@pytest.fixture
def reader(empty: str) -> Iterator[Connection]:
    """A connection in a transaction with a snapshot, for which an index build waits until the transaction ends."""
    with closing(connect(empty)) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT 1")
        yield connection


@pytest.fixture
def blocker(empty: str) -> Iterator[Connection]:
    """A connection in a transaction that holds what the first migration needs."""
    with closing(connect(empty)) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE providers ()")
        yield connection


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_migrate_leaves_nothing_behind_in_pgbouncer(empty: str, mode: PoolMode, observer: Connection) -> None:
    with pgbouncer(empty, mode) as bouncer, ThreadPoolExecutor(3) as pool:
        applied = list(pool.map(migrate, [bouncer.dsn] * 3))
        assert sorted(map(len, applied)) == [0, 0, len(find_migrations())]
        assert observer.execute(FIND_LOCK).fetchall() == []
        with closing(open_connection(bouncer.dsn, "test")) as pooled_connection:
            assert pooled_connection.execute("SHOW lock_timeout").fetchone() == ("0",)
        assert migrate(bouncer.dsn) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_blocked_and_killed_migrate_leave_no_lock_in_pgbouncer(
    empty: str, mode: PoolMode, blocker: Connection, observer: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate_module, "_PATIENCE_S", 0.0)
    with pgbouncer(empty, mode) as bouncer:
        with pytest.raises(MigrationBlocked, match=f"process {blocker.info.backend_pid} "):
            migrate(bouncer.dsn)
        process = subprocess.Popen([sys.executable, "-c", MIGRATE_SCRIPT, bouncer.dsn])
        wait_for(lambda: observer.execute(FIND_WAITING, [None]).fetchone())
        process.kill()
        process.wait()
        wait_for(lambda: observer.execute(FIND_LOCK).fetchone() is None)
        blocker.execute("ROLLBACK")
        monkeypatch.undo()
        assert migrate(bouncer.dsn) == list(find_migrations())


def test_transaction_with_the_lock_has_no_snapshot(empty: str, observer: Connection) -> None:
    with hold_migration_lock(empty) as watch:
        query = "SELECT state, backend_xmin FROM pg_stat_activity WHERE application_name = %s"
        row = observer.execute(query, [f"{watch.application} lock"]).fetchone()
    assert row == ("idle in transaction", None)


def test_lock_outlasts_time_limits_of_the_database(empty: str, observer: Connection) -> None:
    limit = sql.SQL("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '50ms'")
    observer.execute(limit.format(sql.Identifier(observer.info.dbname)))
    with hold_migration_lock(empty):
        time.sleep(0.2)
        assert len(observer.execute(FIND_LOCK).fetchall()) == 1


def test_second_migrate_waits_for_the_lock(empty: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        with hold_migration_lock(empty):
            waiting = pool.submit(migrate, empty)
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
        assert waiting.result() == list(find_migrations())


def test_waiting_migrate_does_not_stop_index_build(older_dsn: str, reader: Connection, observer: Connection) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(migrate, older_dsn)
        wait_for(lambda: observer.execute(FIND_BUILDER).fetchone())
        second = pool.submit(migrate, older_dsn)
        with pytest.raises(TimeoutError):
            second.result(0.5)
        reader.execute("COMMIT")
        assert first.result(20) == LATER_MIGRATIONS
        assert second.result(20) == []


@pytest.mark.parametrize("outcome", ["build goes on", "build is aborted"])
def test_migrate_after_kill_repairs_the_index(
    older_dsn: str, reader: Connection, observer: Connection, outcome: str
) -> None:
    process = subprocess.Popen([sys.executable, "-c", MIGRATE_SCRIPT, older_dsn])
    [builder] = wait_for(lambda: observer.execute(FIND_BUILDER).fetchone())
    process.kill()
    process.wait()
    if outcome == "build is aborted":
        observer.execute("SELECT pg_terminate_backend(%s, 5000)", [builder])
    assert observer.execute(FIND_INDEX, [INDEX]).fetchone() == (False,)
    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(migrate, older_dsn)
        wait_for(lambda: observer.execute(FIND_WAITING, [builder]).fetchone())
        reader.execute("COMMIT")
        assert migration.result(20) == LATER_MIGRATIONS
    assert observer.execute(FIND_INDEX, [INDEX]).fetchone() == (True,)
    assert observer.execute("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid").fetchall() == []


@pytest.mark.usefixtures("blocker")
@pytest.mark.parametrize("failure", ["silence", "stall", "cut"])
def test_migrate_ends_when_connections_fail(
    empty: str, observer: Connection, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    monkeypatch.setattr(migration_lock, "ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr(migration_lock, "LOCK_TIMEOUT_S", 60.0)
    with Proxy(empty) as proxy, ThreadPoolExecutor(1) as pool:
        migration = pool.submit(migrate, proxy.dsn)
        wait_for(lambda: observer.execute(FIND_WAITING, [None]).fetchone())
        getattr(proxy, failure)()
        with pytest.raises(StoreUnavailable, match="closed the connection" if failure == "cut" else "no response"):
            migration.result(5)
        proxy.go()


def test_watch_aborts_connection_whose_statement_was_lost(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_lock, "ANSWER_TIMEOUT_S", 0.5)

    def run_while_connection_falls_silent() -> None:
        with watch.watching(connection):
            threading.Timer(0.5, proxy.silence).start()
            connection.execute("SELECT pg_sleep(1)")

    with (
        hold_migration_lock(empty) as watch,
        Proxy(empty) as proxy,
        closing(open_connection(proxy.dsn, watch.application)) as connection,
        pytest.raises(StoreUnavailable, match="reply was lost"),
    ):
        run_while_connection_falls_silent()
