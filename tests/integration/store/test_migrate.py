"""Migrations, concurrent and after a crash, the constraints of the schema, and scratch databases."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from yoyo import read_migrations

from receiver.devtools.scratch import scratch_database
from receiver.store import migrate as migrate_module
from receiver.store import migration_lock
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.errors import StoreUnavailable
from receiver.store.migrate import IncompatibleSchema, MigrationBlocked, _Backend, migrate
from receiver.store.statements import find_migrations
from tests.support.factories import NOON
from tests.support.processes import RECEIVER

MIGRATIONS = list(find_migrations())
TABLES = {"providers", "requests", "attempts", "callbacks", "jobs", "events", "notification_outbox"}
MIGRATE_SCRIPT = "import sys; from receiver.store.migrate import migrate; migrate(sys.argv[1])"
COUNTED_TABLES = ("callbacks", "jobs", "requests")
DROP_COUNTING_TRIGGERS = """
    SELECT format('DROP TRIGGER %I ON %I', tgname, tgrelid::regclass) FROM pg_trigger
    WHERE NOT tgisinternal AND tgrelid IN ('callbacks'::regclass, 'jobs'::regclass, 'requests'::regclass)
"""
TRIGGER_IS_WAITING = """
    SELECT count(*) = 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%CREATE OR REPLACE TRIGGER%'
"""
MIGRATION_IS_WAITING = """
    SELECT count(*) = 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'CREATE TABLE%'
"""
REQUEST, JOB = UUID(int=1), UUID(int=2)


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    """A database without any schema."""
    with scratch_database(server) as dsn:
        yield dsn


def list_tables(dsn: str) -> set[str]:
    with closing(connect(dsn)) as connection:
        return {
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        }


def wait_until_true(connection: Connection, query: str) -> None:
    """Execute a query until it returns true."""
    deadline = time.monotonic() + 20.0
    while connection.execute(query).fetchone() != (True,):
        assert time.monotonic() < deadline, f"never true: {query}"
        time.sleep(0.01)


def list_databases(dsn: str) -> set[str]:
    with closing(connect(dsn)) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def test_migrate_creates_all_tables_once(empty: str) -> None:
    assert migrate(empty) == MIGRATIONS
    assert list_tables(empty) >= TABLES
    before = list_tables(empty)
    assert migrate(empty) == []
    assert list_tables(empty) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "create_pool",
    [lambda: ThreadPoolExecutor(4), lambda: ProcessPoolExecutor(4, mp_context=get_context("spawn"))],
    ids=["threads", "processes"],
)
def test_concurrent_migrate_applies_each_migration_once(empty: str, create_pool: Callable[[], Executor]) -> None:
    with create_pool() as pool:
        applied = list(pool.map(migrate, [empty] * 4))
    assert sorted(applied) == [[], [], [], MIGRATIONS]
    assert list_tables(empty) >= TABLES


@pytest.mark.parametrize(
    ("setting", "message"),
    [("default_transaction_read_only=on", "read-only transaction"), ("search_path=pg_catalog", "permission denied")],
)
def test_migrate_says_why_it_cannot_create_tables(empty: str, setting: str, message: str) -> None:
    with pytest.raises(StoreUnavailable, match=f"The tables cannot be created: .*{message}"):
        migrate(make_conninfo(empty, options=f"-c {setting}"))


def test_migrate_without_the_right_to_create_has_nothing_to_apply(empty: str) -> None:
    migrate(empty)
    with closing(connect(empty, prepare="off")) as connection:
        connection.execute("CREATE ROLE migrator")
        try:
            connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO migrator")
            assert migrate(make_conninfo(empty, options="-c role=migrator")) == []
        finally:
            connection.execute("DROP OWNED BY migrator")
            connection.execute("DROP ROLE migrator")


def test_killed_migrate_does_not_block_the_next(empty: str) -> None:
    with closing(connect(empty)) as connection, connection.transaction(force_rollback=True):
        connection.execute("CREATE TABLE providers ()")
        process = subprocess.Popen([sys.executable, "-c", MIGRATE_SCRIPT, empty])
        with closing(connect(empty)) as observer:
            wait_until_true(observer, MIGRATION_IS_WAITING)
        process.kill()
        process.wait()
    assert migrate(empty) == MIGRATIONS
    assert list_tables(empty) >= TABLES


@pytest.fixture
def blocker(empty: str) -> Iterator[Connection]:
    """A connection in a transaction that holds what the first migration needs."""
    with closing(connect(empty)) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE providers ()")
        yield connection


def test_migrate_waits_briefly_for_a_lock_and_tries_again(
    empty: str, blocker: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_lock, "LOCK_TIMEOUT_S", 0.3)
    monkeypatch.setattr(migrate_module, "_FIRST_PAUSE_S", 0.1)
    with closing(connect(empty)) as observer, ThreadPoolExecutor(1) as pool, closing(blocker):
        migration = pool.submit(migrate, empty)
        wait_until_true(observer, MIGRATION_IS_WAITING)
        wait_until_true(observer, f"SELECT NOT ({MIGRATION_IS_WAITING})")
        wait_until_true(observer, MIGRATION_IS_WAITING)
        blocker.execute("ROLLBACK")
        assert migration.result(20) == MIGRATIONS


@pytest.mark.parametrize("first_table", COUNTED_TABLES)
def test_migration_with_one_locked_table_waits_for_no_other(dsn: str, connection: Connection, first_table: str) -> None:
    """A statement that has locked one of the counted tables gets the locks of the others at once."""
    migrations = [f"0011_row_counts_changed_{table}" for table in COUNTED_TABLES]
    for (statement,) in connection.execute(DROP_COUNTING_TRIGGERS).fetchall():
        connection.execute(statement)
    connection.execute("DELETE FROM schema_migrations WHERE migration_id = ANY(%s)", [migrations])
    connection.execute("BEGIN")
    connection.execute("SET LOCAL lock_timeout = '500ms'")
    connection.execute(f"LOCK TABLE {first_table} IN ROW EXCLUSIVE MODE".encode())

    with closing(connect(dsn)) as observer, ThreadPoolExecutor(1) as pool:
        migration = pool.submit(migrate, dsn)
        try:
            wait_until_true(observer, TRIGGER_IS_WAITING)
            for table in COUNTED_TABLES:
                connection.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE".encode())
        finally:
            connection.execute("ROLLBACK")
        assert migration.result(20) == migrations


def test_blocked_migrate_names_the_holder_of_the_lock(
    empty: str, blocker: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_lock, "LOCK_TIMEOUT_S", 0.5)
    monkeypatch.setattr(migrate_module, "_PATIENCE_S", 0.0)
    holder = rf"process {blocker.info.backend_pid} \(callback-receiver, \w+, idle in transaction, .*CREATE TABLE"
    with pytest.raises(MigrationBlocked, match=rf"0001_baseline .* {holder}.*pg_terminate_backend"):
        migrate(empty)
    assert list_tables(empty).isdisjoint(TABLES)


@pytest.mark.slow
def test_migrate_command_reports_the_holder_of_the_lock(empty: str, blocker: Connection) -> None:
    """The command writes the event to stderr, also with JSON, and goes on once the lock is free."""
    with subprocess.Popen(
        [RECEIVER, "migrate"],
        env={**os.environ, "DATABASE_URL": empty, "LOG_FORMAT": "json"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr
        assert process.stdout
        lines = map(json.loads, process.stderr)
        line = next(line for line in lines if line["event"] == "migration.postponed")
        blocker.execute("ROLLBACK")
        *_, applied = lines
        assert (applied["event"], applied["message"]) == ("stderr.written", f"applied: {', '.join(MIGRATIONS)}")
        assert process.stdout.read() == b""
    assert line["migration"] == "0001_baseline"
    assert f"process {blocker.info.backend_pid} " in line["lock_holders"][0]


def test_lock_row_of_killed_migrate_is_ignored(empty: str) -> None:
    with closing(connect(empty)) as connection:
        connection.execute("CREATE TABLE yoyo_lock (locked integer PRIMARY KEY, ctime timestamp, pid integer NOT NULL)")
        connection.execute("INSERT INTO yoyo_lock VALUES (1, now(), 4242)")
    assert migrate(empty) == MIGRATIONS
    assert list_tables(empty) >= TABLES


def test_migrate_without_database_raises_unavailable(server: str) -> None:
    with pytest.raises(StoreUnavailable, match="does not exist"):
        migrate(make_conninfo(server, dbname="receiver_nowhere"))


@pytest.fixture
def unreleased(empty: str, tmp_path: Path) -> str:
    """A database with a migration of an unreleased version, applied and recorded by yoyo."""
    (tmp_path / "0001_initial.sql").write_text("CREATE TABLE requests (id uuid PRIMARY KEY);")
    with _Backend(empty) as backend:
        backend.init_database()
        backend.apply_migrations(read_migrations(str(tmp_path)))
    return empty


def dump_database(dsn: str) -> list[tuple[Any, ...]]:
    """Return the columns of all tables and what yoyo recorded."""
    with closing(connect(dsn)) as connection:
        return [
            *connection.execute(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = current_schema() ORDER BY 1, 2"
            ),
            *connection.execute("SELECT migration_id, operation FROM _yoyo_log ORDER BY created_at_utc"),
        ]


def test_migrate_rejects_unreleased_schema_and_changes_nothing(unreleased: str) -> None:
    before = dump_database(unreleased)
    for _ in range(2):
        with pytest.raises(IncompatibleSchema, match=r"unreleased version.*0001_initial.*DATABASE_URL.*RECEIVER_HOME"):
            migrate(unreleased)
    assert dump_database(unreleased) == before


@pytest.mark.parametrize("table", ["schema_migrations", "_yoyo_log"])
def test_migrate_rejects_unreleased_schema_by_either_record(unreleased: str, table: str) -> None:
    with closing(connect(unreleased)) as connection:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))
    with pytest.raises(IncompatibleSchema):
        migrate(unreleased)


def test_migrate_rejects_migration_table_of_another_application(empty: str) -> None:
    with closing(connect(empty)) as connection:
        connection.execute("CREATE TABLE schema_migrations (version text PRIMARY KEY)")
    with pytest.raises(IncompatibleSchema, match=r"schema_migrations.*another application.*DATABASE_URL"):
        migrate(empty)
    assert list_tables(empty) == {"schema_migrations"}


def test_migrate_accepts_schema_of_a_later_release(empty: str, tmp_path: Path) -> None:
    migrate(empty)
    (tmp_path / "0002_later.sql").write_text("CREATE TABLE later ();")
    with _Backend(empty) as backend:
        backend.apply_migrations(read_migrations(str(tmp_path)))
    assert migrate(empty) == []


@pytest.mark.slow
def test_migrate_command_reports_unreleased_schema(unreleased: str) -> None:
    process = subprocess.run(
        [RECEIVER, "migrate"],
        env={**os.environ, "DATABASE_URL": unreleased},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.startswith("error: The database was created by an unreleased version")
    assert "Traceback" not in process.stderr
    assert process.stdout == ""


def insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, row))
    values = sql.SQL(", ").join(map(sql.Placeholder, row))
    connection.execute(sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), columns, values), row)


def request(**overrides: Any) -> dict[str, Any]:
    """Return the row of a queued request."""
    return {
        "id": REQUEST,
        "provider": "sandbox",
        "operation": "send",
        "payload": "{}",
        "metadata": "{}",
        "status": "queued",
        "created_at": NOON,
        "deadline_at": NOON,
        "due_at": NOON,
    } | overrides


def attempt(**overrides: Any) -> dict[str, Any]:
    """Return the row of an attempt in progress."""
    return {"id": uuid4(), "request_id": REQUEST, "number": 1, "started_at": NOON} | overrides


def job(**overrides: Any) -> dict[str, Any]:
    """Return the row of an open job."""
    return {
        "id": JOB,
        "provider": "sandbox",
        "reference": "ref-1",
        "status": "accepted",
        "precedence": 10,
        "decided_at": NOON,
        "decided_by": uuid4(),
        "accepted_at": NOON,
        "deadline_at": NOON,
    } | overrides


def event(**overrides: Any) -> dict[str, Any]:
    """Return the row of an event of the open job."""
    return {
        "job_id": JOB,
        "key": uuid4(),
        "source": "callback",
        "status": "succeeded",
        "precedence": 40,
        "received_at": NOON,
    } | overrides


def callback(**overrides: Any) -> dict[str, Any]:
    """Return the row of an accepted callback."""
    return {
        "id": uuid4(),
        "identity": uuid4(),
        "provider": "sandbox",
        "received_at": NOON,
        "verdict": "accepted",
        "method": "POST",
        "target": "/callbacks/sandbox",
        "headers": "{}",
        "body": b"{}",
    } | overrides


FINISHED = {"due_at": None, "finished_at": NOON}
SENDING = {"status": "sending", "due_at": None, "leased_until": NOON}
PRECEDENCES = {"accepted": {0, 10}, "in_progress": {20}, "unresolved": {30}, "succeeded": {40, 50}, "failed": {40, 50}}
FINISHED_AT_COLUMNS = {
    status: {"finished_at": NOON if status in {"succeeded", "failed"} else None} for status in PRECEDENCES
}
VALID_ROWS = [
    ("providers", {"name": "sandbox"}),
    ("providers", {"name": "sandbox", "paused_at": NOON, "pause_reason": "401"}),
    ("providers", {"name": "sandbox", "rate": 0.5, "full_rate": 20, "rate_changed_at": NOON, "held_until": NOON}),
    ("providers", {"name": "sandbox", "failures": 20, "consecutive_openings": 1, "open_until": NOON, "probing": True}),
    ("requests", request()),
    ("requests", request(**SENDING, attempts=1)),
    ("requests", request(status="accepted", due_at=None)),
    ("requests", request(status="unknown", due_at=None)),
    ("requests", request(status="unknown", due_at=None, next_lookup_at=NOON, unknown_since=NOON)),
    *[("requests", request(status=status, **FINISHED)) for status in ("completed", "rejected", "failed", "cancelled")],
    ("requests", request(attempts=3, failures=3)),
    ("attempts", attempt()),
    ("attempts", attempt(finished_at=NOON, response_status=202)),
    ("attempts", attempt(finished_at=NOON, error="connection reset")),
    ("jobs", job(poll_at=NOON)),
    ("jobs", job(status="unresolved", precedence=30, poll_at=NOON)),
    *[
        ("jobs", job(status=status, precedence=precedence, **FINISHED_AT_COLUMNS[status]))
        for status, precedences in PRECEDENCES.items()
        for precedence in sorted(precedences | {60})
    ],
    ("events", event()),
    ("events", event(status=None, precedence=0)),
    ("callbacks", callback()),
    ("callbacks", callback(verdict="invalid", errors="{}")),
    ("callbacks", callback(verdict="duplicate", body=None)),
    ("callbacks", callback(verdict="refused")),
]
INVALID_ROWS = [
    ("providers", {"name": "sandbox", "paused_at": NOON}, "providers_pause_check"),
    ("providers", {"name": "sandbox", "pause_reason": "401"}, "providers_pause_check"),
    ("providers", {"name": "sandbox", "rate": 0}, "providers_rate_check"),
    ("providers", {"name": "sandbox", "failures": -1}, "providers_failures_check"),
    (
        "providers",
        {"name": "sandbox", "consecutive_openings": -1, "open_until": NOON},
        "providers_consecutive_openings_check",
    ),
    ("providers", {"name": "sandbox", "open_until": NOON}, "providers_openings_check"),
    ("providers", {"name": "sandbox", "consecutive_openings": 1}, "providers_openings_check"),
    ("providers", {"name": "sandbox", "probing": True}, "providers_probing_check"),
    ("requests", request(priority=10), "requests_priority_check"),
    ("requests", request(due_at=None), "requests_due_at_check"),
    ("requests", request(status="accepted"), "requests_due_at_check"),
    ("requests", request(status="unknown"), "requests_due_at_check"),
    ("requests", request(status="rejected", finished_at=NOON), "requests_due_at_check"),
    ("requests", request(status="sending", due_at=None), "requests_leased_until_check"),
    ("requests", request(leased_until=NOON), "requests_leased_until_check"),
    ("requests", request(status="accepted", due_at=None, leased_until=NOON), "requests_leased_until_check"),
    ("requests", request(finished_at=NOON), "requests_finished_at_check"),
    ("requests", request(**SENDING, finished_at=NOON), "requests_finished_at_check"),
    ("requests", request(status="accepted", **FINISHED), "requests_finished_at_check"),
    ("requests", request(status="unknown", **FINISHED), "requests_finished_at_check"),
    *[
        ("requests", request(status=status, due_at=None), "requests_finished_at_check")
        for status in ("completed", "rejected", "failed", "cancelled")
    ],
    ("requests", request(status="unknown", due_at=None, next_lookup_at=NOON), "requests_next_lookup_at_check"),
    ("requests", request(next_lookup_at=NOON, unknown_since=NOON), "requests_next_lookup_at_check"),
    ("requests", request(status="lost", due_at=None), "requests_status_check"),
    ("requests", request(payload="[]"), "requests_payload_check"),
    ("requests", request(payload="null"), "requests_payload_check"),
    ("requests", request(metadata='"text"'), "requests_metadata_check"),
    ("requests", request(next_lookup_at=NOON, unknown_since=NOON), "requests_next_lookup_at_check"),
    ("requests", request(status="unknown", due_at=None, next_lookup_at=NOON), "requests_next_lookup_at_check"),
    ("requests", request(attempts=1, failures=2), "requests_failures_check"),
    ("requests", request(attempts=1, failures=-1), "requests_failures_check"),
    ("attempts", attempt(finished_at=NOON), "attempts_outcome_check"),
    ("attempts", attempt(number=0), "attempts_number_check"),
    ("attempts", attempt(finished_at=NOON, response_status=99), "attempts_response_status_check"),
    ("attempts", attempt(finished_at=NOON, response_status=1_000), "attempts_response_status_check"),
    ("jobs", job(finished_at=NOON), "jobs_finished_at_check"),
    ("jobs", job(status="unresolved", precedence=30, finished_at=NOON), "jobs_finished_at_check"),
    ("jobs", job(status="succeeded", precedence=40), "jobs_finished_at_check"),
    ("jobs", job(status="failed", precedence=60), "jobs_finished_at_check"),
    ("jobs", job(status="failed", precedence=40, finished_at=NOON, poll_at=NOON), "jobs_poll_at_check"),
    *[
        (
            "jobs",
            job(status=status, precedence=precedence, **FINISHED_AT_COLUMNS[status]),
            "jobs_status_precedence_check",
        )
        for status, precedences in PRECEDENCES.items()
        for precedence in sorted({0, 10, 20, 30, 40, 50} - precedences)
    ],
    ("jobs", job(status="in_progress", precedence=15), "jobs_precedence_check"),
    ("jobs", job(status="delivered"), "jobs_status_check"),
    ("events", event(status=None), "events_precedence_check"),
    ("events", event(precedence=0), "events_precedence_check"),
    ("events", event(status="delivered"), "events_status_check"),
    ("events", event(source="rumour"), "events_source_check"),
    ("callbacks", callback(body=None), "callbacks_body_check"),
    ("callbacks", callback(verdict="duplicate"), "callbacks_body_check"),
    ("callbacks", callback(verdict="invalid"), "callbacks_errors_check"),
    ("callbacks", callback(verdict="maybe"), "callbacks_verdict_check"),
]


@pytest.fixture(scope="module")
def prepared_connection(server: str, template: str) -> Iterator[Connection]:
    """A migrated database with the request and the job that other rows refer to; no test leaves other rows in it."""
    with scratch_database(server, template=template) as dsn, closing(connect(dsn)) as connection:
        insert(connection, "requests", request())
        insert(connection, "jobs", job())
        yield connection


@pytest.fixture
def rolled_back(prepared_connection: Connection) -> Iterator[Connection]:
    """The shared connection within a transaction that is rolled back."""
    with prepared_connection.transaction(force_rollback=True):
        yield prepared_connection


def replace_row(connection: Connection, table: str, row: dict[str, Any]) -> None:
    """Insert a row; for a request or job, delete the existing row first."""
    if table in {"requests", "jobs"}:
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    insert(connection, table, row)


@pytest.mark.parametrize(("table", "row"), VALID_ROWS)
def test_valid_row_is_stored(rolled_back: Connection, table: str, row: dict[str, Any]) -> None:
    replace_row(rolled_back, table, row)


@pytest.mark.parametrize(("table", "row", "constraint"), INVALID_ROWS)
def test_invalid_row_violates_constraint(
    rolled_back: Connection, table: str, row: dict[str, Any], constraint: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught, rolled_back.transaction():
        replace_row(rolled_back, table, row)
    assert caught.value.diag.constraint_name == constraint


def test_every_check_constraint_has_an_invalid_row(prepared_connection: Connection) -> None:
    rows = prepared_connection.execute(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = ANY(%s::regclass[])", [list(TABLES)]
    )
    assert {name for (name,) in rows} == {constraint for _, _, constraint in INVALID_ROWS}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET status = 'succeeded', precedence = 40",
        "UPDATE jobs SET finished_at = now()",
        "UPDATE requests SET status = 'completed'",
        "UPDATE requests SET due_at = NULL",
    ],
)
def test_partial_status_update_violates_constraint(rolled_back: Connection, change: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), rolled_back.transaction():
        rolled_back.execute(change)


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("attempts", [attempt(), attempt()]),
        ("events", [event(key=UUID(int=7)), event(key=UUID(int=7), status="failed")]),
        ("callbacks", [callback(identity=UUID(int=7)), callback(identity=UUID(int=7))]),
    ],
)
def test_second_row_with_same_key_is_rejected(rolled_back: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    insert(rolled_back, table, rows[0])
    with pytest.raises(psycopg.errors.UniqueViolation), rolled_back.transaction():
        insert(rolled_back, table, rows[1])


def test_refused_and_duplicate_callbacks_may_repeat(rolled_back: Connection) -> None:
    for _ in range(2):
        insert(rolled_back, "callbacks", callback(identity=UUID(int=7), verdict="refused"))
        insert(rolled_back, "callbacks", callback(identity=UUID(int=7), verdict="duplicate", body=None))
    assert rolled_back.execute("SELECT count(*) FROM callbacks").fetchone() == (4,)


@pytest.mark.parametrize(("table", "row"), [("attempts", attempt(request_id=JOB)), ("events", event(job_id=REQUEST))])
def test_attempt_and_event_require_their_parent_row(rolled_back: Connection, table: str, row: dict[str, Any]) -> None:
    rolled_back.execute("SET CONSTRAINTS ALL IMMEDIATE")  # that of events is deferred to the commit
    with pytest.raises(psycopg.errors.ForeignKeyViolation), rolled_back.transaction():
        insert(rolled_back, table, row)


def test_scratch_database_is_dropped_despite_open_connections(server: str) -> None:
    with scratch_database(server) as dsn:
        name = conninfo_to_dict(dsn)["dbname"]
        assert name in list_databases(server)
        open_connection = connect(dsn)
    assert name not in list_databases(server)
    with closing(open_connection), pytest.raises(psycopg.OperationalError):
        open_connection.execute("SELECT 1")


def test_scratch_database_is_dropped_after_an_error(server: str) -> None:
    with suppress(ZeroDivisionError), scratch_database(server) as dsn:
        raise ZeroDivisionError
    assert conninfo_to_dict(dsn)["dbname"] not in list_databases(server)


def test_scratch_databases_are_separate_copies_of_template(server: str, template: str) -> None:
    with (
        scratch_database(server, template=template) as first_dsn,
        scratch_database(server, template=template) as second_dsn,
    ):
        with closing(connect(first_dsn)) as connection:
            insert(connection, "providers", {"name": "sandbox"})
        with closing(connect(second_dsn)) as connection:
            assert connection.execute("SELECT count(*) FROM providers").fetchone() == (0,)


def test_scratch_database_without_server_raises_unavailable(server: str) -> None:
    unreachable = make_conninfo(server, host="/nonexistent")
    with pytest.raises(StoreUnavailable), scratch_database(unreachable):
        pytest.fail("must not be reached")


def test_database_url_options_apply_to_every_connection(dsn: str) -> None:
    dsn_with_options = make_conninfo(dsn, options="-c search_path=app")
    with closing(connect(dsn_with_options)) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("app",)
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
    database = Database(dsn_with_options)
    with database.connection() as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("app",)
    database.close()
