"""Group commit with real threads on a real Postgres: few transactions, culprits alone, losses told, none forgotten."""

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
from receiver.inbound.receive import CallbackBatcher, ParsedCallback, VerifiedCallback
from receiver.store import group_commit
from receiver.store.callbacks import StoredCallback, Verdict
from receiver.store.database import Connection, StoreUnavailable, Unstorable, connect
from receiver.store.group_commit import GroupCommit, QueueFull
from tests.factories import NOON, event, provider

PATIENCE = 10.0
Write = Callable[[Connection, Sequence["Note"]], None]
Outcome = Exception | None


@dataclass(frozen=True)
class Note:
    """Something to store; `NUL` in its body is poison to Postgres."""

    id: int
    body: str = "well"


PRIMER = Note(0)
TERMINATE_THE_LINGERING = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND wait_event = 'PgSleep'
"""
OTHERS_CONNECTED = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def write_notes(connection: Connection, notes: Sequence[Note]) -> None:
    given = orjson.dumps(notes).decode()
    connection.execute(
        "INSERT INTO notes SELECT * FROM jsonb_to_recordset(%s::jsonb) AS n(id integer, body text)", [given]
    )


def stored(connection: Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT id FROM notes ORDER BY id")]


def until(true: Callable[[], object]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def outcome(group: GroupCommit[Any], item: object, timeout: float = PATIENCE) -> Outcome:
    """Commit and give what was raised."""
    try:
        group.commit(item, timeout=timeout)
    except Exception as error:
        return error
    return None


@dataclass
class Gate:
    """Lets nobody write until it is opened, and counts what is written at once."""

    write: Write
    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)

    def __call__(self, connection: Connection, notes: Sequence[Note]) -> None:
        self.batches.append(len(notes))
        self.entered.set()
        assert self.opened.wait(PATIENCE)
        self.write(connection, notes)


@dataclass(frozen=True)
class Crowd:
    """Callers that wait behind a primer, which stands at the gate."""

    group: GroupCommit[Note]
    admission: Gate
    primer: Future[Outcome]
    waiting: list[Future[Outcome]]

    def outcomes(self) -> list[Outcome]:
        """Open the gate and give what became of each caller, in the order of the notes."""
        self.admission.opened.set()
        return [future.result(PATIENCE) for future in self.waiting]


@contextmanager
def crowd(dsn: str, notes: Sequence[Note], write: Write = write_notes, **options: Any) -> Iterator[Crowd]:
    """Have every note wait in the queue while a primer, alone in its batch, is being written."""
    admission = Gate(write)
    with closing(GroupCommit(dsn, admission, **options)) as group, ThreadPoolExecutor(len(notes) + 1) as pool:
        try:
            primer = pool.submit(outcome, group, PRIMER)
            assert admission.entered.wait(PATIENCE)
            waiting = [pool.submit(outcome, group, note) for note in notes]
            until(lambda: group._waiting_count == 1 + len(notes))
            yield Crowd(group, admission, primer, waiting)
        finally:
            admission.opened.set()


def some(count: int) -> list[Note]:
    return [Note(number) for number in range(1, count + 1)]


@pytest.fixture(autouse=True)
def tables(connection: Connection) -> None:
    connection.execute("CREATE TABLE notes (id integer PRIMARY KEY, body text NOT NULL)")
    connection.execute("CREATE TABLE counters (id text PRIMARY KEY, n integer NOT NULL DEFAULT 0)")
    connection.execute("INSERT INTO counters VALUES ('a'), ('b')")


def test_all_that_wait_are_committed_in_one_transaction(dsn: str, connection: Connection) -> None:
    with crowd(dsn, some(300)) as callers:
        assert callers.outcomes() == [None] * 300
        assert callers.admission.batches == [1, 300]
    assert connection.execute("SELECT count(*), count(DISTINCT xmin::text) FROM notes").fetchone() == (301, 2)


def test_nobody_returns_before_the_commit(dsn: str, connection: Connection) -> None:
    lock = threading.Lock()

    def commit_and_look(group: GroupCommit[Note], first: int) -> None:
        for number in range(first, first + 20):
            group.commit(Note(number), timeout=PATIENCE)
            with lock:
                row = connection.execute("SELECT body FROM notes WHERE id = %s", [number]).fetchone()
            assert row == ("well",)

    with closing(GroupCommit(dsn, write_notes)) as group, ThreadPoolExecutor(16) as pool:
        list(pool.map(partial(commit_and_look, group), range(0, 320, 20)))
    assert stored(connection) == list(range(320))


@pytest.mark.parametrize("options", [{"max_batch": 10}, {"size_of": lambda note: len(note.body), "max_batch_size": 37}])
def test_a_transaction_takes_only_so_much(dsn: str, connection: Connection, options: dict[str, Any]) -> None:
    with crowd(dsn, some(25), **options) as callers:
        assert callers.outcomes() == [None] * 25
        assert callers.admission.batches == [1, 10, 10, 5]
    assert stored(connection) == list(range(26))


@pytest.mark.parametrize("options", [{"max_batch": 1}, {"size_of": lambda _: 1, "max_batch_size": 1}])
def test_a_batch_that_is_just_full_is_not_the_last(dsn: str, connection: Connection, options: dict[str, Any]) -> None:
    with closing(GroupCommit(dsn, write_notes, **options)) as group:
        assert [outcome(group, note, timeout=2.0) for note in some(3)] == [None] * 3
    assert stored(connection) == [1, 2, 3]


def test_a_crowd_that_just_fills_its_batches_leaves_the_flusher_at_work(dsn: str, connection: Connection) -> None:
    with crowd(dsn, some(20), max_batch=10) as callers:
        assert callers.outcomes() == [None] * 20
        assert outcome(callers.group, Note(21), timeout=2.0) is None
    assert stored(connection) == list(range(22))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(poisonous=st.lists(st.booleans(), min_size=1, max_size=17))
def test_whichever_items_are_poison_they_alone_fail(dsn: str, connection: Connection, poisonous: list[bool]) -> None:
    connection.execute("TRUNCATE notes")
    notes = [Note(number, "\0" if poison else "well") for number, poison in enumerate(poisonous, 1)]
    with crowd(dsn, notes) as callers:
        assert [isinstance(error, Unstorable) for error in callers.outcomes()] == poisonous
    assert stored(connection) == [0] + [note.id for note in notes if note.body == "well"]


def test_what_exceeds_a_limit_of_postgres_fails_alone(dsn: str, connection: Connection) -> None:
    connection.execute("CREATE INDEX ON notes (body)")
    too_long_for_an_index = "".join(uuid4().hex for _ in range(300))
    with crowd(dsn, [*some(6), Note(7, too_long_for_an_index)]) as callers:
        *neighbours, culprit = callers.outcomes()
    assert neighbours == [None] * 6
    assert isinstance(culprit, Unstorable)
    assert stored(connection) == list(range(7))


def test_a_fault_of_the_program_reaches_every_caller_and_the_flusher_lives_on(dsn: str, connection: Connection) -> None:
    def misspelt(connection: Connection, notes: Sequence[Note]) -> None:
        if any(note.id for note in notes):
            connection.execute("INSERT INTO knots VALUES (1)")
        write_notes(connection, notes)

    with crowd(dsn, some(5), misspelt) as callers:
        assert {type(error) for error in callers.outcomes()} == {psycopg.errors.UndefinedTable}
        assert callers.primer.result() is None
        assert isinstance(outcome(callers.group, Note(6)), psycopg.errors.UndefinedTable)
    assert stored(connection) == [0]


def arrival(reference: str, *, detail: str | None = None, **overrides: Any) -> VerifiedCallback:
    """Give a delivery that was read as a made-up callback with its one event."""
    given: dict[str, Any] = {
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
    callback = StoredCallback(**given | overrides)
    arriving = VerifiedCallback(provider(), IncomingCallback("POST", "/callbacks/sandbox", {}, callback.body, NOON))
    said = replace(event(reference, callback_id=callback.id), detail=detail)
    arriving.received = ParsedCallback(callback, [said])
    return arriving


@pytest.mark.parametrize(
    ("poison", "error"),
    [
        (arrival("poison", detail="nul \0 in text"), Unstorable),
        (arrival("nul \0 in a reference"), Unstorable),
        (arrival("poison", headers={"x": "nul \0 in a header"}), Unstorable),
        (arrival("poison", verdict=Verdict.INVALID, errors={"size": 1 << 64}), Unstorable),
        (arrival("poison", headers={"x": "lone \ud800 surrogate"}), Unstorable),
        (arrival("poison", detail="lone \udfff surrogate"), Unstorable),
        (arrival("poison", id=None), psycopg.errors.NotNullViolation),
    ],
)
def test_a_delivery_that_cannot_be_stored_fails_alone(
    dsn: str, connection: Connection, poison: VerifiedCallback, error: type[Exception]
) -> None:
    neighbours = [arrival(f"ref-{number}") for number in range(20)]
    crowded = [*neighbours[:7], poison, *neighbours[7:]]
    with closing(CallbackBatcher(dsn)) as inbox, ThreadPoolExecutor(len(crowded)) as pool:
        with connection.transaction():
            connection.execute("LOCK TABLE callbacks")
            told = [pool.submit(outcome, inbox, arriving) for arriving in crowded]
            until(lambda: inbox._waiting_count == len(crowded))
        outcomes = [future.result(PATIENCE) for future in told]
    assert isinstance(outcomes.pop(7), error)
    assert outcomes == [None] * 20
    kept = connection.execute("SELECT identity FROM callbacks").fetchall()
    assert {identity for (identity,) in kept} == {arriving.received.callback.identity for arriving in neighbours}
    jobs = connection.execute("SELECT reference FROM jobs").fetchall()
    assert {reference for (reference,) in jobs} == {f"ref-{number}" for number in range(20)}


def test_a_body_of_any_bytes_is_kept_as_it_came(dsn: str, connection: Connection) -> None:
    body = bytes(range(256)) * 4
    with closing(CallbackBatcher(dsn)) as inbox:
        inbox.commit(arrival("ref-1", body=body), timeout=PATIENCE)
    assert connection.execute("SELECT body FROM callbacks").fetchall() == [(body,)]


class Counting:
    """Adds to both counters, one after the other, in one transaction; in between, at each try, something happens."""

    def __init__(self, first: str, second: str, level: IsolationLevel, between: Callable[[int], object]) -> None:
        self.first, self.second, self.between = first, second, between
        self.level = level
        self.tries = 0

    def __call__(self, connection: Connection, notes: Sequence[Note]) -> None:
        self.tries += 1
        connection.isolation_level = self.level
        with connection.transaction():
            connection.execute("SET LOCAL deadlock_timeout = '20ms'")
            self.add(connection, self.first)
            self.between(self.tries)
            self.add(connection, self.second)

    @staticmethod
    def add(connection: Connection, counter: str) -> None:
        connection.execute("UPDATE counters SET n = n + 1 WHERE id = %s", [counter])


def counters(connection: Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT id, n FROM counters").fetchall())


def test_two_that_deadlock_are_both_committed_once(dsn: str, connection: Connection) -> None:
    meeting = threading.Barrier(2)

    def meet_once(tries: int) -> None:
        if tries == 1:
            meeting.wait(PATIENCE)

    level = IsolationLevel.READ_COMMITTED
    forth, back = Counting("a", "b", level, meet_once), Counting("b", "a", level, meet_once)
    with (
        closing(GroupCommit(dsn, forth)) as one,
        closing(GroupCommit(dsn, back)) as other,
        ThreadPoolExecutor(2) as pool,
    ):
        assert list(pool.map(outcome, [one, other], [PRIMER, PRIMER])) == [None, None]
    assert sorted([forth.tries, back.tries]) == [1, 2]
    assert counters(connection) == {"a": 2, "b": 2}


def test_a_serialization_conflict_is_tried_again(dsn: str, connection: Connection) -> None:
    def overtake_once(tries: int) -> None:
        if tries == 1:
            Counting.add(connection, "b")

    write = Counting("a", "b", IsolationLevel.REPEATABLE_READ, overtake_once)
    with closing(GroupCommit(dsn, write)) as group:
        assert outcome(group, PRIMER) is None
    assert write.tries == 2
    assert counters(connection) == {"a": 1, "b": 2}


def test_conflicts_without_end_are_told_as_unavailable_and_store_nothing(dsn: str, connection: Connection) -> None:
    write = Counting("a", "b", IsolationLevel.REPEATABLE_READ, lambda _: Counting.add(connection, "b"))
    with closing(GroupCommit(dsn, write)) as group:
        error = outcome(group, PRIMER)
    assert isinstance(error, StoreUnavailable)
    assert "gave up after 10 conflicts" in str(error)
    assert counters(connection) == {"a": 0, "b": write.tries}


def test_without_a_server_all_who_wait_are_told(dsn: str) -> None:
    with (
        closing(GroupCommit(make_conninfo(dsn, host="/nonexistent"), write_notes)) as group,
        ThreadPoolExecutor(5) as pool,
    ):
        told = list(pool.map(partial(outcome, group), some(5)))
    assert {type(error) for error in told} == {StoreUnavailable}


def test_a_database_that_is_away_is_told_to_all_who_wait_and_used_again_once_it_is_back(
    server: str, dsn: str, connection: Connection
) -> None:
    name = sql.Identifier(connection.info.dbname)
    with closing(connect(server)) as operator, closing(GroupCommit(dsn, write_notes)) as group:
        operator.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        with ThreadPoolExecutor(5) as pool:
            told = list(pool.map(partial(outcome, group), some(5)))
        assert {type(error) for error in told} == {StoreUnavailable}
        operator.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        assert outcome(group, Note(6)) is None
    assert stored(connection) == [6]


def test_a_connection_lost_in_the_middle_is_told_to_all_in_the_batch_and_replaced(
    dsn: str, connection: Connection
) -> None:
    def linger(connection: Connection, notes: Sequence[Note]) -> None:
        with connection.transaction():
            write_notes(connection, notes)
            if len(notes) > 1:
                connection.execute("SELECT pg_sleep(60)")

    with crowd(dsn, some(10), linger) as callers:
        callers.admission.opened.set()
        until(lambda: connection.execute(TERMINATE_THE_LINGERING).fetchone())
        assert {type(error) for error in callers.outcomes()} == {StoreUnavailable}
        assert outcome(callers.group, Note(11)) is None
        assert callers.admission.batches == [1, 10, 1]
    assert stored(connection) == [0, 11]


def test_a_connection_lost_while_idle_costs_one_batch_at_most(dsn: str, connection: Connection) -> None:
    pids: list[int] = []

    def write(connection: Connection, notes: Sequence[Note]) -> None:
        pids.append(connection.info.backend_pid)
        write_notes(connection, notes)

    with closing(GroupCommit(dsn, write)) as group:
        group.commit(Note(1), timeout=PATIENCE)
        connection.execute("SELECT pg_terminate_backend(%s, 10000)", pids)
        assert isinstance(outcome(group, Note(2)), StoreUnavailable | None)
        assert outcome(group, Note(3)) is None
    assert len(set(pids)) == 2
    assert stored(connection)[-1] == 3


def test_more_than_may_wait_are_turned_away_at_once_and_those_that_wait_are_stored(
    dsn: str, connection: Connection
) -> None:
    with crowd(dsn, some(4), max_waiting=5, max_batch=2) as callers:
        assert isinstance(outcome(callers.group, Note(9)), QueueFull)
        assert callers.outcomes() == [None] * 4
        until(lambda: callers.group._waiting_count == 0)
        assert outcome(callers.group, Note(5)) is None
    assert stored(connection) == [0, 1, 2, 3, 4, 5]


def test_a_failed_batch_makes_room_again(dsn: str, connection: Connection) -> None:
    with crowd(dsn, [Note(1, "\0"), Note(2, "\0")], max_waiting=3) as callers:
        assert {type(error) for error in callers.outcomes()} == {Unstorable}
        until(lambda: callers.group._waiting_count == 0)
        assert outcome(callers.group, Note(3)) is None
    assert stored(connection) == [0, 3]


def test_closing_stores_all_that_wait_and_takes_no_more(dsn: str, connection: Connection) -> None:
    with crowd(dsn, some(25), max_batch=10) as callers:
        closer = threading.Thread(target=callers.group.close)
        closer.start()
        until(lambda: callers.group._closing)
        assert isinstance(outcome(callers.group, Note(99)), QueueFull)
        assert closer.is_alive()
        assert callers.outcomes() == [None] * 25
        closer.join(PATIENCE)
        assert not closer.is_alive()
    assert stored(connection) == list(range(26))


def test_closing_leaves_no_connection_and_no_thread_behind(dsn: str, connection: Connection) -> None:
    group = GroupCommit(dsn, write_notes)
    group.commit(PRIMER, timeout=PATIENCE)
    group.close()
    until(lambda: connection.execute(OTHERS_CONNECTED).fetchone() == (0,))
    assert not group._flusher.is_alive()
    group.close()


def test_closing_one_that_was_never_used_is_quick(dsn: str) -> None:
    group = GroupCommit(dsn, write_notes)
    group.close()
    assert isinstance(outcome(group, PRIMER), QueueFull)


def test_whoever_waits_too_long_is_told_that_it_is_unknown_and_the_rest_is_not_harmed(
    dsn: str, connection: Connection
) -> None:
    with crowd(dsn, some(3)) as callers:
        error = outcome(callers.group, Note(4), timeout=0.02)
        assert isinstance(error, StoreUnavailable)
        assert "0.02 s" in str(error)
        assert callers.outcomes() == [None] * 3
    assert stored(connection) == [0, 1, 2, 3, 4]


def test_a_log_that_cannot_be_written_does_not_end_the_flusher(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    away = [True]

    def write(_: Connection, __: Sequence[Note]) -> None:
        if away.pop():
            raise StoreUnavailable("away for a moment")

    class FullDisk:
        def warning(self, *_: object, **__: object) -> None:
            raise OSError("no space left on device")

    monkeypatch.setattr(group_commit, "_log", FullDisk())
    group = GroupCommit(dsn, write)
    assert isinstance(outcome(group, PRIMER), StoreUnavailable)
    away.append(False)
    assert outcome(group, PRIMER) is None
    group.close()
