"""Finished work is removed whole, in batches that wait for nobody; what is open, in doubt or young stays."""

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
from receiver.inbound.receive import parse_callback, record_callbacks
from receiver.outbound.notifications import queue_notifications
from receiver.reconcile import reconcile
from receiver.store.actions import record_action
from receiver.store.callbacks import Verdict, save_refused
from receiver.store.database import Connection, Database, connect
from receiver.store.keys import reserve_idempotency_key, save_response
from receiver.store.prune import FinishedWork, RemovedCounts, remove_finished_work
from receiver.store.scratch import scratch_database
from tests.factories import PUBLIC_URL, event, provider, settings
from tests.http import results, says
from tests.processes import wait_for

DAY = 86_400.0
OLD, YOUNG = -100 * DAY, -1 * DAY
TABLES = (
    "requests",
    "attempts",
    "request_metadata",
    "jobs",
    "events",
    "callbacks",
    "idempotency_keys",
    "actions",
    "notification_outbox",
)
REQUEST = """
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at,
        leased_until, finished_at, attempts)
    SELECT %(id)s, 'sandbox', 'send', '{}', '{"order": 7}', %(status)s, %(at)s, %(at)s,
        CASE WHEN %(status)s = 'queued' THEN %(at)s END, CASE WHEN %(status)s = 'sending' THEN %(at)s END,
        CASE WHEN %(status)s IN ('completed', 'rejected', 'failed', 'cancelled') THEN %(at)s END, 1
"""


@dataclass(frozen=True)
class Store:
    """A database with work of many ages; times are seconds from now."""

    connection: Connection
    database: Database
    now: datetime

    def at(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    def request(self, status: str, at: float = OLD) -> UUID:
        """A request that was made, and ended if it is over, at a time."""
        request = uuid4()
        given = {"id": request, "status": status, "at": self.at(at)}
        self.connection.execute(REQUEST, given)
        self.connection.execute(
            "INSERT INTO attempts (id, request_id, number, started_at) VALUES (gen_random_uuid(), %(id)s, 1, %(at)s)",
            given,
        )
        self.connection.execute("INSERT INTO request_metadata VALUES ('order', '7', %(at)s, %(id)s)", given)
        record_action(self.connection, request, "retry", "somebody", None)
        return request

    def says(self, reference: str, status: JobStatus, at: float, request: UUID | None = None) -> None:
        """Something is said of a job, in answer to a request if there is one."""
        source = EventSource.RESPONSE if request else EventSource.POLL
        said = event(reference, status, source=source, request_id=request)
        reconcile(self.connection, [replace(said, received_at=self.at(at), poll_at=None)])

    def taken(self, status: JobStatus = JobStatus.SUCCEEDED, at: float = OLD) -> tuple[UUID, str]:
        """An old request that was accepted, whose job has a status since a time."""
        request, reference = self.request("accepted"), uuid4().hex
        self.says(reference, JobStatus.ACCEPTED, OLD, request)
        self.says(reference, status, at)
        return request, reference

    def callback(self, body: bytes, at: float = OLD) -> UUID:
        """A callback came."""
        incoming = IncomingCallback("POST", "/callbacks/sandbox", {}, body, self.at(at), PUBLIC_URL)
        received = parse_callback(provider(), incoming)
        record_callbacks(self.connection, received.events, [received.callback], received.asked)
        return received.callback.id

    def key(self, response: object, at: float = OLD) -> str:
        """An idempotency key was used."""
        client, key = "shop", uuid4().hex
        reserve_idempotency_key(self.connection, client, key, b"")
        save_response(self.connection, client, key, orjson.dumps(response), None)
        self.connection.execute("UPDATE idempotency_keys SET created_at = %s WHERE key = %s", [self.at(at), key])
        return key

    def counts(self) -> Mapping[str, int]:
        """How many rows there are, without tables that have none."""
        counted = {table: self._count(table) for table in TABLES}
        return {table: count for table, count in counted.items() if count}

    def prune(self, *, dry_run: bool = False, at_once: int = 500) -> RemovedCounts:
        """Remove what is older than 90 days; an audit must find nothing afterwards that it did not find before."""
        before = self.findings()
        removed = prune(self.database, 90 * DAY, dry_run=dry_run, at_once=at_once)
        assert self.findings() <= before
        return removed

    def findings(self) -> set[tuple[FindingKind, UUID]]:
        """What an audit finds."""
        return {(finding.kind, finding.id) for findings in self.audited.run() for finding in findings}

    @property
    def audited(self) -> Audit:
        return Audit(
            self.database, ConfiguredCallbackReader(settings(self.database.dsn, Path(), {"sandbox": provider()}))
        )

    def somebody_waits(self) -> bool:
        """Whether a connection waits for what another one holds."""
        query = b"SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with self.database.connection() as connection:
            return connection.execute(query).fetchone() is not None

    def _count(self, table: str) -> int:
        row = self.connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        assert row
        return int(row[0])


@pytest.fixture(scope="module")
def shared(server: str, template: str) -> Iterator[str]:
    with scratch_database(server, template=template) as dsn:
        yield dsn


@pytest.fixture
def store(shared: str) -> Iterator[Store]:
    with closing(connect(shared)) as connection, closing(Database(shared)) as database:
        connection.execute(f"TRUNCATE {', '.join(TABLES)}".encode())
        yield Store(connection, database, datetime.now(UTC))


def test_finished_work_is_removed_whole_and_the_second_time_there_is_nothing_to_do(store: Store) -> None:
    requests = [store.request(status) for status in ("completed", "rejected", "failed", "cancelled")]
    taken, reference = store.taken()
    store.callback(says(reference))
    store.callback(says(reference))
    record_action(store.connection, store.callback(says("unmatched")), "replay", "somebody", None)
    store.callback(b"not even JSON")
    store.key({"id": str(taken)})
    store.key({"items": [{"id": str(request)} for request in requests]})
    before = store.counts()
    removed = RemovedCounts(requests=5, jobs=2, events=4, callbacks=4, idempotency_keys=2)
    assert store.prune(dry_run=True) == replace(removed, idempotency_keys=0)
    assert store.counts() == before
    assert store.prune(at_once=2) == removed
    assert store.counts() == {}
    assert store.prune() == RemovedCounts()


@pytest.mark.parametrize("status", ["queued", "sending", "unknown"])
def test_a_request_that_is_open_or_in_doubt_stays_however_old(store: Store, status: str) -> None:
    request = store.request(status)
    store.key({"id": str(request)})
    before = store.counts()
    store.prune()
    assert store.counts() == before


@pytest.mark.parametrize("status", [JobStatus.ACCEPTED, JobStatus.IN_PROGRESS, JobStatus.UNRESOLVED])
def test_a_request_one_of_whose_jobs_is_open_stays_with_all_of_them(store: Store, status: JobStatus) -> None:
    request, _ = store.taken()
    store.says("another", status, OLD, request)
    before = store.counts()
    assert store.prune() == RemovedCounts()
    assert store.counts() == before


def test_what_is_still_to_be_told_stays_until_it_is_told(store: Store) -> None:
    requests = [store.taken()[0], store.request("failed")]
    store.connection.execute("UPDATE requests SET notify_url = 'https://shop.example/told'")
    store.connection.execute("INSERT INTO notification_outbox (request_id) SELECT id FROM requests")
    assert store.prune() == RemovedCounts()
    queue_notifications(store.database)
    assert store.prune() == RemovedCounts()
    told = "UPDATE requests SET status = 'completed', due_at = NULL, finished_at = %s WHERE provider = 'notify'"
    store.connection.execute(told, [store.at(YOUNG)])
    assert store.prune().requests == len(requests)
    store.connection.execute(told, [store.at(OLD)])
    store.connection.execute("UPDATE requests SET created_at = finished_at")
    assert store.prune().requests == len(requests)
    assert store.counts() == {}


def test_a_disputed_job_stays_with_its_request(store: Store) -> None:
    _, reference = store.taken(JobStatus.SUCCEEDED)
    store.says(reference, JobStatus.FAILED, OLD)
    assert store.prune() == RemovedCounts()


def test_what_is_young_stays(store: Store) -> None:
    store.request("completed", YOUNG)
    store.taken(at=YOUNG)
    store.callback(says("unmatched"), YOUNG)
    store.callback(b"not even JSON", YOUNG)
    store.key({"id": str(uuid4())}, YOUNG)
    assert store.prune() == RemovedCounts()


def test_an_accepted_request_without_a_job_stays(store: Store) -> None:
    store.request("accepted")
    assert store.prune() == RemovedCounts()


def test_a_job_that_something_was_said_of_lately_stays(store: Store) -> None:
    _, reference = store.taken()
    store.says(reference, JobStatus.IN_PROGRESS, YOUNG)
    assert store.prune() == RemovedCounts()


def test_a_first_delivery_stays_as_long_as_one_of_its_repetitions(store: Store) -> None:
    store.callback(says("unmatched"), OLD)
    store.callback(says("unmatched"), OLD + 1)
    store.callback(says("unmatched"), YOUNG)
    store.callback(b"not even JSON", OLD)
    store.callback(b"not even JSON", YOUNG)
    assert store.prune() == RemovedCounts(callbacks=1)
    kept = store.connection.execute("SELECT verdict FROM callbacks ORDER BY verdict").fetchall()
    assert kept == [("accepted",), ("duplicate",), ("duplicate",), ("invalid",)]
    assert store.counts()["events"] == 1


def test_a_callback_stays_as_long_as_one_of_its_jobs(store: Store) -> None:
    _, ended = store.taken()
    _, open_one = store.taken(JobStatus.ACCEPTED)
    store.callback(results({"id": ended, "state": "DELIVERED"}, {"id": open_one, "state": "SENT"}))
    assert store.prune() == RemovedCounts(requests=1, jobs=1, events=3)
    assert store.counts()["callbacks"] == 1


def test_a_key_stays_as_long_as_one_of_its_requests(store: Store) -> None:
    gone, kept = store.request("failed"), store.request("unknown")
    store.key({"items": [{"id": str(gone)}, {"id": str(kept)}]})
    assert store.prune() == RemovedCounts(requests=1)
    assert store.counts()["idempotency_keys"] == 1


def test_refused_callbacks_go_by_their_age(store: Store) -> None:
    for at in (OLD, YOUNG):
        incoming = IncomingCallback("POST", "/callbacks/sandbox", {}, b"forged", store.at(at), PUBLIC_URL)
        refused = replace(
            parse_callback(provider(), incoming).callback, verdict=Verdict.REFUSED, errors={"signature": ["no"]}
        )
        save_refused(store.connection, [refused], max_per_provider=100)
    assert store.prune() == RemovedCounts(callbacks=1)


@pytest.mark.parametrize(
    "held",
    [
        "SELECT FROM requests WHERE id = %(request)s FOR UPDATE",
        "SELECT FROM jobs WHERE id = %(job)s FOR UPDATE",
        "SELECT FROM events WHERE job_id = %(job)s FOR UPDATE",
    ],
)
def test_what_somebody_else_holds_is_passed_by(store: Store, shared: str, held: str) -> None:
    request, reference = store.taken()
    for _ in range(5):
        store.taken()
    with closing(connect(shared)) as own, own.transaction():
        own.execute(held.encode(), {"request": request, "job": derive_job_id("sandbox", reference)})
        assert store.prune() == RemovedCounts(requests=5, jobs=5, events=10)
    assert store.prune() == RemovedCounts(requests=1, jobs=1, events=2)


def test_it_can_be_stopped_anywhere_and_begun_again(store: Store) -> None:
    for _ in range(4):
        _, reference = store.taken()
        store.callback(says(reference))
    open_request, _ = store.taken(JobStatus.ACCEPTED)
    store.request("failed")
    everything = RemovedCounts(requests=5, jobs=4, events=12, callbacks=4)
    told: list[str] = []

    def stop(said: str) -> None:
        told.append(said)
        raise KeyboardInterrupt

    for _ in range(3):
        before = store.counts()
        with pytest.raises(KeyboardInterrupt):
            prune(store.database, 90 * DAY, at_once=1, tell=stop)
        assert store.counts()["requests"] == before["requests"] - 1
        assert store.findings() == set()
    assert told == ["1 requests, 1 jobs, 3 events, 1 callbacks, 0 idempotency keys"] * 3
    removed = store.prune()
    assert removed + RemovedCounts(requests=3, jobs=3, events=9, callbacks=3) == everything
    assert store.connection.execute("SELECT id FROM requests").fetchall() == [(open_request,)]


def test_two_that_prune_at_once_share_the_work(store: Store, shared: str) -> None:
    for _ in range(30):
        store.taken()

    def prune_too() -> RemovedCounts:
        with closing(Database(shared)) as database:
            return prune(database, 90 * DAY, at_once=3)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: prune_too(), range(2))
    assert first + second + store.prune() == RemovedCounts(requests=30, jobs=30, events=60)


def test_callbacks_are_taken_meanwhile(store: Store, shared: str) -> None:
    for _ in range(40):
        store.taken()
    origin = uuid4()

    def storm() -> None:
        with closing(connect(shared)) as own:
            own.execute("SET lock_timeout = '100ms'")
            for number in range(60):
                repeated = [event(f"fresh-{n}", origin=origin) for n in range(10)]
                reconcile(own, [*repeated, event(f"more-{number}")])

    with ThreadPoolExecutor(1) as pool:
        storming = pool.submit(storm)
        assert store.prune(at_once=5) == RemovedCounts(requests=40, jobs=40, events=80)
        storming.result()


def test_a_word_that_comes_while_its_job_is_removed_makes_the_job_anew(store: Store, shared: str) -> None:
    request, reference = store.taken()
    with closing(connect(shared)) as own, ThreadPoolExecutor(1) as pool:
        with store.connection.transaction():
            remove_finished_work(store.connection, FinishedWork([request], []), store.at(-90 * DAY))
            waiting = pool.submit(reconcile, own, [event(reference)])
            wait_for(store.somebody_waits)
        waiting.result(5)
    assert store.counts() == {"jobs": 1, "events": 1}


def test_a_word_that_came_just_before_its_job_was_locked_keeps_it(store: Store, shared: str) -> None:
    _, reference = store.taken()
    late = event(reference, JobStatus.IN_PROGRESS)
    with closing(connect(shared)) as own:
        with own.transaction():
            reconcile(own, [late])
            assert store.prune() == RemovedCounts()
        assert store.prune() == RemovedCounts()
