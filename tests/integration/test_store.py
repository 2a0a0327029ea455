"""The schema: migrations that run at once or after a crash, states that the tables refuse, databases that pass away."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, suppress
from multiprocessing import get_context
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from receiver.store.database import Connection, Database, StoreUnavailable, connect
from receiver.store.migrate import migrate
from receiver.store.scratch import scratch_database
from tests.factories import NOON

MIGRATIONS = ["0001_baseline"]
TABLES = {"providers", "requests", "attempts", "callbacks", "jobs", "events", "notification_outbox"}
MIGRATE = "import sys; from receiver.store.migrate import migrate; migrate(sys.argv[1])"
MIGRATE_WAITS = """
    SELECT count(*) = 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'CREATE TABLE%'
"""
REQUEST, JOB = UUID(int=1), UUID(int=2)


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    """A database without any schema."""
    with scratch_database(server) as own:
        yield own


def tables(dsn: str) -> set[str]:
    with closing(connect(dsn)) as connection:
        return {
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        }


def until_true(connection: Connection, question: str) -> None:
    """Ask until the answer is true."""
    until = time.monotonic() + 20.0
    while connection.execute(question).fetchone() != (True,):
        assert time.monotonic() < until, f"never true: {question}"
        time.sleep(0.01)


def databases(dsn: str) -> set[str]:
    with closing(connect(dsn)) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def test_migrating_brings_every_table_and_then_has_nothing_to_do(empty: str) -> None:
    assert migrate(empty) == MIGRATIONS
    assert tables(empty) >= TABLES
    before = tables(empty)
    assert migrate(empty) == []
    assert tables(empty) == before


@pytest.mark.parametrize(
    "workers",
    [lambda: ThreadPoolExecutor(4), lambda: ProcessPoolExecutor(4, mp_context=get_context("spawn"))],
    ids=["threads", "processes"],
)
def test_four_that_migrate_an_empty_database_at_once_apply_each_migration_once(
    empty: str, workers: Callable[[], Executor]
) -> None:
    with workers() as pool:
        applied = list(pool.map(migrate, [empty] * 4))
    assert sorted(applied) == [[], [], [], MIGRATIONS]
    assert tables(empty) >= TABLES


def test_a_migration_that_is_killed_leaves_nothing_in_the_way_of_the_next(empty: str) -> None:
    with closing(connect(empty)) as connection, connection.transaction(force_rollback=True):
        connection.execute("CREATE TABLE providers ()")
        migrating = subprocess.Popen([sys.executable, "-c", MIGRATE, empty])
        with closing(connect(empty)) as onlooker:
            until_true(onlooker, MIGRATE_WAITS)
        migrating.kill()
        migrating.wait()
    assert migrate(empty) == MIGRATIONS
    assert tables(empty) >= TABLES


def test_a_lock_row_left_by_a_killed_migration_does_not_block_the_next(empty: str) -> None:
    with closing(connect(empty)) as connection:
        connection.execute("CREATE TABLE yoyo_lock (locked integer PRIMARY KEY, ctime timestamp, pid integer NOT NULL)")
        connection.execute("INSERT INTO yoyo_lock VALUES (1, now(), 4242)")
    assert migrate(empty) == MIGRATIONS
    assert tables(empty) >= TABLES


def test_migrating_without_a_database_is_told_as_unavailable(server: str) -> None:
    with pytest.raises(StoreUnavailable, match="does not exist"):
        migrate(make_conninfo(server, dbname="receiver_nowhere"))


def insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, row))
    values = sql.SQL(", ").join(map(sql.Placeholder, row))
    connection.execute(sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), columns, values), row)


def request(**overrides: Any) -> dict[str, Any]:
    """Give the row of a queued request."""
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
    """Give the row of an attempt under way."""
    return {"id": uuid4(), "request_id": REQUEST, "number": 1, "started_at": NOON} | overrides


def job(**overrides: Any) -> dict[str, Any]:
    """Give the row of an open job."""
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
    """Give the row of an event of the open job."""
    return {
        "job_id": JOB,
        "key": uuid4(),
        "source": "callback",
        "status": "succeeded",
        "precedence": 40,
        "received_at": NOON,
    } | overrides


def callback(**overrides: Any) -> dict[str, Any]:
    """Give the row of an accepted callback."""
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


OVER = {"due_at": None, "finished_at": NOON}
SENDING = {"status": "sending", "due_at": None, "leased_until": NOON}
WEIGHTS = {"accepted": {0, 10}, "in_progress": {20}, "unresolved": {30}, "succeeded": {40, 50}, "failed": {40, 50}}
OPEN_OR_FINISHED = {status: {"finished_at": NOON if status in {"succeeded", "failed"} else None} for status in WEIGHTS}
POSSIBLE = [
    ("providers", {"name": "sandbox"}),
    ("providers", {"name": "sandbox", "paused_at": NOON, "pause_reason": "401"}),
    ("providers", {"name": "sandbox", "rate": 0.5, "full_rate": 20, "rate_changed_at": NOON, "held_until": NOON}),
    ("providers", {"name": "sandbox", "failures": 20, "consecutive_openings": 1, "open_until": NOON, "probing": True}),
    ("requests", request()),
    ("requests", request(**SENDING, attempts=1)),
    ("requests", request(status="accepted", due_at=None)),
    ("requests", request(status="unknown", due_at=None)),
    ("requests", request(status="unknown", due_at=None, next_lookup_at=NOON, unknown_since=NOON)),
    *[("requests", request(status=status, **OVER)) for status in ("completed", "rejected", "failed", "cancelled")],
    ("requests", request(attempts=3, failures=3)),
    ("attempts", attempt()),
    ("attempts", attempt(finished_at=NOON, response_status=202)),
    ("attempts", attempt(finished_at=NOON, error="connection reset")),
    ("jobs", job(poll_at=NOON)),
    ("jobs", job(status="unresolved", precedence=30, poll_at=NOON)),
    *[
        ("jobs", job(status=status, precedence=precedence, **OPEN_OR_FINISHED[status]))
        for status, weights in WEIGHTS.items()
        for precedence in sorted(weights | {60})
    ],
    ("events", event()),
    ("events", event(status=None, precedence=0)),
    ("callbacks", callback()),
    ("callbacks", callback(verdict="invalid", errors="{}")),
    ("callbacks", callback(verdict="duplicate", body=None)),
    ("callbacks", callback(verdict="refused")),
]
IMPOSSIBLE = [
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
    ("requests", request(due_at=None), "requests_due_at_check"),
    ("requests", request(status="accepted"), "requests_due_at_check"),
    ("requests", request(status="unknown"), "requests_due_at_check"),
    ("requests", request(status="rejected", finished_at=NOON), "requests_due_at_check"),
    ("requests", request(status="sending", due_at=None), "requests_leased_until_check"),
    ("requests", request(leased_until=NOON), "requests_leased_until_check"),
    ("requests", request(status="accepted", due_at=None, leased_until=NOON), "requests_leased_until_check"),
    ("requests", request(finished_at=NOON), "requests_finished_at_check"),
    ("requests", request(**SENDING, finished_at=NOON), "requests_finished_at_check"),
    ("requests", request(status="accepted", **OVER), "requests_finished_at_check"),
    ("requests", request(status="unknown", **OVER), "requests_finished_at_check"),
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
        ("jobs", job(status=status, precedence=precedence, **OPEN_OR_FINISHED[status]), "jobs_status_precedence_check")
        for status, weights in WEIGHTS.items()
        for precedence in sorted({0, 10, 20, 30, 40, 50} - weights)
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
def peopled(server: str, template: str) -> Iterator[Connection]:
    """A migrated database with the request and the job that other rows refer to; nothing else is ever left in it."""
    with scratch_database(server, template=template) as own, closing(connect(own)) as connection:
        insert(connection, "requests", request())
        insert(connection, "jobs", job())
        yield connection


@pytest.fixture
def undone(peopled: Connection) -> Iterator[Connection]:
    """The peopled database within a transaction that is rolled back."""
    with peopled.transaction(force_rollback=True):
        yield peopled


def put(connection: Connection, table: str, row: dict[str, Any]) -> None:
    """Insert a row in the place of its namesake."""
    if table in {"requests", "jobs"}:
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    insert(connection, table, row)


@pytest.mark.parametrize(("table", "row"), POSSIBLE)
def test_a_possible_state_is_stored(undone: Connection, table: str, row: dict[str, Any]) -> None:
    put(undone, table, row)


@pytest.mark.parametrize(("table", "row", "constraint"), IMPOSSIBLE)
def test_an_impossible_state_is_refused(undone: Connection, table: str, row: dict[str, Any], constraint: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught, undone.transaction():
        put(undone, table, row)
    assert caught.value.diag.constraint_name == constraint


def test_every_check_of_the_schema_is_broken_by_a_test(peopled: Connection) -> None:
    found = peopled.execute(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = ANY(%s::regclass[])", [list(TABLES)]
    )
    assert {name for (name,) in found} == {constraint for _, _, constraint in IMPOSSIBLE}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET status = 'succeeded', precedence = 40",
        "UPDATE jobs SET finished_at = now()",
        "UPDATE requests SET status = 'completed'",
        "UPDATE requests SET due_at = NULL",
    ],
)
def test_a_state_is_guarded_against_half_a_change(undone: Connection, change: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), undone.transaction():
        undone.execute(change)


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("attempts", [attempt(), attempt()]),
        ("events", [event(key=UUID(int=7)), event(key=UUID(int=7), status="failed")]),
        ("callbacks", [callback(identity=UUID(int=7)), callback(identity=UUID(int=7))]),
    ],
)
def test_what_happened_once_is_stored_once(undone: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    insert(undone, table, rows[0])
    with pytest.raises(psycopg.errors.UniqueViolation), undone.transaction():
        insert(undone, table, rows[1])


def test_a_callback_may_be_refused_or_repeated_any_number_of_times(undone: Connection) -> None:
    for _ in range(2):
        insert(undone, "callbacks", callback(identity=UUID(int=7), verdict="refused"))
        insert(undone, "callbacks", callback(identity=UUID(int=7), verdict="duplicate", body=None))
    assert undone.execute("SELECT count(*) FROM callbacks").fetchone() == (4,)


@pytest.mark.parametrize(("table", "row"), [("attempts", attempt(request_id=JOB)), ("events", event(job_id=REQUEST))])
def test_no_attempt_is_without_its_request_and_no_event_without_its_job(
    undone: Connection, table: str, row: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation), undone.transaction():
        insert(undone, table, row)


def test_a_scratch_database_is_dropped_at_the_end_whoever_still_uses_it(server: str) -> None:
    with scratch_database(server) as own:
        name = conninfo_to_dict(own)["dbname"]
        assert name in databases(server)
        lingering = connect(own)
    assert name not in databases(server)
    with closing(lingering), pytest.raises(psycopg.OperationalError):
        lingering.execute("SELECT 1")


def test_a_scratch_database_is_dropped_when_its_use_fails(server: str) -> None:
    with suppress(ZeroDivisionError), scratch_database(server) as own:
        raise ZeroDivisionError
    assert conninfo_to_dict(own)["dbname"] not in databases(server)


def test_a_scratch_database_is_a_copy_of_its_template_and_shares_nothing_with_another(
    server: str, template: str
) -> None:
    with scratch_database(server, template=template) as one, scratch_database(server, template=template) as other:
        with closing(connect(one)) as connection:
            insert(connection, "providers", {"name": "sandbox"})
        with closing(connect(other)) as connection:
            assert connection.execute("SELECT count(*) FROM providers").fetchone() == (0,)


def test_without_a_server_a_scratch_database_is_told_as_unavailable(server: str) -> None:
    nowhere = make_conninfo(server, host="/nonexistent")
    with pytest.raises(StoreUnavailable), scratch_database(nowhere):
        pytest.fail("there is no server")


def test_options_of_the_database_url_hold_for_every_connection(dsn: str) -> None:
    own = make_conninfo(dsn, options="-c search_path=app")
    with closing(connect(own)) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("app",)
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
    pool = Database(own)
    with pool.connection() as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("app",)
    pool.close()
