"""Group commit with real threads and a real Postgres: few transactions, isolated failures, and reported losses."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import IsolationLevel, sql
from psycopg.conninfo import make_conninfo

from receiver.domain.callbacks import IncomingCallback
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import CallbackBatcher, ParsedCallback, UnreadableCallback, parse_callback, receive
from receiver.providers.capabilities import ParsedItem
from receiver.providers.sandbox import SandboxCallbacks
from receiver.store import group_commit, health
from receiver.store.callbacks import StoredCallback, Verdict
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.errors import FailureKind, StoreUnavailable, Unstorable
from receiver.store.group_commit import GroupCommit, QueueFull, close_together
from tests.support.capabilities import callbacks_of
from tests.support.factories import NOON, event, provider, report
from tests.support.http import build_report, build_reports
from tests.support.proxy import Proxy

TIMEOUT_S = 10.0
Write = Callable[[Connection, Sequence["Note"]], Sequence[int]]
Outcome = Exception | None


@dataclass(frozen=True)
class Note:
    """An item to store; Postgres rejects a NUL in its body."""

    id: int
    body: str = "text"


FIRST_NOTE = Note(0)
TERMINATE_SLEEPING = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND wait_event = 'PgSleep'
"""
COUNT_OTHER_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


COMMIT_FROM_GREENLETS = """
from gevent import monkey; monkey.patch_all()
import sys, time
from threading import Thread
from receiver.store.database import Database
from receiver.store.group_commit import GroupCommit

def arrive_and_commit(number):
    for _ in range(number):
        time.sleep(0)
    group.commit(number, timeout=10)

sizes = []
group = GroupCommit(Database(sys.argv[1]), lambda _, items: sizes.append(len(items)) or items)
threads = [Thread(target=arrive_and_commit, args=[number]) for number in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
group.close()
print(sizes)
"""


def write_notes(connection: Connection, notes: Sequence[Note]) -> Sequence[int]:
    """Store notes and return their ids."""
    rows = orjson.dumps(notes).decode()
    connection.execute(
        "INSERT INTO notes SELECT * FROM jsonb_to_recordset(%s::jsonb) AS note(id integer, body text)", [rows]
    )
    return [note.id for note in notes]


def find_note_ids(connection: Connection) -> list[int]:
    return [note_id for (note_id,) in connection.execute("SELECT id FROM notes ORDER BY id")]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.001)


def commit(group: GroupCommit[Any, Any], item: object, timeout: float = TIMEOUT_S) -> Outcome:
    """Commit an item and return what was raised, or None."""
    try:
        group.commit(item, timeout=timeout)
    except Exception as error:
        return error
    return None


@dataclass
class BlockedWrite:
    """A write function that blocks until it is released, and records the sizes of batches."""

    write: Write
    started: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    batch_sizes: list[int] = field(default_factory=list)

    def __call__(self, connection: Connection, notes: Sequence[Note]) -> Sequence[int]:
        self.batch_sizes.append(len(notes))
        self.started.set()
        assert self.released.wait(TIMEOUT_S)
        return self.write(connection, notes)


@dataclass(frozen=True)
class BlockedQueue:
    """Callers that wait while the first note, in a batch of its own, is being written."""

    group: GroupCommit[Note, int]
    write: BlockedWrite
    first: Future[Outcome]
    waiting: list[Future[Outcome]]

    def release(self) -> list[Outcome]:
        """Release the write and return the outcome of each waiting caller, in the order of the notes."""
        self.write.released.set()
        return [future.result(TIMEOUT_S) for future in self.waiting]


def count_items(_: Connection, notes: Sequence[Note]) -> Sequence[int]:
    return [len(notes)] * len(notes)


@contextmanager
def blocked_queue(
    database: Database, notes: Sequence[Note], write: Write = write_notes, **options: Any
) -> Iterator[BlockedQueue]:
    """Queue all notes while the first note, in a batch of its own, is being written."""
    blocked_write = BlockedWrite(write)
    with closing(GroupCommit(database, blocked_write, **options)) as group, ThreadPoolExecutor(len(notes) + 1) as pool:
        try:
            first = pool.submit(commit, group, FIRST_NOTE)
            assert blocked_write.started.wait(TIMEOUT_S)
            waiting = [pool.submit(commit, group, note) for note in notes]
            wait_until(lambda: group._waiting_count == 1 + len(notes))
            yield BlockedQueue(group, blocked_write, first, waiting)
        finally:
            blocked_write.released.set()


def make_notes(count: int) -> list[Note]:
    return [Note(number) for number in range(1, count + 1)]


@pytest.fixture(autouse=True)
def create_tables(connection: Connection) -> None:
    connection.execute("CREATE TABLE notes (id integer PRIMARY KEY, body text NOT NULL)")
    connection.execute("CREATE TABLE counters (id text PRIMARY KEY, n integer NOT NULL DEFAULT 0)")
    connection.execute("INSERT INTO counters VALUES ('a'), ('b')")


def test_waiting_items_are_committed_in_one_transaction(database: Database, connection: Connection) -> None:
    with blocked_queue(database, make_notes(300)) as queue:
        assert queue.release() == [None] * 300
        assert queue.write.batch_sizes == [1, 300]
    assert connection.execute("SELECT count(*), count(DISTINCT xmin::text) FROM notes").fetchone() == (301, 2)


def test_items_on_their_way_join_the_batch(dsn: str) -> None:
    command = [sys.executable, "-c", COMMIT_FROM_GREENLETS, dsn]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == "[5]\n"


def test_queued_items_have_results_once_their_batch_is_done(database: Database, connection: Connection) -> None:
    with closing(GroupCommit(database, write_notes)) as group:
        queued = [group.enqueue(note) for note in (Note(1), Note(2, "\0"))]
        for batch, _ in queued:
            assert batch.done.wait(TIMEOUT_S)
    results = [batch.results.get(position) for batch, position in queued]
    errors = [type(batch.errors.get(position)) for batch, position in queued]
    assert (results, errors) == ([1, None], [type(None), Unstorable])
    assert find_note_ids(connection) == [1]
    with pytest.raises(QueueFull):
        group.enqueue(Note(3))


def test_commit_returns_only_after_the_commit(database: Database, connection: Connection) -> None:
    lock = threading.Lock()

    def commit_and_read(group: GroupCommit[Note, int], first: int) -> None:
        for number in range(first, first + 20):
            group.commit(Note(number), timeout=TIMEOUT_S)
            with lock:
                row = connection.execute("SELECT body FROM notes WHERE id = %s", [number]).fetchone()
            assert row == ("text",)

    with closing(GroupCommit(database, write_notes)) as group, ThreadPoolExecutor(16) as pool:
        list(pool.map(partial(commit_and_read, group), range(0, 320, 20)))
    assert find_note_ids(connection) == list(range(320))


def test_commit_returns_the_result_of_its_item(database: Database) -> None:
    def commit_and_compare(group: GroupCommit[Note, int], note: Note) -> bool:
        return group.commit(note, timeout=TIMEOUT_S) == note.id

    with blocked_queue(database, [Note(99, "\0")]) as queue, ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(commit_and_compare, queue.group, note) for note in make_notes(20)]
        wait_until(lambda: queue.group._waiting_count == 22)
        assert [type(outcome) for outcome in queue.release()] == [Unstorable]
        assert all(future.result(TIMEOUT_S) for future in futures)


@pytest.mark.parametrize(
    "options", [{"max_batch": 10}, {"get_size": lambda note: len(note.body), "max_batch_bytes": 37}]
)
def test_batch_is_limited_by_items_and_bytes(
    database: Database, connection: Connection, options: dict[str, Any]
) -> None:
    with blocked_queue(database, make_notes(25), **options) as queue:
        assert queue.release() == [None] * 25
        assert queue.write.batch_sizes == [1, 10, 10, 5]
    assert find_note_ids(connection) == list(range(26))


@pytest.mark.parametrize("options", [{"max_batch": 1}, {"get_size": lambda _: 1, "max_batch_bytes": 1}])
def test_flusher_continues_after_a_full_batch(
    database: Database, connection: Connection, options: dict[str, Any]
) -> None:
    with closing(GroupCommit(database, write_notes, **options)) as group:
        assert [commit(group, note, timeout=2.0) for note in make_notes(3)] == [None] * 3
    assert find_note_ids(connection) == [1, 2, 3]


def test_flusher_continues_after_several_full_batches(database: Database, connection: Connection) -> None:
    with blocked_queue(database, make_notes(20), max_batch=10) as queue:
        assert queue.release() == [None] * 20
        assert commit(queue.group, Note(21), timeout=2.0) is None
    assert find_note_ids(connection) == list(range(22))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(invalid=st.lists(st.booleans(), min_size=1, max_size=17))
def test_only_invalid_items_of_a_batch_fail(database: Database, connection: Connection, invalid: list[bool]) -> None:
    connection.execute("TRUNCATE notes")
    notes = [Note(number, "\0" if is_invalid else "text") for number, is_invalid in enumerate(invalid, 1)]
    with blocked_queue(database, notes) as queue:
        assert [isinstance(error, Unstorable) for error in queue.release()] == invalid
    assert find_note_ids(connection) == [0] + [note.id for note in notes if note.body == "text"]


def test_only_item_beyond_a_postgres_limit_fails(database: Database, connection: Connection) -> None:
    connection.execute("CREATE INDEX ON notes (body)")
    too_long_for_an_index = "".join(uuid4().hex for _ in range(300))
    with blocked_queue(database, [*make_notes(6), Note(7, too_long_for_an_index)]) as queue:
        *other_outcomes, outcome = queue.release()
    assert other_outcomes == [None] * 6
    assert isinstance(outcome, Unstorable)
    assert find_note_ids(connection) == list(range(7))


def test_programming_error_reaches_all_callers(database: Database, connection: Connection) -> None:
    def write_with_a_mistake(connection: Connection, notes: Sequence[Note]) -> Sequence[int]:
        if any(note.id for note in notes):
            connection.execute("INSERT notes")
        return write_notes(connection, notes)

    with blocked_queue(database, make_notes(5), write_with_a_mistake) as queue:
        assert {type(error) for error in queue.release()} == {psycopg.errors.SyntaxError}
        assert queue.first.result() is None
        assert isinstance(commit(queue.group, Note(6)), psycopg.errors.SyntaxError)
    assert find_note_ids(connection) == [0]


def make_callback(reference: str, *, detail: str | None = None, **overrides: Any) -> ParsedCallback:
    """Return a parsed callback with one event."""
    columns: dict[str, Any] = {
        "id": uuid4(),
        "identity": uuid4(),
        "provider": "sandbox",
        "received_at": NOON,
        "verdict": Verdict.ACCEPTED,
        "method": "POST",
        "target": "/callbacks/sandbox",
        "headers": {"host": "localhost"},
        "body": b"{}",
    }
    callback = StoredCallback(**columns | overrides)
    return ParsedCallback(callback, [replace(event(reference, callback_id=callback.id), detail=detail)])


@pytest.mark.parametrize(
    ("invalid", "error"),
    [
        (make_callback("invalid", detail="nul \0 in text"), Unstorable),
        (make_callback("nul \0 in a reference"), Unstorable),
        (make_callback("invalid", headers={"x": "nul \0 in a header"}), Unstorable),
        (make_callback("invalid", verdict=Verdict.INVALID, errors={"size": 1 << 64}), Unstorable),
        (make_callback("invalid", headers={"x": "lone \ud800 surrogate"}), Unstorable),
        (make_callback("invalid", detail="lone \udfff surrogate"), Unstorable),
        (make_callback("invalid", id=None), psycopg.errors.NotNullViolation),
    ],
)
def test_only_callback_that_cannot_be_stored_fails(
    database: Database, connection: Connection, invalid: ParsedCallback, error: type[Exception]
) -> None:
    valid = [make_callback(f"ref-{number}") for number in range(20)]
    callbacks = [*valid[:7], invalid, *valid[7:]]
    with closing(CallbackBatcher(database)) as batcher, ThreadPoolExecutor(len(callbacks)) as pool:
        with connection.transaction():
            connection.execute("LOCK TABLE callbacks")
            futures = [pool.submit(commit, batcher, callback) for callback in callbacks]
            wait_until(lambda: batcher._waiting_count == len(callbacks))
        outcomes = [future.result(TIMEOUT_S) for future in futures]
    assert isinstance(outcomes.pop(7), error)
    assert outcomes == [None] * 20
    callback_rows = connection.execute("SELECT identity FROM callbacks").fetchall()
    assert {identity for (identity,) in callback_rows} == {item.stored.identity for item in valid}
    job_rows = connection.execute("SELECT reference FROM jobs").fetchall()
    assert {reference for (reference,) in job_rows} == {f"ref-{number}" for number in range(20)}


def test_body_of_any_bytes_is_stored_unchanged(database: Database, connection: Connection) -> None:
    body = bytes(range(256)) * 4
    with closing(CallbackBatcher(database)) as batcher:
        batcher.commit(make_callback("ref-1", body=body), timeout=TIMEOUT_S)
    assert connection.execute("SELECT body FROM callbacks").fetchall() == [(body,)]


def make_verified(body: bytes, **headers: str) -> VerifiedCallback:
    return VerifiedCallback(provider(), IncomingCallback("POST", "/callbacks/sandbox", headers, body, NOON))


def test_callbacks_of_a_batch_are_parsed_one_by_one(database: Database, connection: Connection) -> None:
    bodies = [build_report(f"ref-{number}") if number % 2 else b"no json" for number in range(10)]
    callbacks = [make_verified(body, **{"webhook-id": str(number)}) for number, body in enumerate(bodies)]
    with closing(CallbackBatcher(database)) as batcher, ThreadPoolExecutor(len(callbacks)) as pool:
        results = list(pool.map(batcher.commit, callbacks))
    assert [parsed.stored.id for parsed in results] == [verified.id for verified in callbacks]
    assert [[job_event.reference for job_event in parsed.events] for parsed in results] == [
        [f"ref-{number}"] if number % 2 else [] for number in range(10)
    ]
    rows = connection.execute("SELECT id, verdict FROM callbacks").fetchall()
    assert set(rows) == {(parsed.stored.id, parsed.stored.verdict) for parsed in results}


def test_callback_that_cannot_be_stored_is_kept_as_invalid(database: Database, connection: Connection) -> None:
    class UncheckedCallbacks(SandboxCallbacks):
        """Callbacks whose reports are not checked for what Postgres can store."""

        def parse(self, callback: IncomingCallback) -> Iterator[ParsedItem]:
            yield 0, report(detail="nul \0 in text")

    unchecked = replace(provider(), callbacks=UncheckedCallbacks(callbacks_of(provider()).settings))
    verified = replace(make_verified(b"{}"), provider=unchecked)
    with closing(CallbackBatcher(database)) as batcher, pytest.raises(UnreadableCallback) as error:
        receive(batcher, verified, timeout=TIMEOUT_S)
    assert error.value.errors["_body"][0].startswith("Cannot be stored: ")
    rows = connection.execute("SELECT verdict, errors FROM callbacks").fetchall()
    assert rows == [(Verdict.INVALID, error.value.errors)]
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)


class FailingBatcher(CallbackBatcher):
    """A batcher whose commit number `fails_at` is refused."""

    fails_at = 0

    def commit(self, item: VerifiedCallback | ParsedCallback, *, timeout: float | None = None) -> ParsedCallback:
        self.fails_at -= 1
        if self.fails_at == 0:
            raise StoreUnavailable("away")
        return super().commit(item, timeout=timeout)


def test_large_callback_is_completed_by_its_repetition(database: Database, connection: Connection) -> None:
    body = build_reports(*({"id": f"{number:>060}", "state": "DELIVERED"} for number in range(1_200)))
    verified = make_verified(body, **{"webhook-id": "1"})
    with closing(FailingBatcher(database)) as batcher:
        batcher.fails_at = 3
        with pytest.raises(StoreUnavailable):
            receive(batcher, verified, timeout=TIMEOUT_S)
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (1_000,)
        receive(batcher, replace(verified, id=uuid4()), timeout=TIMEOUT_S)
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (1_200,)
    assert connection.execute("SELECT count(*) FROM jobs WHERE status = 'succeeded'").fetchone() == (1_200,)
    verdicts = connection.execute("SELECT verdict FROM callbacks ORDER BY id").fetchall()
    assert sorted(verdict for (verdict,) in verdicts) == ["accepted", "duplicate"]


def test_others_run_while_a_large_callback_is_parsed() -> None:
    body = build_reports(*({"id": str(number), "state": "SENT"} for number in range(1_000)))
    pauses: list[None] = []
    parsed = parse_callback(make_verified(body), pause=lambda: pauses.append(None))
    assert len(parsed.events) == 1_000
    assert len(pauses) == 20


class CountingWrite:
    """A write function that increments two counters in one transaction, and calls `between` after the first."""

    deadlock_timeout = "20ms"

    def __init__(self, first: str, second: str, level: IsolationLevel, between: Callable[[int], object]) -> None:
        self.first, self.second, self.between = first, second, between
        self.level = level
        self.attempts = 0

    def __call__(self, connection: Connection, notes: Sequence[Note]) -> Sequence[None]:
        self.attempts += 1
        connection.isolation_level = self.level
        with connection.transaction():
            connection.execute(f"SET LOCAL deadlock_timeout = '{self.deadlock_timeout}'".encode())
            self.increment(connection, self.first)
            self.between(self.attempts)
            self.increment(connection, self.second)
        return [None] * len(notes)

    @staticmethod
    def increment(connection: Connection, counter: str) -> None:
        connection.execute("UPDATE counters SET n = n + 1 WHERE id = %s", [counter])


def find_counters(connection: Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT id, n FROM counters").fetchall())


def test_deadlocked_batches_are_both_committed_once(database: Database, connection: Connection) -> None:
    barrier = threading.Barrier(2)

    def wait_once(attempt: int) -> None:
        if attempt == 1:
            barrier.wait(TIMEOUT_S)

    level = IsolationLevel.READ_COMMITTED
    first_write, second_write = CountingWrite("a", "b", level, wait_once), CountingWrite("b", "a", level, wait_once)
    second_write.deadlock_timeout = "10s"  # two checks at the same time would abort both transactions
    with (
        closing(GroupCommit(database, first_write)) as first_group,
        closing(GroupCommit(database, second_write)) as second_group,
        ThreadPoolExecutor(2) as pool,
    ):
        assert list(pool.map(commit, [first_group, second_group], [FIRST_NOTE, FIRST_NOTE])) == [None, None]
    fewer, more = sorted([first_write.attempts, second_write.attempts])
    assert (fewer, more >= 2) == (1, True)  # on a busy machine the repetition may be aborted as well
    assert find_counters(connection) == {"a": 2, "b": 2}


def test_serialization_conflict_is_retried(database: Database, connection: Connection) -> None:
    def conflict_once(attempt: int) -> None:
        if attempt == 1:
            CountingWrite.increment(connection, "b")

    write = CountingWrite("a", "b", IsolationLevel.REPEATABLE_READ, conflict_once)
    with closing(GroupCommit(database, write)) as group:
        assert commit(group, FIRST_NOTE) is None
    assert write.attempts == 2
    assert find_counters(connection) == {"a": 1, "b": 2}


def test_repeated_conflicts_raise_unavailable_and_store_nothing(database: Database, connection: Connection) -> None:
    write = CountingWrite("a", "b", IsolationLevel.REPEATABLE_READ, lambda _: CountingWrite.increment(connection, "b"))
    with closing(GroupCommit(database, write)) as group:
        error = commit(group, FIRST_NOTE)
    assert isinstance(error, StoreUnavailable)
    assert "gave up after 10 conflicts" in str(error)
    assert find_counters(connection) == {"a": 0, "b": write.attempts}


def test_missing_server_raises_unavailable_for_all_callers(dsn: str) -> None:
    with (
        closing(GroupCommit(Database(make_conninfo(dsn, host="/nonexistent")), write_notes)) as group,
        ThreadPoolExecutor(5) as pool,
    ):
        outcomes = list(pool.map(partial(commit, group), make_notes(5)))
    assert {type(error) for error in outcomes} == {StoreUnavailable}


def test_unavailable_database_is_used_again_once_it_is_back(
    server: str, database: Database, connection: Connection
) -> None:
    name = sql.Identifier(connection.info.dbname)
    with closing(connect(server)) as operator, closing(GroupCommit(database, write_notes)) as group:
        operator.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        with ThreadPoolExecutor(5) as pool:
            outcomes = list(pool.map(partial(commit, group), make_notes(5)))
        assert {type(error) for error in outcomes} == {StoreUnavailable}
        operator.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        wait_until(lambda: database.health.check() is None)
        assert commit(group, Note(6)) is None
    assert find_note_ids(connection) == [6]


def test_connection_lost_during_write_repeats_the_batch(database: Database, connection: Connection) -> None:
    sleeps = [60]

    def write_slowly(connection: Connection, notes: Sequence[Note]) -> Sequence[int]:
        with connection.transaction():
            ids = write_notes(connection, notes)
            if len(notes) > 1 and sleeps:
                connection.execute("SELECT pg_sleep(%s)", [sleeps.pop()])
        return ids

    with blocked_queue(database, make_notes(10), write_slowly) as queue:
        queue.write.released.set()
        wait_until(lambda: connection.execute(TERMINATE_SLEEPING).fetchone())
        assert queue.release() == [None] * 10
        assert queue.write.batch_sizes == [1, 10, 10]
    assert find_note_ids(connection) == list(range(11))


def test_connection_that_is_lost_again_fails_the_batch(database: Database, connection: Connection) -> None:
    def end_session(connection: Connection, _: Sequence[Note]) -> Sequence[int]:
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise AssertionError("unreachable")

    with blocked_queue(database, make_notes(2), end_session) as queue:
        assert {type(error) for error in queue.release()} == {StoreUnavailable}
        assert isinstance(commit(queue.group, Note(3)), StoreUnavailable)
        assert queue.write.batch_sizes[:2] == [1, 1]
    assert find_note_ids(connection) == []


def test_commit_is_refused_at_once_while_commits_fail(server: str, database: Database, connection: Connection) -> None:
    name = sql.Identifier(connection.info.dbname)
    with closing(connect(server)) as operator, closing(GroupCommit(database, write_notes)) as group:
        operator.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        assert isinstance(commit(group, Note(1)), StoreUnavailable)
        with pytest.raises(StoreUnavailable, match="connection"):
            database.health.require_writable()
        operator.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        wait_until(lambda: database.health.check() is None)
        assert commit(group, Note(2)) is None


def test_connection_lost_while_idle_fails_no_batch(database: Database, connection: Connection) -> None:
    pids: list[int] = []

    def write(connection: Connection, notes: Sequence[Note]) -> Sequence[int]:
        pids.append(connection.info.backend_pid)
        return write_notes(connection, notes)

    with closing(GroupCommit(database, write)) as group:
        group.commit(Note(1), timeout=TIMEOUT_S)
        connection.execute("SELECT pg_terminate_backend(%s, 10000)", pids)
        assert commit(group, Note(2)) is None
    assert len(set(pids)) == 2
    assert find_note_ids(connection) == [1, 2]


def test_full_queue_rejects_items_at_once(database: Database, connection: Connection) -> None:
    with blocked_queue(database, make_notes(4), max_waiting=5, max_batch=2) as queue:
        assert isinstance(commit(queue.group, Note(9)), QueueFull)
        assert queue.release() == [None] * 4
        wait_until(lambda: queue.group._waiting_count == 0)
        assert commit(queue.group, Note(5)) is None
    assert find_note_ids(connection) == [0, 1, 2, 3, 4, 5]


def test_failed_batch_frees_its_places_in_the_queue(database: Database, connection: Connection) -> None:
    with blocked_queue(database, [Note(1, "\0"), Note(2, "\0")], max_waiting=3) as queue:
        assert {type(error) for error in queue.release()} == {Unstorable}
        wait_until(lambda: queue.group._waiting_count == 0)
        assert commit(queue.group, Note(3)) is None
    assert find_note_ids(connection) == [0, 3]


def test_close_stores_waiting_items_and_rejects_new_ones(database: Database, connection: Connection) -> None:
    with blocked_queue(database, make_notes(25), max_batch=10) as queue:
        closing_thread = threading.Thread(target=queue.group.close)
        closing_thread.start()
        wait_until(lambda: queue.group._closing)
        assert isinstance(commit(queue.group, Note(99)), QueueFull)
        assert closing_thread.is_alive()
        assert queue.release() == [None] * 25
        closing_thread.join(TIMEOUT_S)
        assert not closing_thread.is_alive()
    assert find_note_ids(connection) == list(range(26))


def test_close_leaves_no_connection_or_thread_behind(database: Database, connection: Connection) -> None:
    group = GroupCommit(database, write_notes)
    group.commit(FIRST_NOTE, timeout=TIMEOUT_S)
    group.close()
    wait_until(lambda: connection.execute(COUNT_OTHER_CONNECTIONS).fetchone() == (0,))
    assert not group._flusher.is_alive()
    group.close()


def test_close_of_unused_group_returns(database: Database) -> None:
    group = GroupCommit(database, write_notes)
    group.close()
    assert isinstance(commit(group, FIRST_NOTE), QueueFull)


def test_commit_timeout_raises_unavailable_for_that_caller_only(database: Database, connection: Connection) -> None:
    with blocked_queue(database, make_notes(3)) as queue:
        error = commit(queue.group, Note(4), timeout=0.02)
        assert isinstance(error, StoreUnavailable)
        assert "0.02 s" in str(error)
        assert queue.release() == [None] * 3
    assert find_note_ids(connection) == [0, 1, 2, 3, 4]


def test_failing_log_does_not_end_the_flusher(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    unavailable = [True]

    def write(_: Connection, notes: Sequence[Note]) -> Sequence[None]:
        if unavailable.pop():
            raise StoreUnavailable("temporarily unavailable")
        return [None] * len(notes)

    class FailingLog:
        def error(self, *_: object, **__: object) -> None:
            raise OSError("no space left on device")

    monkeypatch.setattr(health, "_log", FailingLog())
    group = GroupCommit(database, write)
    assert isinstance(commit(group, FIRST_NOTE), StoreUnavailable)
    unavailable.append(False)
    monkeypatch.undo()
    wait_until(lambda: database.health.check() is None)
    assert commit(group, FIRST_NOTE) is None
    group.close()


def test_batch_on_a_silent_connection_is_committed_on_another(dsn: str, connection: Connection) -> None:
    with (
        Proxy(dsn) as proxy,
        closing(Database(proxy.dsn)) as database,
        closing(GroupCommit(database, write_notes, limit_s=0.3)) as group,
    ):
        assert commit(group, Note(1)) is None
        proxy.silence()
        assert commit(group, Note(2)) is None
        assert database.health.error_counts[FailureKind.TIMED_OUT] == 1
        assert database.health.check() is None
    assert find_note_ids(connection) == [1, 2]


def test_callback_whose_commit_lost_its_reply_is_stored_once(dsn: str, connection: Connection) -> None:
    verified = make_callback("ref-1")
    with Proxy(dsn) as proxy, closing(Database(proxy.dsn)) as database, closing(CallbackBatcher(database)) as batcher:
        is_cut = proxy.cut_after(b"ref-1")
        batcher.commit(verified, timeout=TIMEOUT_S)
        assert is_cut.is_set()
    assert connection.execute("SELECT verdict FROM callbacks").fetchall() == [("accepted",)]
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_silent_server_fails_new_items_at_once(dsn: str) -> None:
    with (
        Proxy(make_conninfo(dsn, connect_timeout=2)) as proxy,
        closing(Database(proxy.dsn)) as database,
        closing(GroupCommit(database, write_notes, limit_s=0.3)) as group,
    ):
        assert commit(group, Note(1)) is None
        proxy.stall()
        assert isinstance(commit(group, Note(2), timeout=TIMEOUT_S), StoreUnavailable)
        started_at = time.monotonic()
        assert isinstance(commit(group, Note(3), timeout=TIMEOUT_S), StoreUnavailable)
        assert time.monotonic() - started_at < 0.1
        proxy.go()
        wait_until(lambda: commit(group, Note(4)) is None)


def test_items_that_do_not_decide_health_fail_alone(database: Database, connection: Connection) -> None:
    with (
        closing(GroupCommit(database, write_notes, limit_s=0.2, decides_health=False)) as group,
        closing(GroupCommit(database, count_items)) as other_group,
        connection.transaction(),
    ):
        connection.execute("LOCK TABLE notes")
        assert isinstance(commit(group, Note(1), timeout=TIMEOUT_S), StoreUnavailable)
        assert database.health.problem is None
        assert commit(other_group, Note(2)) is None


def test_close_gives_a_silent_connection_up(dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "_CLOSE_TIMEOUT_S", 0.2)
    with Proxy(dsn) as proxy, closing(Database(proxy.dsn)) as database, ThreadPoolExecutor(1) as pool:
        group = GroupCommit(database, write_notes, limit_s=20.0)
        assert commit(group, Note(1)) is None
        proxy.silence()
        waiting = pool.submit(commit, group, Note(2))
        wait_until(lambda: group.waiting)
        started_at = time.monotonic()
        group.close()
        assert time.monotonic() - started_at < 2.0
        assert waiting.result(TIMEOUT_S) is None
    assert find_note_ids(connection) == [1, 2]


def test_groups_are_closed_together(dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    count, timeout_s = 8, 1.0
    monkeypatch.setattr(group_commit, "_CLOSE_TIMEOUT_S", timeout_s)
    with Proxy(dsn) as proxy, closing(Database(proxy.dsn)) as database, ThreadPoolExecutor(count) as pool:
        groups = [GroupCommit(database, write_notes, limit_s=20.0) for _ in range(count)]
        assert {commit(group, Note(number)) for number, group in enumerate(groups)} == {None}
        proxy.silence()
        waiting = [pool.submit(commit, group, Note(number)) for number, group in enumerate(groups, start=count)]
        wait_until(lambda: all(group.waiting for group in groups))
        started_at = time.monotonic()
        close_together(*groups)
        assert time.monotonic() - started_at < count * timeout_s  # which they take one after another
        assert {result.result(TIMEOUT_S) for result in waiting} == {None}
    assert find_note_ids(connection) == list(range(2 * count))


def test_oldest_commit_age_is_that_of_the_first_waiting_item(database: Database) -> None:
    with blocked_queue(database, make_notes(3)) as queue:
        time.sleep(0.1)
        assert 0.1 <= database.health.oldest_commit_age < 5.0
        queue.release()
        assert database.health.oldest_commit_age == 0.0


def test_idle_connection_is_closed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "_MAX_IDLE_S", 0.05)
    with closing(GroupCommit(database, write_notes)) as group:
        assert commit(group, Note(1)) is None
        wait_until(lambda: group._connection is None)
        assert commit(group, Note(2)) is None
