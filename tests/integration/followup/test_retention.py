"""Retention erases what is personal once its time has ended, and leaves all that proves a status."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.errors import StateConflict
from receiver.domain.jobs import EventSource, JobStatus
from receiver.domain.retention import Retention, RetentionKind
from receiver.followup.audit import Audit
from receiver.followup.retention import apply_retention, apply_retentions, list_retentions
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import parse_callback, record_callbacks
from receiver.operations.requests import retry
from receiver.reconcile import reconcile
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.requests import find_requests
from receiver.store.retention import ProviderRetention
from tests.support.factories import PUBLIC_URL, event, provider, settings
from tests.support.http import build_report

DAY_S = 86_400.0
TABLES = "requests, attempts, jobs, events, callbacks, actions, retention_progress, retention_queue"
INSERT_REQUEST = """
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at,
        finished_at, attempts)
    SELECT %(id)s, 'sandbox', 'send', '{"to": "marker"}', '{"order": 7}', %(status)s, %(created_at)s, now(),
        CASE WHEN %(status)s = 'queued' THEN now() END, %(finished_at)s, 1
"""
INSERT_ATTEMPT = """
    INSERT INTO attempts (id, request_id, number, started_at, finished_at, response_status, response_headers,
        response_body)
    VALUES (gen_random_uuid(), %(id)s, 1, %(created_at)s, %(created_at)s, 202, '{"x-to": "marker"}', 'marker')
"""


@dataclass(frozen=True)
class Store:
    """A database with requests and callbacks of several ages, in days."""

    connection: Connection
    database: Database

    def create_request(self, status: str, age: float, finished: float | None = None) -> UUID:
        """Create a request that is `age` days old and was finished `finished` days ago."""
        request_id, now = uuid4(), datetime.now(UTC)
        params = {
            "id": request_id,
            "status": status,
            "created_at": now - timedelta(days=age),
            "finished_at": None if finished is None else now - timedelta(days=finished),
        }
        self.connection.execute(INSERT_REQUEST, params)
        self.connection.execute(INSERT_ATTEMPT, params)
        return request_id

    def record_event(self, request_id: UUID, status: JobStatus, age: float, reference: str | None = None) -> None:
        """Record a job of a request, which got its status `age` days ago."""
        at = (datetime.now(UTC) - timedelta(days=age) - event().received_at).total_seconds()
        job_event = event(
            reference or uuid4().hex, status, at=at, source=EventSource.RESPONSE, request_id=request_id, poll_after=0.0
        )
        reconcile(self.connection, [job_event])

    def record_callback(self, body: bytes, age: float) -> UUID:
        """Record a callback that was received `age` days ago."""
        at = datetime.now(UTC) - timedelta(days=age)
        headers = {"x-marker": "marker"}
        incoming = IncomingCallback("POST", "/callbacks/sandbox?to=marker", headers, body, at, PUBLIC_URL, "192.0.2.1")
        parsed = parse_callback(VerifiedCallback(provider(), incoming))
        record_callbacks(self.connection, parsed.events, [parsed.stored], parsed.job_ids_to_poll)
        return parsed.stored.id

    def apply(self, kind: RetentionKind = RetentionKind.PAYLOADS, days: float = 30.0) -> int:
        """Apply a retention; return the number of erased rows."""
        return apply_retention(self.database, ProviderRetention("sandbox", kind, days * DAY_S)).erased

    def make_queue_due(self) -> None:
        self.connection.execute("UPDATE retention_queue SET check_at = now()")

    def find_with_payload(self) -> set[UUID]:
        return {row[0] for row in self.connection.execute("SELECT id FROM requests WHERE payload IS NOT NULL")}

    def find_column(self, query: str) -> list[Any]:
        return [value for (value,) in self.connection.execute(query.encode())]

    def assert_audit_finds_nothing(self) -> None:
        reader = ConfiguredCallbackReader(settings(self.database.dsn, Path(), {"sandbox": provider()}))
        assert [finding for batch in Audit(self.database, reader).run() for finding in batch] == []


@pytest.fixture
def store(shared_dsn: str) -> Iterator[Store]:
    with closing(connect(shared_dsn)) as connection, closing(Database(shared_dsn)) as database:
        connection.execute(f"TRUNCATE {TABLES}, request_metadata CASCADE".encode())
        yield Store(connection, database)


def test_payload_is_erased_after_its_retention(store: Store) -> None:
    old = store.create_request("completed", 40, 31)
    kept = {store.create_request("completed", 40, 29), store.create_request("failed", 20, 20)}
    assert store.apply() == 1
    assert store.find_with_payload() == kept
    [request] = find_requests(store.connection, [old])
    assert (request.status, request.metadata, request.payload) == ("completed", {"order": 7}, None)
    assert request.erased_at is not None
    assert store.find_column("SELECT DISTINCT response_body FROM attempts") == [b"marker"]
    store.assert_audit_finds_nothing()


@pytest.mark.parametrize("status", ["queued", "unknown"])
def test_payload_of_an_open_request_is_kept(store: Store, status: str) -> None:
    store.create_request(status, 400)
    assert (store.apply(), store.apply()) == (0, 0)
    assert len(store.find_with_payload()) == 1


def test_accepted_request_counts_from_the_end_of_its_last_job(store: Store) -> None:
    ended, recent, running = (store.create_request("accepted", 50) for _ in range(3))
    for request_id, age, status in (
        (ended, 40, JobStatus.SUCCEEDED),
        (recent, 20, JobStatus.FAILED),
        (running, 40, JobStatus.IN_PROGRESS),
    ):
        store.record_event(request_id, JobStatus.SUCCEEDED, 45)
        store.record_event(request_id, status, age)
    assert store.apply() == 1
    assert store.find_with_payload() == {recent, running}
    store.make_queue_due()
    assert store.apply() == 0
    assert store.find_column("SELECT count(*) FROM retention_queue WHERE check_at > now()") == [2]


def test_request_that_finishes_later_is_erased_then(store: Store) -> None:
    request_id = store.create_request("accepted", 50)
    store.record_event(request_id, JobStatus.ACCEPTED, 50, "late")
    assert store.apply() == 0
    # A replay has the receive time of its callback, which may be long ago.
    store.record_event(request_id, JobStatus.SUCCEEDED, 40, "late")
    store.make_queue_due()
    assert store.apply() == 1
    assert store.find_column("SELECT count(*) FROM retention_queue") == [0]


def test_retention_of_zero_erases_at_once(store: Store) -> None:
    store.create_request("completed", 0.001, 0.0)
    assert store.apply(days=0.0) == 1


def test_request_that_is_committed_late_is_not_passed_over(store: Store) -> None:
    late = store.create_request("completed", 0.0, 0.0)
    store.connection.execute("UPDATE requests SET created_at = now() - interval '30 seconds'")
    with store.connection.transaction():
        # Inserted by a transaction that began first, and committed after a younger request was examined.
        store.connection.execute("SELECT FROM requests")
        young = store.create_request("completed", 0.0, 0.0)
        assert store.apply(days=0.0) == 0
    store.connection.execute("UPDATE requests SET created_at = created_at - interval '60 seconds'")
    assert store.apply(days=0.0) == 2
    assert {late, young}.isdisjoint(store.find_with_payload())


def test_responses_are_erased_and_their_statuses_stay(store: Store) -> None:
    store.create_request("completed", 40, 31)
    store.create_request("completed", 40, 29)
    assert store.apply(RetentionKind.RESPONSES) == 1
    rows = store.connection.execute(
        "SELECT response_status, response_headers IS NULL, response_body IS NULL FROM attempts ORDER BY 2"
    )
    assert rows.fetchall() == [(202, False, False), (202, True, True)]
    assert len(store.find_with_payload()) == 2


def test_raw_data_of_callbacks_is_erased(store: Store) -> None:
    report = build_report("ref-of-old")
    old, duplicate = store.record_callback(report, 40), store.record_callback(report, 31)
    malformed = store.record_callback(b'{"no": "report"}', 35)
    recent = store.record_callback(build_report("ref-of-recent"), 29)
    assert store.apply(RetentionKind.BODIES) == 3
    rows = store.connection.execute(
        "SELECT id, verdict, target, headers, body, caller_address, erased_at IS NOT NULL FROM callbacks"
        " WHERE id <> %s ORDER BY received_at",
        [recent],
    )
    assert rows.fetchall() == [
        (old, "accepted", "", {}, b"", None, True),
        (malformed, "invalid", "", {}, b"", None, True),
        (duplicate, "duplicate", "", {}, None, None, True),
    ]
    assert store.find_column("SELECT count(*) FROM events") == [2]
    assert "marker" not in str(store.find_column(f"SELECT errors FROM callbacks WHERE id = '{malformed}'"))
    store.assert_audit_finds_nothing()
    assert store.apply(RetentionKind.BODIES) == 0


def test_duplicate_of_an_erased_callback_is_recognized(store: Store) -> None:
    report = build_report("ref-again")
    store.record_callback(report, 40)
    store.apply(RetentionKind.BODIES)
    store.record_callback(report, 0)
    assert store.find_column("SELECT verdict FROM callbacks ORDER BY received_at") == ["accepted", "duplicate"]
    assert store.find_column("SELECT count(*) FROM events") == [1]


def test_request_without_payload_cannot_be_retried(store: Store) -> None:
    request_id = store.create_request("failed", 40, 31)
    [before] = find_requests(store.connection, [request_id])
    store.apply()
    [request] = find_requests(store.connection, [request_id])
    with pytest.raises(StateConflict, match="was erased"):
        retry(store.connection, request, provider(), "operator", None)
    # The retry that had read the request before it was erased.
    with pytest.raises(StateConflict):
        retry(store.connection, before, provider(), "operator", None)
    assert store.find_column("SELECT status FROM requests") == ["failed"]


def test_request_retried_meanwhile_keeps_its_payload(store: Store) -> None:
    request_id = store.create_request("failed", 40, 31)
    with ThreadPoolExecutor(1) as pool, store.connection.transaction():
        [request] = find_requests(store.connection, [request_id])
        retry(store.connection, request, provider(), "operator", None)
        assert pool.submit(store.apply).result(5) == 0  # it does not wait for the lock
    assert store.apply() == 0
    assert store.find_with_payload() == {request_id}


def test_batches_continue_where_the_last_one_ended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.followup.retention._BATCH_SIZE", 2)
    for age in range(35, 40):
        store.create_request("completed", age, age)
        store.record_callback(build_report(f"ref-{age}"), age)
    assert [store.apply() for _ in range(4)] == [2, 2, 1, 0]
    assert [store.apply(RetentionKind.BODIES) for _ in range(4)] == [2, 2, 1, 0]


def test_retentions_of_all_providers_are_applied(store: Store) -> None:
    store.create_request("completed", 40, 31)
    store.record_callback(build_report("ref"), 40)
    providers = {"sandbox": provider(retention=Retention(payloads=DAY_S, bodies=DAY_S)), "other": provider()}
    retentions = list_retentions(providers)
    assert [(each.kind, each.seconds) for each in retentions] == [("payloads", DAY_S), ("bodies", DAY_S)]
    assert apply_retentions(store.database, retentions) >= 5.0
    assert store.find_with_payload() == set()
    assert store.find_column("SELECT body FROM callbacks") == [b""]


def test_only_one_worker_examines_the_same_data(store: Store) -> None:
    store.create_request("completed", 40, 31)
    store.apply(days=300.0)
    with store.connection.transaction():
        store.connection.execute("SELECT FROM retention_progress FOR UPDATE")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(store.apply).result(5) == 0
    assert store.apply() == 1
