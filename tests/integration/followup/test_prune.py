"""`prune` removes finished work completely, in batches that wait for nobody, and keeps open and recent work."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import orjson
import pytest

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.domain.audit import FindingKind
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import EventSource, JobStatus, derive_job_id
from receiver.followup.audit import Audit
from receiver.followup.prune import prune
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import parse_callback, record_callbacks
from receiver.outbound.notifications import queue_notifications
from receiver.reconcile import reconcile
from receiver.store.actions import record_action
from receiver.store.callbacks import Verdict, save_refused
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from receiver.store.keys import reserve_idempotency_key, save_response
from receiver.store.prune import FinishedWork, RemovedCounts, has_other_activity, remove_finished_work
from tests.support.factories import PUBLIC_URL, event, provider, settings
from tests.support.http import build_report, build_reports
from tests.support.processes import wait_for

DAY = 86_400.0
OLD, RECENT = -100 * DAY, -1 * DAY
TABLES = (
    "requests",
    "attempts",
    "request_metadata",
    "jobs",
    "events",
    "callbacks",
    "idempotency_keys",
    "nonces",
    "actions",
    "notification_outbox",
    "job_notification_outbox",
    "notified_jobs",
)
INSERT_REQUEST = """
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at,
        leased_until, finished_at, attempts)
    SELECT %(id)s, 'sandbox', 'send', '{}', '{"order": 7}', %(status)s, %(at)s, %(at)s,
        CASE WHEN %(status)s = 'queued' THEN %(at)s END, CASE WHEN %(status)s = 'sending' THEN %(at)s END,
        CASE WHEN %(status)s IN ('completed', 'rejected', 'failed', 'cancelled') THEN %(at)s END, 1
"""


@dataclass(frozen=True)
class Store:
    """A database with work of different ages; times are seconds relative to now."""

    connection: Connection
    database: Database
    now: datetime

    def at(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    def create_request(self, status: str, at: float = OLD) -> UUID:
        """Create a request, which ended at the same time if its status is final."""
        request_id = uuid4()
        params = {"id": request_id, "status": status, "at": self.at(at)}
        self.connection.execute(INSERT_REQUEST, params)
        self.connection.execute(
            "INSERT INTO attempts (id, request_id, number, started_at) VALUES (gen_random_uuid(), %(id)s, 1, %(at)s)",
            params,
        )
        self.connection.execute("INSERT INTO request_metadata VALUES ('order', '7', %(at)s, %(id)s)", params)
        record_action(self.connection, request_id, "retry", "somebody", None)
        return request_id

    def record_event(self, reference: str, status: JobStatus, at: float, request_id: UUID | None = None) -> None:
        """Record an event of a job, as the response to `request_id` or as a poll."""
        source = EventSource.RESPONSE if request_id else EventSource.POLL
        job_event = event(reference, status, source=source, request_id=request_id)
        reconcile(self.connection, [replace(job_event, received_at=self.at(at), poll_at=None)])

    def create_accepted_request(self, status: JobStatus = JobStatus.SUCCEEDED, at: float = OLD) -> tuple[UUID, str]:
        """Create an old accepted request, whose job has had `status` since `at`."""
        request_id, reference = self.create_request("accepted"), uuid4().hex
        self.record_event(reference, JobStatus.ACCEPTED, OLD, request_id)
        self.record_event(reference, status, at)
        return request_id, reference

    def record_callback(self, body: bytes, at: float = OLD) -> UUID:
        """Record a callback."""
        incoming = IncomingCallback("POST", "/callbacks/sandbox", {}, body, self.at(at), PUBLIC_URL)
        parsed = parse_callback(VerifiedCallback(provider(), incoming))
        record_callbacks(self.connection, parsed.events, [parsed.stored], parsed.job_ids_to_poll)
        return parsed.stored.id

    def create_key(self, response: object, at: float = OLD) -> str:
        """Create a used idempotency key."""
        client, name = "shop", uuid4().hex
        reserve_idempotency_key(self.connection, client, name, b"")
        save_response(self.connection, client, name, orjson.dumps(response), None)
        self.connection.execute("UPDATE idempotency_keys SET created_at = %s WHERE key = %s", [self.at(at), name])
        return name

    def count_rows(self) -> Mapping[str, int]:
        """Count the rows of each table; leave out empty tables."""
        counts = {table: self._count_table(table) for table in TABLES}
        return {table: number for table, number in counts.items() if number}

    def prune(self, *, dry_run: bool = False, batch_size: int = 500) -> RemovedCounts:
        """Remove work older than 90 days; check that an audit has no new findings afterwards."""
        before = self.collect_findings()
        removed = prune(self.database, 90 * DAY, dry_run=dry_run, batch_size=batch_size)
        assert self.collect_findings() <= before
        return removed

    def collect_findings(self) -> set[tuple[FindingKind, UUID]]:
        """Return the kind and id of each finding of an audit."""
        return {(finding.kind, finding.id) for batch in self.audit.run() for finding in batch}

    @property
    def audit(self) -> Audit:
        return Audit(
            self.database, ConfiguredCallbackReader(settings(self.database.dsn, Path(), {"sandbox": provider()}))
        )

    def is_blocked(self) -> bool:
        """Return whether a connection waits for a lock."""
        query = b"SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with self.database.connection() as connection:
            return connection.execute(query).fetchone() is not None

    def _count_table(self, table: str) -> int:
        row = self.connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        assert row
        return int(row[0])


@pytest.fixture
def store(shared_dsn: str) -> Iterator[Store]:
    with closing(connect(shared_dsn)) as connection, closing(Database(shared_dsn)) as database:
        connection.execute(f"TRUNCATE {', '.join(TABLES)}".encode())
        yield Store(connection, database, datetime.now(UTC))


def test_finished_work_is_removed_completely(store: Store) -> None:
    request_ids = [store.create_request(status) for status in ("completed", "rejected", "failed", "cancelled")]
    accepted_id, reference = store.create_accepted_request()
    store.record_callback(build_report(reference))
    store.record_callback(build_report(reference))
    record_action(store.connection, store.record_callback(build_report("unmatched")), "replay", "somebody", None)
    store.record_callback(b"not even JSON")
    store.create_key({"id": str(accepted_id)})
    store.create_key({"items": [{"id": str(request_id)} for request_id in request_ids]})
    before = store.count_rows()
    removed = RemovedCounts(requests=5, jobs=2, events=4, callbacks=4, idempotency_keys=2)
    assert store.prune(dry_run=True) == replace(removed, idempotency_keys=0)
    assert store.count_rows() == before
    assert store.prune(batch_size=2) == removed
    assert store.count_rows() == {}
    assert store.prune() == RemovedCounts()


@pytest.mark.parametrize("status", ["queued", "sending", "unknown"])
def test_open_or_unknown_request_is_kept(store: Store, status: str) -> None:
    request_id = store.create_request(status)
    store.create_key({"id": str(request_id)})
    before = store.count_rows()
    store.prune()
    assert store.count_rows() == before


@pytest.mark.parametrize("status", [JobStatus.ACCEPTED, JobStatus.IN_PROGRESS, JobStatus.UNRESOLVED])
def test_request_with_an_open_job_is_kept_with_all_jobs(store: Store, status: JobStatus) -> None:
    request_id, _ = store.create_accepted_request()
    store.record_event("another", status, OLD, request_id)
    before = store.count_rows()
    assert store.prune() == RemovedCounts()
    assert store.count_rows() == before


def test_request_with_a_job_to_be_notified_is_kept(store: Store) -> None:
    store.create_accepted_request()
    insert = "INSERT INTO job_notification_outbox (request_id, job_id) SELECT request_id, id FROM jobs"
    store.connection.execute(insert)
    store.connection.execute("INSERT INTO notified_jobs SELECT id, status, disputed FROM jobs")
    assert store.prune() == RemovedCounts()
    store.connection.execute("DELETE FROM job_notification_outbox")
    assert store.prune().requests == 1
    assert store.count_rows() == {}


def test_request_with_pending_notification_is_kept(store: Store) -> None:
    request_ids = [store.create_accepted_request()[0], store.create_request("failed")]
    store.connection.execute("UPDATE requests SET notify_url = 'https://shop.example/told'")
    store.connection.execute("INSERT INTO notification_outbox (request_id) SELECT id FROM requests")
    assert store.prune() == RemovedCounts()
    queue_notifications(store.database)
    assert store.prune() == RemovedCounts()
    finish_notifications = (
        "UPDATE requests SET status = 'completed', due_at = NULL, finished_at = %s WHERE provider = 'notify'"
    )
    store.connection.execute(finish_notifications, [store.at(RECENT)])
    assert store.prune().requests == len(request_ids)
    store.connection.execute(finish_notifications, [store.at(OLD)])
    store.connection.execute("UPDATE requests SET created_at = finished_at")
    assert store.prune().requests == len(request_ids)
    assert store.count_rows() == {}


def test_disputed_job_is_kept_with_its_request(store: Store) -> None:
    _, reference = store.create_accepted_request(JobStatus.SUCCEEDED)
    store.record_event(reference, JobStatus.FAILED, OLD)
    assert store.prune() == RemovedCounts()


def test_recent_work_is_kept(store: Store) -> None:
    store.create_request("completed", RECENT)
    store.create_accepted_request(at=RECENT)
    store.record_callback(build_report("unmatched"), RECENT)
    store.record_callback(b"not even JSON", RECENT)
    store.create_key({"id": str(uuid4())}, RECENT)
    assert store.prune() == RemovedCounts()


def test_accepted_request_without_job_is_kept(store: Store) -> None:
    store.create_request("accepted")
    assert store.prune() == RemovedCounts()


def test_job_with_a_recent_event_is_kept(store: Store) -> None:
    _, reference = store.create_accepted_request()
    store.record_event(reference, JobStatus.IN_PROGRESS, RECENT)
    assert store.prune() == RemovedCounts()


def test_first_delivery_is_kept_with_a_recent_duplicate(store: Store) -> None:
    store.record_callback(build_report("unmatched"), OLD)
    store.record_callback(build_report("unmatched"), OLD + 1)
    store.record_callback(build_report("unmatched"), RECENT)
    store.record_callback(b"not even JSON", OLD)
    store.record_callback(b"not even JSON", RECENT)
    assert store.prune() == RemovedCounts(callbacks=1)
    verdicts = store.connection.execute("SELECT verdict FROM callbacks ORDER BY verdict").fetchall()
    assert verdicts == [("accepted",), ("duplicate",), ("duplicate",), ("invalid",)]
    assert store.count_rows()["events"] == 1


def test_callback_is_kept_with_one_of_its_jobs(store: Store) -> None:
    _, ended_reference = store.create_accepted_request()
    _, open_reference = store.create_accepted_request(JobStatus.ACCEPTED)
    store.record_callback(
        build_reports({"id": ended_reference, "state": "DELIVERED"}, {"id": open_reference, "state": "SENT"})
    )
    assert store.prune() == RemovedCounts(requests=1, jobs=1, events=3)
    assert store.count_rows()["callbacks"] == 1


def test_idempotency_key_is_kept_with_one_of_its_requests(store: Store) -> None:
    removed_id, kept_id = store.create_request("failed"), store.create_request("unknown")
    store.create_key({"items": [{"id": str(removed_id)}, {"id": str(kept_id)}]})
    assert store.prune() == RemovedCounts(requests=1)
    assert store.count_rows()["idempotency_keys"] == 1


def test_idempotency_key_is_kept_with_the_request_of_a_tracked_job(store: Store) -> None:
    request_id = store.create_request("unknown")
    store.create_key({"id": str(uuid4()), "request_id": str(request_id)})
    assert store.prune() == RemovedCounts()


def test_refused_callbacks_are_removed_by_age(store: Store) -> None:
    for at in (OLD, RECENT):
        incoming = IncomingCallback("POST", "/callbacks/sandbox", {}, b"forged", store.at(at), PUBLIC_URL)
        stored = parse_callback(VerifiedCallback(provider(), incoming)).stored
        refused = replace(stored, verdict=Verdict.REFUSED, errors={"signature": ["no"]})
        save_refused(store.connection, [refused], max_per_provider=100)
    assert store.prune() == RemovedCounts(callbacks=1)


@pytest.mark.parametrize(
    "lock_query",
    [
        "SELECT FROM requests WHERE id = %(request)s FOR UPDATE",
        "SELECT FROM jobs WHERE id = %(job)s FOR UPDATE",
        "SELECT FROM events WHERE job_id = %(job)s FOR UPDATE",
    ],
)
def test_locked_rows_are_skipped(store: Store, shared_dsn: str, lock_query: str) -> None:
    request_id, reference = store.create_accepted_request()
    for _ in range(5):
        store.create_accepted_request()
    with closing(connect(shared_dsn)) as locker, locker.transaction():
        locker.execute(lock_query.encode(), {"request": request_id, "job": derive_job_id("sandbox", reference)})
        assert store.prune() == RemovedCounts(requests=5, jobs=5, events=10)
    assert store.prune() == RemovedCounts(requests=1, jobs=1, events=2)


def test_interrupted_prune_can_be_resumed(store: Store) -> None:
    for _ in range(4):
        _, reference = store.create_accepted_request()
        store.record_callback(build_report(reference))
    open_id, _ = store.create_accepted_request(JobStatus.ACCEPTED)
    store.create_request("failed")
    expected = RemovedCounts(requests=5, jobs=4, events=12, callbacks=4)
    progress_lines: list[str] = []

    def interrupt(line: str) -> None:
        progress_lines.append(line)
        raise KeyboardInterrupt

    for _ in range(3):
        before = store.count_rows()
        with pytest.raises(KeyboardInterrupt):
            prune(store.database, 90 * DAY, batch_size=1, report_progress=interrupt)
        assert store.count_rows()["requests"] == before["requests"] - 1
        assert store.collect_findings() == set()
    assert progress_lines == ["1 requests, 1 jobs, 3 events, 1 callbacks, 0 idempotency keys, 0 nonces"] * 3
    removed = store.prune()
    assert removed + RemovedCounts(requests=3, jobs=3, events=9, callbacks=3) == expected
    assert store.connection.execute("SELECT id FROM requests").fetchall() == [(open_id,)]


def test_concurrent_prunes_share_the_work(store: Store, shared_dsn: str) -> None:
    for _ in range(30):
        store.create_accepted_request()

    def prune_concurrently() -> RemovedCounts:
        with closing(Database(shared_dsn)) as database:
            return prune(database, 90 * DAY, batch_size=3)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: prune_concurrently(), range(2))
    assert first + second + store.prune() == RemovedCounts(requests=30, jobs=30, events=60)


def test_prune_does_not_block_incoming_events(store: Store, shared_dsn: str) -> None:
    for _ in range(40):
        store.create_accepted_request()
    origin = uuid4()

    def record_events() -> None:
        with closing(connect(shared_dsn)) as connection:
            connection.execute("SET lock_timeout = '100ms'")
            for number in range(60):
                repeated = [event(f"repeated-{job}", origin=origin) for job in range(10)]
                reconcile(connection, [*repeated, event(f"single-{number}")])

    with ThreadPoolExecutor(1) as pool:
        recording = pool.submit(record_events)
        assert store.prune(batch_size=5) == RemovedCounts(requests=40, jobs=40, events=80)
        recording.result()


def test_event_during_removal_creates_the_job_again(store: Store, shared_dsn: str) -> None:
    request_id, reference = store.create_accepted_request()
    with closing(connect(shared_dsn)) as connection, ThreadPoolExecutor(1) as pool:
        with store.connection.transaction():
            remove_finished_work(store.connection, FinishedWork([request_id], []), store.at(-90 * DAY))
            blocked = pool.submit(reconcile, connection, [event(reference)])
            wait_for(store.is_blocked)
        blocked.result(5)
    assert store.count_rows() == {"jobs": 1, "events": 1}


def test_event_before_the_lock_prevents_removal(store: Store, shared_dsn: str) -> None:
    _, reference = store.create_accepted_request()
    late = event(reference, JobStatus.IN_PROGRESS)
    with closing(connect(shared_dsn)) as connection:
        with connection.transaction():
            reconcile(connection, [late])
            assert store.prune() == RemovedCounts()
        assert store.prune() == RemovedCounts()


def test_prune_pauses_only_beside_others(store: Store) -> None:
    pauses: list[float] = []
    for _ in range(2):
        store.create_request("completed")
    assert prune(store.database, 90 * DAY, batch_size=1, sleep=pauses.append).requests == 2
    assert pauses == []

    store.create_request("completed")
    with closing(store.database.connect(limit_s=None)) as other:
        other.pgconn.send_query(b"SELECT pg_sleep(60)")
        wait_for(lambda: has_other_activity(store.connection))
        assert prune(store.database, 90 * DAY, sleep=pauses.append).requests == 1
        other.cancel_safe()
    assert pauses
    assert min(pauses) > 0.0
