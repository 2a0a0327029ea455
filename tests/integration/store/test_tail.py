"""Changes since a position: each is returned once, however late its transaction is committed."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from receiver.domain.access import OperatorAction
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import EventSource, JobStatus
from receiver.domain.sending import Response
from receiver.domain.tail import TailCursor
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import parse_callback, record_callbacks
from receiver.inbound.replay import record_replay
from receiver.outbound.track import TrackedReference, track_reference
from receiver.reconcile import reconcile
from receiver.store.connections import Connection, connect, transaction
from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import NewRequest, claim_requests, submit_requests
from receiver.store.tail import read_changes
from tests.support.factories import PUBLIC_URL, event, provider
from tests.support.http import build_report, build_reports
from tests.support.pgbouncer import pgbouncer
from tests.support.request_database import complete, record_attempts


@dataclass
class Tail:
    """A follower of a database's changes."""

    database: Database
    cursor: TailCursor

    def read(self) -> list[tuple[str, str | None]]:
        """Return the kind and status of each new change."""
        changes = read_changes(self.database, [TailCursor.parse(str(self.cursor))])
        items = [change for change in changes.items if change.is_after(self.cursor)]
        self.cursor = changes.cursor
        return sorted((change.kind, change.status) for change in items)


@pytest.fixture
def tail(database: Database) -> Tail:
    return Tail(database, read_changes(database, []).cursor)


@pytest.fixture
def other(dsn: str) -> Iterator[Connection]:
    """Another connection to the test's database."""
    with closing(connect(dsn)) as other:
        yield other


def submit(connection: Connection) -> UUID:
    request = NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 3_600.0, client="shop")
    submit_requests(connection, [request])
    return request.id


def respond(connection: Connection, response: Response) -> None:
    [attempt] = claim_requests(connection, [ProviderCapacity("sandbox", 1)], {"sandbox": 60.0})
    record_attempts(connection, [complete(provider(), attempt, response)])


def call_back(connection: Connection, body: bytes, age: float = 0.0) -> UUID:
    at = datetime.now(UTC) - timedelta(seconds=age)
    incoming = IncomingCallback("POST", "/callbacks/sandbox", {}, body, at, PUBLIC_URL)
    parsed = parse_callback(VerifiedCallback(provider(), incoming))
    record_callbacks(connection, parsed.events, [parsed.stored], parsed.job_ids_to_poll)
    return parsed.stored.id


def record_poll(connection: Connection, reference: str, status: JobStatus, age: float = 0.0) -> None:
    at = datetime.now(UTC) - timedelta(seconds=age)
    reconcile(connection, [replace(event(reference, status, source=EventSource.POLL), received_at=at)])


def test_changes_are_returned_once(connection: Connection, tail: Tail) -> None:
    assert tail.read() == []
    submit(connection)
    assert tail.read() == [("request", "queued")]
    respond(connection, Response(202, {}, b'{"items": [{"id": "ref-1", "code": 1801}]}'))
    assert tail.read() == [("job", "accepted")]
    call_back(connection, build_report("ref-1", "SENT"))
    assert tail.read() == [("callback", "accepted"), ("job", "in_progress")]
    call_back(connection, build_report("ref-1", "SENT"))
    assert tail.read() == [("callback", "duplicate")]
    record_poll(connection, "ref-1", JobStatus.SUCCEEDED)
    assert tail.read() == [("job", "succeeded")]
    assert tail.read() == []


def test_change_says_what_the_provider_reported(connection: Connection, tail: Tail, database: Database) -> None:
    call_back(connection, build_report("ref-1", "SENT"))
    invalid = call_back(connection, b"no JSON")
    changes = read_changes(database, [tail.cursor]).items
    assert {change.provider_status for change in changes} == {"SENT", None}
    assert {change.id for change in changes if change.errors} == {invalid}


def test_end_of_a_request_is_a_change(connection: Connection, tail: Tail) -> None:
    submit(connection)
    tail.read()
    respond(connection, Response(422, {}, b"{}"))
    assert tail.read() == [("request", "rejected")]
    assert tail.read() == []


def test_transaction_committed_after_its_successor_is_not_skipped(
    connection: Connection, other: Connection, tail: Tail
) -> None:
    other.execute("BEGIN")
    submit(other)
    call_back(other, build_report("ref-late"))
    record_poll(other, "ref-late-too", JobStatus.IN_PROGRESS)
    submit(connection)
    call_back(connection, build_report("ref-early"))
    assert tail.read() == [("callback", "accepted"), ("job", "succeeded"), ("request", "queued")]
    assert tail.read() == []
    other.execute("COMMIT")
    expected = [("callback", "accepted"), ("job", "in_progress"), ("job", "succeeded"), ("request", "queued")]
    assert tail.read() == expected
    assert tail.read() == []


def test_reference_tracked_late_is_not_skipped(connection: Connection, other: Connection, tail: Tail) -> None:
    operator = OperatorAction("shop", datetime.now(UTC))
    other.execute("BEGIN")
    track_reference(other, {"sandbox": provider()}, TrackedReference("sandbox", "ref-late", {}, "shop"), operator)
    submit(connection)
    assert tail.read() == [("request", "queued")]
    other.execute("COMMIT")
    assert tail.read() == [("job", "accepted"), ("request", "accepted")]
    assert tail.read() == []


def test_late_transaction_is_not_skipped_through_pgbouncer(dsn: str, connection: Connection) -> None:
    with (
        pgbouncer(dsn, "transaction") as pooled,
        closing(Database(pooled.dsn, size=2)) as database,
        closing(connect(pooled.dsn)) as other,
        closing(connect(pooled.dsn)) as second,
    ):
        tail = Tail(database, read_changes(database, []).cursor)
        with transaction(other):
            submit(other)
            call_back(other, build_report("ref-late"))
            assert tail.read() == []
            with transaction(second):
                submit(second)
            call_back(connection, build_report("ref-early"))
            assert tail.read() == [("callback", "accepted"), ("job", "succeeded"), ("request", "queued")]
        assert tail.read() == [("callback", "accepted"), ("job", "succeeded"), ("request", "queued")]
        assert tail.read() == []


def test_transaction_that_has_not_written_yet_is_waited_for(
    connection: Connection, other: Connection, tail: Tail
) -> None:
    other.execute("BEGIN")
    other.execute("SELECT now()")  # the time of all that the transaction inserts later
    submit(connection)
    assert tail.read() == [("request", "queued")]
    submit(other)
    assert tail.read() == []
    other.execute("COMMIT")
    assert tail.read() == [("request", "queued")]


def test_rows_of_a_long_transaction_are_read_when_it_ends(
    connection: Connection, other: Connection, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.store.tail._COMMIT_MARGIN", timedelta())
    other.execute("BEGIN")
    call_back(other, build_report("ref-late"))
    record_poll(other, "ref-late-too", JobStatus.IN_PROGRESS)
    for _ in range(3):
        submit(connection)
        assert tail.read() == [("request", "queued")]
    other.execute("COMMIT")
    assert tail.read() == [("callback", "accepted"), ("job", "in_progress"), ("job", "succeeded")]


def test_rolled_back_transaction_changes_nothing(other: Connection, tail: Tail) -> None:
    other.execute("BEGIN")
    submit(other)
    call_back(other, build_report("ref-1"))
    assert tail.read() == []
    other.execute("ROLLBACK")
    assert tail.read() == []


def test_status_recorded_late_is_returned(connection: Connection, tail: Tail) -> None:
    tail.read()
    record_poll(connection, "ref-1", JobStatus.SUCCEEDED, age=10.0)
    call_back(connection, build_report("ref-2"), age=10.0)
    assert tail.read() == [("callback", "accepted"), ("job", "succeeded"), ("job", "succeeded")]


def test_replay_is_a_change_whatever_its_receive_time(connection: Connection, tail: Tail) -> None:
    incoming = IncomingCallback(
        "POST", "/callbacks/sandbox", {}, build_report("ref-1"), datetime.now(UTC) - timedelta(days=5), PUBLIC_URL
    )
    parsed = parse_callback(VerifiedCallback(provider(), incoming))
    record_callbacks(connection, (), [parsed.stored], ())
    tail.read()
    with tail.database.transaction() as replaying:
        record_replay(replaying, parsed, "op", None)
        # Visible later than what is committed meanwhile.
        submit(connection)
        assert tail.read() == [("request", "queued")]
    assert tail.read() == [("callback", "accepted"), ("job", "succeeded")]
    assert tail.read() == []


def test_later_slices_of_a_large_callback_are_changes(
    connection: Connection, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.store.tail._LARGE_BODY_BYTES", 100)
    body = build_reports(*[{"id": f"ref-{number}", "state": "DELIVERED"} for number in range(4)])
    incoming = IncomingCallback("POST", "/callbacks/sandbox", {}, body, datetime.now(UTC), PUBLIC_URL)
    parsed = parse_callback(VerifiedCallback(provider(), incoming))
    record_callbacks(connection, parsed.events[:2], [parsed.stored], ())
    assert len(tail.read()) == 3
    record_callbacks(connection, parsed.events[2:], (), ())
    assert tail.read() == [("job", "succeeded")] * 2


def test_followers_at_different_positions_share_a_poll(connection: Connection, tail: Tail) -> None:
    early = tail.cursor
    submit(connection)
    tail.read()
    call_back(connection, build_report("ref-1"))
    changes = read_changes(tail.database, [early, tail.cursor])
    assert sum(change.is_after(early) for change in changes.items) == 3
    assert sum(change.is_after(tail.cursor) for change in changes.items) == 2
    assert not any(change.is_after(changes.cursor) for change in changes.items)
