"""`Audit` finds exactly each kind of corruption, repairs what is proven, and finds nothing in valid histories."""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.devtools.scratch import scratch_database
from receiver.domain.audit import Finding, FindingKind
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, derive_job_id
from receiver.domain.sending import REFERENCE_CONFLICT_DETAIL
from receiver.followup.audit import Audit
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import parse_callback, record_callbacks
from receiver.reconcile import reconcile
from receiver.store.actions import record_action
from receiver.store.connections import Connection, connect
from receiver.store.database import Database
from tests.integration.test_reconcile import batches, feed_batch
from tests.support.factories import NOON, PUBLIC_URL, event, provider
from tests.support.factories import settings as build_settings
from tests.support.http import build_report

JOB = derive_job_id("sandbox", "ref-1")
REQUEST = UUID(int=7)
INSERT_REQUEST = """
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at,
        leased_until, finished_at, attempts, detail)
    SELECT %(id)s, 'sandbox', 'send', '{}', '{}', %(status)s, %(at)s, %(at)s,
        CASE WHEN %(status)s = 'queued' THEN %(at)s END, CASE WHEN %(status)s = 'sending' THEN %(leased_until)s END,
        CASE WHEN %(status)s IN ('completed', 'rejected', 'failed', 'cancelled') THEN %(at)s END, %(attempts)s,
        %(detail)s
"""
INSERT_ATTEMPT = """
    INSERT INTO attempts (id, request_id, number, started_at, finished_at, response_status, error)
    VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, 'none')
"""


@dataclass(frozen=True)
class AuditedDatabase:
    """A database to corrupt and audit."""

    dsn: str
    connection: Connection
    database: Database
    reader: ConfiguredCallbackReader

    def execute(self, statement: str, *params: object) -> None:
        self.connection.execute(statement.encode(), list(params))

    def drop_constraints(self, table: str, *constraints: str) -> None:
        """Drop constraints, so that rows can be stored that violate them."""
        for constraint in constraints:
            self.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")

    def create_job(self) -> None:
        """Create a job of a request: accepted, in progress, then failed by a callback and by a poll."""
        self.create_request("accepted")
        reconcile(
            self.connection,
            [
                event(status=JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=REQUEST, at=1),
                event(status=JobStatus.IN_PROGRESS, at=2),
                event(status=JobStatus.FAILED, at=3),
                event(status=JobStatus.FAILED, source=EventSource.POLL, at=4),
            ],
        )

    def create_request(
        self,
        status: str,
        *attempts: int | None,
        identity: UUID = REQUEST,
        counted: int | None = None,
        lease: float = 60.0,
        detail: str | None = None,
    ) -> None:
        """Create a request with one attempt per response status; they start at noon, one minute apart."""
        params = {
            "id": identity,
            "status": status,
            "at": NOON,
            "attempts": len(attempts or (202,)) if counted is None else counted,
            "leased_until": NOON + timedelta(seconds=lease),
            "detail": detail,
        }
        self.connection.execute(INSERT_REQUEST, params)
        for number, response in enumerate(attempts or (202,), 1):
            started_at = NOON + timedelta(minutes=number - 1)
            self.connection.execute(INSERT_ATTEMPT, [identity, number, started_at, started_at, response])

    def audit(self, *, fix: bool = False, name: str | None = None) -> list[Finding]:
        audit = Audit(self.database, self.reader, fix=fix, provider=name)
        return [finding for findings in audit.run() for finding in findings]

    def fetch_value(self, query: str) -> object:
        row = self.connection.execute(query.encode()).fetchone()
        return row and row[0]


@contextmanager
def open_database(dsn: str) -> Iterator[AuditedDatabase]:
    provider_settings = build_settings(dsn, Path(), {"sandbox": provider()})
    with closing(connect(dsn)) as connection, closing(Database(dsn)) as database:
        yield AuditedDatabase(dsn, connection, database, ConfiguredCallbackReader(provider_settings))


@pytest.fixture(scope="module")
def audited_database(server: str, template: str) -> Iterator[AuditedDatabase]:
    with scratch_database(server, template=template) as dsn, open_database(dsn) as store:
        yield store


@pytest.fixture
def store(audited_database: AuditedDatabase) -> AuditedDatabase:
    """Return the shared database, emptied."""
    audited_database.execute("TRUNCATE requests, jobs, callbacks, actions, notification_outbox CASCADE")
    return audited_database


@pytest.fixture
def unconstrained(dsn: str) -> Iterator[AuditedDatabase]:
    """Return a database of the test's own, whose constraints it may drop."""
    with open_database(dsn) as store:
        yield store


def build_incoming(body: bytes) -> IncomingCallback:
    return IncomingCallback("POST", "/callbacks/sandbox", {"content-type": "application/json"}, body, NOON, PUBLIC_URL)


@pytest.mark.parametrize(
    ("kind", "corruption", "stored", "proven"),
    [
        (FindingKind.STATUS, "status = 'succeeded'", "succeeded", "failed"),
        (FindingKind.PRECEDENCE, "precedence = 50", "50", "40"),
        (FindingKind.DISPUTED, "disputed = true", "yes", "no"),
        (
            FindingKind.ACCEPTED_AT,
            "accepted_at = accepted_at + interval '1 s'",
            "2026-11-23T12:00:02Z",
            "2026-11-23T12:00:01Z",
        ),
        (
            FindingKind.FINISHED_AT,
            "finished_at = finished_at + interval '1 s'",
            "2026-11-23T12:00:04Z",
            "2026-11-23T12:00:03Z",
        ),
        (FindingKind.DECIDED, "decided_at = decided_at + interval '1 s'", None, None),
        (FindingKind.DECIDED, "decided_by = gen_random_uuid()", None, None),
        (FindingKind.DECIDED, "decided_position = decided_position + 1", None, None),
        (FindingKind.REQUEST, "request_id = NULL", "none", str(REQUEST)),
        (FindingKind.REQUEST, "request_id = gen_random_uuid()", None, str(REQUEST)),
    ],
)
def test_job_column_differing_from_its_events_is_repaired(
    store: AuditedDatabase, kind: FindingKind, corruption: str, stored: str | None, proven: str | None
) -> None:
    store.create_job()
    before = store.fetch_value("SELECT to_jsonb(jobs) FROM jobs")
    store.execute(f"UPDATE jobs SET {corruption}")
    if kind is FindingKind.REQUEST:
        # Otherwise the request is a finding too, as it has no job.
        store.execute("UPDATE requests SET conflict_deadline_at = now()")
    [finding] = store.audit()
    assert (finding.kind, finding.id, finding.provider, finding.fixed) == (kind, JOB, "sandbox", False)
    assert stored in (None, finding.stored)
    assert proven in (None, finding.proven)
    [fixed] = store.audit(fix=True)
    assert (fixed.kind, fixed.fixed) == (kind, True)
    assert store.audit() == []
    assert store.fetch_value("SELECT to_jsonb(jobs) FROM jobs") == before


def test_poll_of_a_final_job_is_repaired(unconstrained: AuditedDatabase) -> None:
    unconstrained.create_job()
    unconstrained.drop_constraints("jobs", "jobs_poll_at_check")
    unconstrained.execute("UPDATE jobs SET poll_at = now()")
    [finding] = unconstrained.audit()
    assert (finding.kind, finding.id, finding.proven) == (FindingKind.POLLED, JOB, "never")
    assert unconstrained.audit(fix=True)[0].fixed
    assert unconstrained.audit() == []


def test_job_wrongly_stored_as_final_is_reopened_and_polled(store: AuditedDatabase) -> None:
    reconcile(store.connection, [event(status=JobStatus.ACCEPTED)])
    store.execute("UPDATE jobs SET status = 'failed', precedence = 40, finished_at = decided_at, poll_at = NULL")
    assert {finding.kind for finding in store.audit(fix=True)} == {
        FindingKind.STATUS,
        FindingKind.PRECEDENCE,
        FindingKind.FINISHED_AT,
    }
    assert store.audit() == []
    assert store.fetch_value("SELECT status = 'accepted' AND poll_at <= now() FROM jobs")


def test_job_without_events_is_reported_only(store: AuditedDatabase) -> None:
    reconcile(store.connection, [event()])
    store.execute("DELETE FROM events")
    for fix in (False, True):
        [finding] = store.audit(fix=fix)
        assert (finding.kind, finding.id, finding.proven, finding.fixed) == (FindingKind.NO_EVENT, JOB, None, False)


def test_request_id_without_an_event_is_reported_only(store: AuditedDatabase) -> None:
    reconcile(store.connection, [event()])
    store.execute("UPDATE jobs SET request_id = %s", REQUEST)
    for fix in (False, True):
        [finding] = store.audit(fix=fix)
        assert (finding.kind, finding.proven, finding.fixed) == (FindingKind.REQUEST, None, False)


def test_job_id_not_derived_from_reference_is_reported_only(store: AuditedDatabase) -> None:
    reconcile(store.connection, [event()])
    store.execute("UPDATE jobs SET reference = 'another'")
    for fix in (False, True):
        [finding] = store.audit(fix=fix)
        assert (finding.kind, finding.id, finding.fixed) == (FindingKind.IDENTITY, JOB, False)


@pytest.mark.parametrize(
    ("source", "status", "wrong", "right"),
    [("callback", "in_progress", 40, 20), ("response", "accepted", 35, 10), ("operator", "failed", 40, 60)],
)
def test_impossible_event_precedence_is_repaired(
    store: AuditedDatabase, source: str, status: str, wrong: int, right: int
) -> None:
    reconcile(store.connection, [event(status=JobStatus(status), source=EventSource(source))])
    store.execute("UPDATE events SET precedence = %s", wrong)
    [finding] = store.audit()
    assert (finding.kind, finding.id, finding.proven) == (FindingKind.EVENT_PRECEDENCE, JOB, f"precedence {right}")
    [fixed] = store.audit(fix=True)
    assert (fixed.kind, fixed.fixed) == (FindingKind.EVENT_PRECEDENCE, True)
    assert store.fetch_value("SELECT precedence FROM events") == right
    assert store.audit() == []


def test_ambiguous_event_precedence_is_reported_only(store: AuditedDatabase) -> None:
    reconcile(store.connection, [event(status=JobStatus.FAILED)])
    store.execute("UPDATE events SET precedence = 10")
    for fix in (False, True):
        [finding] = store.audit(fix=fix)
        assert (finding.kind, finding.proven, finding.fixed) == (
            FindingKind.EVENT_PRECEDENCE,
            "precedence 40 or 50",
            False,
        )
    assert store.fetch_value("SELECT precedence FROM jobs") == 40


def test_event_and_its_job_are_repaired_together(unconstrained: AuditedDatabase) -> None:
    unconstrained.drop_constraints("events", "events_precedence_check")
    reconcile(unconstrained.connection, [event(status=JobStatus.IN_PROGRESS, at=1), event(status=JobStatus.ACCEPTED)])
    unconstrained.execute("UPDATE events SET precedence = 0 WHERE status = 'in_progress'")
    unconstrained.execute("UPDATE jobs SET status = 'accepted', precedence = 10")
    kinds = {finding.kind for finding in unconstrained.audit(fix=True)}
    assert kinds == {FindingKind.EVENT_PRECEDENCE, FindingKind.STATUS, FindingKind.PRECEDENCE}
    assert unconstrained.audit() == []


def record_job_event(store: AuditedDatabase, *, source: EventSource = EventSource.CALLBACK, at: float = 600.0) -> None:
    """Record an event of a job that belongs to the request, `at` seconds after noon."""
    reconcile(store.connection, [event(source=source, request_id=REQUEST, at=at)])


def record_retry(store: AuditedDatabase, at: float) -> None:
    """Record a manual retry of the request, `at` seconds after noon."""
    record_action(store.connection, REQUEST, "retry", "somebody", None)
    store.execute("UPDATE actions SET created_at = %s", NOON + timedelta(seconds=at))


@pytest.mark.parametrize(("status", "response"), [("unknown", None), ("unknown", 504), ("queued", 503)])
def test_request_with_a_job_is_repaired_to_accepted(store: AuditedDatabase, status: str, response: int | None) -> None:
    store.create_request(status, response)
    record_job_event(store)
    [finding] = store.audit()
    assert (finding.kind, finding.id, finding.stored, finding.proven) == (
        FindingKind.KNOWN_ACCEPTED,
        REQUEST,
        status,
        "accepted",
    )
    [fixed] = store.audit(fix=True)
    assert fixed.fixed
    assert store.fetch_value("SELECT status FROM requests") == "accepted"
    assert store.audit() == []


def test_repaired_request_ends_lookups_and_is_notified(store: AuditedDatabase) -> None:
    store.create_request("unknown", None)
    store.execute(
        "UPDATE requests SET next_lookup_at = now(), unknown_since = now(), notify_url = 'https://shop.example/told'"
    )
    record_job_event(store)
    [fixed] = store.audit(fix=True)
    assert fixed.fixed
    assert store.fetch_value("SELECT next_lookup_at FROM requests") is None
    assert store.fetch_value("SELECT request_id FROM notification_outbox") == REQUEST


@pytest.mark.parametrize("corruption", ["request_id = NULL, notify = false", "request_id = gen_random_uuid()"])
def test_repaired_job_is_notified(store: AuditedDatabase, corruption: str) -> None:
    store.create_job()
    store.execute("UPDATE requests SET notify_url = 'https://shop.example/told'")
    store.execute(f"UPDATE jobs SET {corruption}")
    assert all(finding.fixed for finding in store.audit(fix=True))
    assert store.fetch_value("SELECT notify FROM jobs")
    assert store.fetch_value("SELECT request_id FROM notification_outbox") == REQUEST


def test_repaired_job_is_notified_by_itself(store: AuditedDatabase) -> None:
    store.create_job()
    store.execute("UPDATE requests SET notify_url = 'https://shop.example/told', notify_events = '{job}'")
    store.execute("UPDATE jobs SET request_id = NULL, notify = false")
    assert all(finding.fixed for finding in store.audit(fix=True))
    assert store.fetch_value("SELECT notify_events FROM jobs") == ["job"]
    assert store.fetch_value("SELECT request_id FROM job_notification_outbox") == REQUEST


def test_manual_retry_after_a_job_event_is_no_finding(store: AuditedDatabase) -> None:
    store.create_request("queued", None)
    record_job_event(store, at=60)
    record_retry(store, at=600)
    assert store.audit() == []


@pytest.mark.parametrize(("at", "expected_kinds"), [(500, []), (700, [FindingKind.KNOWN_ACCEPTED])])
def test_only_events_after_a_manual_retry_prove_acceptance(
    store: AuditedDatabase, at: float, expected_kinds: Sequence[FindingKind]
) -> None:
    store.create_request("unknown", None, None)
    store.execute("UPDATE attempts SET started_at = %s WHERE number = 2", NOON + timedelta(seconds=650))
    record_retry(store, at=600)
    record_job_event(store, at=at)
    assert [finding.kind for finding in store.audit()] == expected_kinds


def test_event_before_the_newest_attempt_proves_nothing(store: AuditedDatabase) -> None:
    """The request may have been rejected and then retried by an operator."""
    store.create_request("unknown", 400, None)
    record_job_event(store, at=30)
    assert store.audit() == []


def test_response_with_unknown_item_proves_nothing(store: AuditedDatabase) -> None:
    # One item of the response was accepted, another had an unmapped code.
    store.create_request("unknown", 200)
    record_job_event(store, source=EventSource.RESPONSE)
    assert store.audit() == []


@pytest.mark.parametrize("source", [EventSource.RESPONSE, EventSource.POLL])
def test_failed_job_in_a_response_proves_nothing(store: AuditedDatabase, source: EventSource) -> None:
    """The failed job may come from the response, or from a late response to a lookup."""
    store.create_request("unknown", None)
    response = event(status=JobStatus.FAILED, source=source, request_id=REQUEST)
    reconcile(store.connection, [response])
    assert store.audit() == []


def test_accepted_request_without_job_is_reported_only(store: AuditedDatabase) -> None:
    store.create_request("accepted")
    for fix in (False, True):
        [finding] = store.audit(fix=fix)
        assert (finding.kind, finding.id, finding.fixed) == (FindingKind.NO_JOB, REQUEST, False)


def test_reference_conflict_of_an_earlier_release_is_flagged(store: AuditedDatabase) -> None:
    store.create_request("accepted", detail=f"{REFERENCE_CONFLICT_DETAIL} {JOB} of request {uuid4()}")
    [finding] = store.audit(fix=True)
    assert (finding.kind, finding.id, finding.fixed) == (FindingKind.NO_JOB, REQUEST, True)
    assert store.fetch_value("SELECT conflict_deadline_at > now() + interval '2 days' FROM requests")
    assert store.audit() == []


@pytest.mark.parametrize("counted", [1, 3])
def test_wrong_attempt_count_is_repaired(store: AuditedDatabase, counted: int) -> None:
    store.create_request("failed", 503, 503, counted=counted)
    [finding] = store.audit()
    assert (finding.kind, finding.stored, finding.proven) == (FindingKind.ATTEMPTS, str(counted), "2")
    [fixed] = store.audit(fix=True)
    assert fixed.fixed
    assert store.audit() == []


def test_missing_attempt_is_reported_only(store: AuditedDatabase) -> None:
    store.create_request("failed", 503, 503)
    store.execute("DELETE FROM attempts WHERE number = 1")
    for fix in (False, True):
        [finding] = store.audit(fix=fix)
        assert (finding.kind, finding.proven, finding.fixed) == (FindingKind.ATTEMPTS, None, False)


def test_sending_request_without_attempt_becomes_unknown(store: AuditedDatabase) -> None:
    store.create_request("sending")
    store.execute("DELETE FROM attempts")
    store.execute("UPDATE requests SET leased_until = now() + interval '1 hour'")
    for fix in (False, True):
        [finding] = store.audit(fix=fix)
        assert (finding.kind, finding.id, finding.fixed) == (FindingKind.LEASE, REQUEST, False)
    store.execute("UPDATE requests SET leased_until = now() - interval '1 s'")
    [fixed] = store.audit(fix=True)
    assert (fixed.kind, fixed.fixed) == (FindingKind.LEASE, True)
    assert store.fetch_value("SELECT status = 'unknown' AND ambiguous FROM requests")
    assert store.audit() == []


def test_excessive_lease_is_ended(store: AuditedDatabase) -> None:
    store.create_request("sending")
    store.execute("UPDATE requests SET leased_until = now() + interval '10 years'")
    [finding] = store.audit()
    assert (finding.kind, finding.id) == (FindingKind.LEASE, REQUEST)
    assert store.audit(fix=True)[0].fixed
    assert store.fetch_value("SELECT status = 'sending' AND leased_until <= now() FROM requests")
    assert store.audit() == []


def record_callback(store: AuditedDatabase, body: bytes) -> UUID:
    parsed = parse_callback(VerifiedCallback(provider(), build_incoming(body)))
    record_callbacks(store.connection, parsed.events, [parsed.stored], parsed.job_ids_to_poll)
    return parsed.stored.id


def test_callback_with_lost_event_is_replayed(store: AuditedDatabase) -> None:
    callback = record_callback(store, build_report("ref-1"))
    record_callback(store, build_report("ref-2", "UNMAPPED-STATUS"))
    store.execute("DELETE FROM jobs WHERE reference = 'ref-1'")
    [finding] = store.audit()
    assert (finding.kind, finding.id, finding.provider) == (FindingKind.LOST_CALLBACK, callback, "sandbox")
    [fixed] = store.audit(fix=True)
    assert fixed.fixed
    assert store.audit() == []
    assert store.fetch_value("SELECT status FROM jobs WHERE reference = 'ref-1'") == "succeeded"
    assert store.fetch_value("SELECT actor FROM actions") == "receiver audit"


def test_lost_event_of_unconfigured_provider_is_reported_only(store: AuditedDatabase) -> None:
    record_callback(store, build_report("ref-1"))
    store.execute("DELETE FROM jobs")
    store.execute("UPDATE callbacks SET provider = 'gone'")
    for fix in (False, True):
        [finding] = store.audit(fix=fix)
        assert (finding.kind, finding.fixed) == (FindingKind.LOST_CALLBACK, False)


def test_callback_whose_events_came_by_another_delivery_is_fine(store: AuditedDatabase) -> None:
    record_callback(store, build_report("ref-1"))
    store.execute("UPDATE events SET callback_id = gen_random_uuid()")
    assert store.audit() == []


def test_audit_is_limited_to_the_given_provider(store: AuditedDatabase) -> None:
    reconcile(store.connection, [event(), event(actor=provider(name="other"))])
    store.execute("UPDATE jobs SET disputed = true")
    assert [finding.provider for finding in store.audit(name="other")] == ["other"]
    assert len(store.audit()) == 2


response_events = st.builds(
    lambda reference, number, at: event(
        reference,
        JobStatus.ACCEPTED,
        source=EventSource.RESPONSE,
        origin=UUID(int=number),
        request_id=UUID(int=number),
        at=at,
    ),
    reference=st.sampled_from(["a", "b", "c"]),
    number=st.integers(100, 103),
    at=st.integers(0, 5),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=batches,
    responses=st.lists(response_events, max_size=6),
    shuffle=st.randoms(use_true_random=False),
    size=st.integers(1, 8),
)
def test_events_in_any_order_cause_no_findings(
    store: AuditedDatabase, events: list[JobEvent], responses: list[JobEvent], shuffle: random.Random, size: int
) -> None:
    store.execute("TRUNCATE jobs CASCADE")
    order = [*events, *responses, *events[:5]]
    shuffle.shuffle(order)
    for start in range(0, len(order), size):
        feed_batch(store.connection, order[start : start + size])
    assert store.audit() == []


def test_event_replayed_as_superseding_causes_no_finding(store: AuditedDatabase) -> None:
    origin = uuid4()
    reconcile(store.connection, [event(status=JobStatus.SUCCEEDED, at=1)])
    reconcile(store.connection, [event(status=JobStatus.FAILED, origin=origin, at=5)])
    reconcile(store.connection, [event(status=JobStatus.FAILED, origin=origin, at=3, superseding=True)])
    assert store.audit() == []
    assert store.fetch_value("SELECT status FROM jobs") == "failed"


def test_request_id_found_by_a_replay_is_stored_in_the_event(store: AuditedDatabase) -> None:
    origin = uuid4()
    reconcile(store.connection, [event(origin=origin)])
    store.create_request("accepted")
    reconcile(store.connection, [event(origin=origin, request_id=REQUEST)])
    assert store.fetch_value("SELECT request_id FROM events") == REQUEST
    assert store.fetch_value("SELECT request_id FROM jobs") == REQUEST
    assert store.audit() == []


def test_audit_is_not_blocked_by_locked_rows(store: AuditedDatabase) -> None:
    references = [f"ref-{number}" for number in range(40)]
    for reference in references:
        reconcile(store.connection, [event(reference, JobStatus.ACCEPTED)])
    with closing(connect(store.dsn)) as locker, locker.transaction():
        locker.execute("SELECT FROM jobs FOR UPDATE")
        locker.execute("SELECT FROM events FOR UPDATE")
        assert store.audit() == []


def test_concurrent_repairs_and_events_lose_nothing(store: AuditedDatabase) -> None:
    references = [f"ref-{number}" for number in range(40)]
    reconcile(store.connection, [event(reference, JobStatus.ACCEPTED) for reference in references])

    def record_events() -> None:
        with closing(connect(store.dsn)) as connection:
            for round_ in range(15):
                feed_batch(connection, [event(reference, JobStatus.IN_PROGRESS, at=round_) for reference in references])

    with ThreadPoolExecutor(1) as pool:
        recording = pool.submit(record_events)
        for _ in range(5):
            store.execute("UPDATE jobs SET disputed = true WHERE reference LIKE '%%7'")
            store.audit(fix=True)
        recording.result()
    store.audit(fix=True)
    assert store.audit() == []
    assert store.fetch_value("SELECT count(*) FROM events") == 40 * 16


def test_wrong_counts_are_found_and_fixed(store: AuditedDatabase) -> None:
    store.create_request("accepted")
    store.execute("INSERT INTO row_count_changes (kind, provider, status, total) VALUES ('jobs', 'acme', 'failed', 3)")
    store.execute("DELETE FROM row_count_changes WHERE kind = 'requests'")

    found, fixed, left = (
        {(finding.kind, finding.stored, finding.proven, finding.fixed) for finding in store.audit(fix=fix)}
        for fix in (False, True, False)
    )

    expected = {
        ("failed jobs: total 3", "failed jobs: none"),
        ("accepted requests: none", "accepted requests: total 1"),
    }
    count = FindingKind.COUNT
    assert {row for row in found if row[0] is count} == {(count, *texts, False) for texts in expected}
    assert {row for row in fixed if row[0] is count} == {(count, *texts, True) for texts in expected}
    assert count not in {row[0] for row in left}
