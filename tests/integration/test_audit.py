"""An audit finds each kind of corruption, exactly it, and mends what is proven; of legal histories it finds none."""

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
from receiver.domain.audit import Finding, FindingKind
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, derive_job_id
from receiver.domain.sending import REFERENCE_CONFLICT_DETAIL
from receiver.followup.audit import Audit
from receiver.inbound.receive import parse_callback, record_callbacks
from receiver.reconcile import reconcile
from receiver.store.actions import record_action
from receiver.store.database import Connection, Database, connect
from receiver.store.scratch import scratch_database
from tests.factories import NOON, PUBLIC_URL, event, provider
from tests.factories import settings as settings_of
from tests.http import says
from tests.integration.test_reconcile import batches, feed_batch

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
class House:
    """A database to corrupt and to audit."""

    dsn: str
    connection: Connection
    database: Database
    reader: ConfiguredCallbackReader

    def does(self, statement: str, *given: object) -> None:
        self.connection.execute(statement.encode(), list(given))

    def drop(self, table: str, *constraints: str) -> None:
        """Allow what the database would refuse."""
        for constraint in constraints:
            self.does(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")

    def job(self) -> None:
        """A job with a history: accepted in answer to a request, in progress, failed and, too late, succeeded."""
        self.request("accepted")
        reconcile(
            self.connection,
            [
                event(status=JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=REQUEST, at=1),
                event(status=JobStatus.IN_PROGRESS, at=2),
                event(status=JobStatus.FAILED, at=3),
                event(status=JobStatus.FAILED, source=EventSource.POLL, at=4),
            ],
        )

    def request(
        self,
        status: str,
        *attempts: int | None,
        identity: UUID = REQUEST,
        counted: int | None = None,
        lease: float = 60.0,
        detail: str | None = None,
    ) -> None:
        """A request with an attempt for each answer's status; the first one began at noon, each a minute later."""
        given = {
            "id": identity,
            "status": status,
            "at": NOON,
            "attempts": len(attempts or (202,)) if counted is None else counted,
            "leased_until": NOON + timedelta(seconds=lease),
            "detail": detail,
        }
        self.connection.execute(INSERT_REQUEST, given)
        for number, response in enumerate(attempts or (202,), 1):
            begun = NOON + timedelta(minutes=number - 1)
            self.connection.execute(INSERT_ATTEMPT, [identity, number, begun, begun, response])

    def audit(self, *, fix: bool = False, name: str | None = None) -> list[Finding]:
        audited = Audit(self.database, self.reader, fix=fix, provider=name)
        return [finding for findings in audited.run() for finding in findings]

    def column(self, query: str) -> object:
        row = self.connection.execute(query.encode()).fetchone()
        return row and row[0]


@contextmanager
def housed(dsn: str) -> Iterator[House]:
    configured = settings_of(dsn, Path(), {"sandbox": provider()})
    with closing(connect(dsn)) as connection, closing(Database(dsn)) as database:
        yield House(dsn, connection, database, ConfiguredCallbackReader(configured))


@pytest.fixture(scope="module")
def shared(server: str, template: str) -> Iterator[House]:
    with scratch_database(server, template=template) as dsn, housed(dsn) as house:
        yield house


@pytest.fixture
def house(shared: House) -> House:
    """A database that keeps its constraints, empty."""
    shared.does("TRUNCATE requests, jobs, callbacks, actions, notification_outbox CASCADE")
    return shared


@pytest.fixture
def lenient(dsn: str) -> Iterator[House]:
    """A database of the test's own, whose constraints it may drop."""
    with housed(dsn) as house:
        yield house


def incoming(body: bytes) -> IncomingCallback:
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
        (FindingKind.REQUEST, "request_id = NULL", "none", str(REQUEST)),
        (FindingKind.REQUEST, "request_id = gen_random_uuid()", None, str(REQUEST)),
    ],
)
def test_a_column_that_differs_from_its_events_is_found_and_mended(
    house: House, kind: FindingKind, corruption: str, stored: str | None, proven: str | None
) -> None:
    house.job()
    before = house.column("SELECT to_jsonb(jobs) FROM jobs")
    house.does(f"UPDATE jobs SET {corruption}")
    if kind is FindingKind.REQUEST:
        house.does("UPDATE requests SET detail = %s", f"{REFERENCE_CONFLICT_DETAIL} x")  # else it lacks its job
    [found] = house.audit()
    assert (found.kind, found.id, found.provider, found.fixed) == (kind, JOB, "sandbox", False)
    assert stored in (None, found.stored)
    assert proven in (None, found.proven)
    [fixed] = house.audit(fix=True)
    assert (fixed.kind, fixed.fixed) == (kind, True)
    assert house.audit() == []
    assert house.column("SELECT to_jsonb(jobs) FROM jobs") == before


def test_a_final_job_that_is_due_to_be_polled_is_found_and_mended(lenient: House) -> None:
    lenient.job()
    lenient.drop("jobs", "open_while_polled")
    lenient.does("UPDATE jobs SET poll_at = now()")
    [found] = lenient.audit()
    assert (found.kind, found.id, found.proven) == (FindingKind.POLLED, JOB, "never")
    assert lenient.audit(fix=True)[0].fixed
    assert lenient.audit() == []


def test_a_job_that_was_called_final_is_open_again_and_asked_about(house: House) -> None:
    reconcile(house.connection, [event(status=JobStatus.ACCEPTED)])
    house.does("UPDATE jobs SET status = 'failed', precedence = 40, finished_at = decided_at, poll_at = NULL")
    assert {finding.kind for finding in house.audit(fix=True)} == {
        FindingKind.STATUS,
        FindingKind.PRECEDENCE,
        FindingKind.FINISHED_AT,
    }
    assert house.audit() == []
    assert house.column("SELECT status = 'accepted' AND poll_at <= now() FROM jobs")


def test_a_job_without_events_is_found_and_left_alone(house: House) -> None:
    reconcile(house.connection, [event()])
    house.does("DELETE FROM events")
    for fix in (False, True):
        [found] = house.audit(fix=fix)
        assert (found.kind, found.id, found.proven, found.fixed) == (FindingKind.NO_EVENT, JOB, None, False)


def test_a_tie_that_no_event_names_is_found_and_left_alone(house: House) -> None:
    reconcile(house.connection, [event()])
    house.does("UPDATE jobs SET request_id = %s", REQUEST)
    for fix in (False, True):
        [found] = house.audit(fix=fix)
        assert (found.kind, found.proven, found.fixed) == (FindingKind.REQUEST, None, False)


def test_a_job_whose_id_is_not_that_of_its_reference_is_found_and_left_alone(house: House) -> None:
    reconcile(house.connection, [event()])
    house.does("UPDATE jobs SET reference = 'another'")
    for fix in (False, True):
        [found] = house.audit(fix=fix)
        assert (found.kind, found.id, found.fixed) == (FindingKind.IDENTITY, JOB, False)


@pytest.mark.parametrize(
    ("source", "status", "wrong", "right"),
    [("callback", "in_progress", 40, 20), ("response", "accepted", 35, 10), ("operator", "failed", 40, 60)],
)
def test_an_event_that_weighs_what_it_cannot_is_found_and_mended(
    house: House, source: str, status: str, wrong: int, right: int
) -> None:
    reconcile(house.connection, [event(status=JobStatus(status), source=EventSource(source))])
    house.does("UPDATE events SET precedence = %s", wrong)
    [found] = house.audit()
    assert (found.kind, found.id, found.proven) == (FindingKind.EVENT_PRECEDENCE, JOB, f"weighs {right}")
    [fixed] = house.audit(fix=True)
    assert (fixed.kind, fixed.fixed) == (FindingKind.EVENT_PRECEDENCE, True)
    assert house.column("SELECT precedence FROM events") == right
    assert house.audit() == []


def test_an_event_that_may_weigh_one_thing_or_another_is_found_and_left_alone(house: House) -> None:
    reconcile(house.connection, [event(status=JobStatus.FAILED)])
    house.does("UPDATE events SET precedence = 10")
    for fix in (False, True):
        [found] = house.audit(fix=fix)
        assert (found.kind, found.proven, found.fixed) == (FindingKind.EVENT_PRECEDENCE, "weighs 40 or 50", False)
    assert house.column("SELECT precedence FROM jobs") == 40


def test_an_event_and_its_job_are_mended_together(lenient: House) -> None:
    lenient.drop("events", "events_check")
    reconcile(lenient.connection, [event(status=JobStatus.IN_PROGRESS, at=1), event(status=JobStatus.ACCEPTED)])
    lenient.does("UPDATE events SET precedence = 0 WHERE status = 'in_progress'")
    lenient.does("UPDATE jobs SET status = 'accepted', precedence = 10")
    kinds = {finding.kind for finding in lenient.audit(fix=True)}
    assert kinds == {FindingKind.EVENT_PRECEDENCE, FindingKind.STATUS, FindingKind.PRECEDENCE}
    assert lenient.audit() == []


def tied(house: House, *, source: EventSource = EventSource.CALLBACK, at: float = 600.0) -> None:
    """Something is said of a job that names the request."""
    reconcile(house.connection, [event(source=source, request_id=REQUEST, at=at)])


def retried(house: House, at: float) -> None:
    """An operator had the request sent again, so many seconds after noon."""
    record_action(house.connection, REQUEST, "retry", "somebody", None)
    house.does("UPDATE actions SET created_at = %s", NOON + timedelta(seconds=at))


@pytest.mark.parametrize(("status", "response"), [("unknown", None), ("unknown", 504), ("queued", 503)])
def test_a_request_that_its_job_proves_to_be_taken_is_found_and_mended(
    house: House, status: str, response: int | None
) -> None:
    house.request(status, response)
    tied(house)
    [found] = house.audit()
    assert (found.kind, found.id, found.stored, found.proven) == (FindingKind.TAKEN, REQUEST, status, "accepted")
    [fixed] = house.audit(fix=True)
    assert fixed.fixed
    assert house.column("SELECT status FROM requests") == "accepted"
    assert house.audit() == []


def test_a_mended_request_is_asked_about_no_more_and_its_client_is_told(house: House) -> None:
    house.request("unknown", None)
    house.does(
        "UPDATE requests SET next_lookup_at = now(), unknown_since = now(), notify_url = 'https://shop.example/told'"
    )
    tied(house)
    [fixed] = house.audit(fix=True)
    assert fixed.fixed
    assert house.column("SELECT next_lookup_at FROM requests") is None
    assert house.column("SELECT request_id FROM notification_outbox") == REQUEST


@pytest.mark.parametrize("corruption", ["request_id = NULL, notify = false", "request_id = gen_random_uuid()"])
def test_who_waits_for_a_job_that_is_mended_is_told(house: House, corruption: str) -> None:
    house.job()
    house.does("UPDATE requests SET notify_url = 'https://shop.example/told'")
    house.does(f"UPDATE jobs SET {corruption}")
    assert all(finding.fixed for finding in house.audit(fix=True))
    assert house.column("SELECT notify FROM jobs")
    assert house.column("SELECT request_id FROM notification_outbox") == REQUEST


def test_a_request_that_an_operator_queued_again_is_queued_on_purpose(house: House) -> None:
    house.request("queued", None)
    tied(house, at=60)
    retried(house, at=600)
    assert house.audit() == []


@pytest.mark.parametrize(("at", "found"), [(500, []), (700, [FindingKind.TAKEN])])
def test_only_what_was_said_after_an_operators_retry_proves_that_it_was_taken(
    house: House, at: float, found: Sequence[FindingKind]
) -> None:
    house.request("unknown", None, None)
    house.does("UPDATE attempts SET started_at = %s WHERE number = 2", NOON + timedelta(seconds=650))
    retried(house, at=600)
    tied(house, at=at)
    assert [finding.kind for finding in house.audit()] == found


def test_a_word_from_before_the_newest_attempt_proves_nothing(house: House) -> None:
    """As one about a request that was refused and then sent again by an operator."""
    house.request("unknown", 400, None)
    tied(house, at=30)
    assert house.audit() == []


def test_what_an_answer_left_in_doubt_is_in_doubt(house: House) -> None:
    # One item of the answer was done, another had a code that is not known.
    house.request("unknown", 200)
    tied(house, source=EventSource.RESPONSE)
    assert house.audit() == []


@pytest.mark.parametrize("source", [EventSource.RESPONSE, EventSource.POLL])
def test_a_refusal_proves_nothing(house: House, source: EventSource) -> None:
    """In an answer, or in one to a lookup that came so late that the request was asked about once more."""
    house.request("unknown", None)
    response = event(status=JobStatus.FAILED, source=source, request_id=REQUEST)
    reconcile(house.connection, [response])
    assert house.audit() == []


def test_an_accepted_request_without_a_job_is_found_and_left_alone(house: House) -> None:
    house.request("accepted")
    for fix in (False, True):
        [found] = house.audit(fix=fix)
        assert (found.kind, found.id, found.fixed) == (FindingKind.NO_JOB, REQUEST, False)


def test_a_request_whose_answer_named_a_job_of_another_may_have_none(house: House) -> None:
    house.request("accepted", detail=f"{REFERENCE_CONFLICT_DETAIL} {JOB}, of request {uuid4()}")
    assert house.audit() == []


@pytest.mark.parametrize("counted", [1, 3])
def test_a_wrong_number_of_attempts_is_found_and_mended(house: House, counted: int) -> None:
    house.request("failed", 503, 503, counted=counted)
    [found] = house.audit()
    assert (found.kind, found.stored, found.proven) == (FindingKind.ATTEMPTS, str(counted), "2")
    [fixed] = house.audit(fix=True)
    assert fixed.fixed
    assert house.audit() == []


def test_a_missing_attempt_is_found_and_left_alone(house: House) -> None:
    house.request("failed", 503, 503)
    house.does("DELETE FROM attempts WHERE number = 1")
    for fix in (False, True):
        [found] = house.audit(fix=fix)
        assert (found.kind, found.proven, found.fixed) == (FindingKind.ATTEMPTS, None, False)


def test_a_request_that_is_sent_without_an_attempt_is_unknown_once_its_lease_is_over(house: House) -> None:
    house.request("sending")
    house.does("DELETE FROM attempts")
    house.does("UPDATE requests SET leased_until = now() + interval '1 hour'")
    for fix in (False, True):
        [found] = house.audit(fix=fix)
        assert (found.kind, found.id, found.fixed) == (FindingKind.LEASE, REQUEST, False)
    house.does("UPDATE requests SET leased_until = now() - interval '1 s'")
    [fixed] = house.audit(fix=True)
    assert (fixed.kind, fixed.fixed) == (FindingKind.LEASE, True)
    assert house.column("SELECT status = 'unknown' AND ambiguous FROM requests")
    assert house.audit() == []


def test_a_lease_that_no_worker_would_take_is_found_and_ended(house: House) -> None:
    house.request("sending")
    house.does("UPDATE requests SET leased_until = now() + interval '10 years'")
    [found] = house.audit()
    assert (found.kind, found.id) == (FindingKind.LEASE, REQUEST)
    assert house.audit(fix=True)[0].fixed
    assert house.column("SELECT status = 'sending' AND leased_until <= now() FROM requests")
    assert house.audit() == []


def kept(house: House, body: bytes) -> UUID:
    received = parse_callback(provider(), incoming(body))
    record_callbacks(house.connection, received.events, [received.callback], received.asked)
    return received.callback.id


def test_a_callback_whose_word_is_lost_is_found_and_read_again(house: House) -> None:
    callback = kept(house, says("ref-1"))
    kept(house, says("ref-2", "A-WORD-THAT-IS-NOT-MAPPED"))
    house.does("DELETE FROM jobs WHERE reference = 'ref-1'")
    [found] = house.audit()
    assert (found.kind, found.id, found.provider) == (FindingKind.LOST_CALLBACK, callback, "sandbox")
    [fixed] = house.audit(fix=True)
    assert fixed.fixed
    assert house.audit() == []
    assert house.column("SELECT status FROM jobs WHERE reference = 'ref-1'") == "succeeded"
    assert house.column("SELECT actor FROM actions") == "receiver audit"


def test_a_lost_word_of_a_provider_that_is_not_configured_is_left_alone(house: House) -> None:
    kept(house, says("ref-1"))
    house.does("DELETE FROM jobs")
    house.does("UPDATE callbacks SET provider = 'gone'")
    for fix in (False, True):
        [found] = house.audit(fix=fix)
        assert (found.kind, found.fixed) == (FindingKind.LOST_CALLBACK, False)


def test_a_callback_that_another_delivery_spoke_for_is_not_lost(house: House) -> None:
    kept(house, says("ref-1"))
    house.does("UPDATE events SET callback_id = gen_random_uuid()")
    assert house.audit() == []


def test_only_what_is_of_the_provider_that_is_named_is_audited(house: House) -> None:
    reconcile(house.connection, [event(), event(actor=provider(name="other"))])
    house.does("UPDATE jobs SET disputed = true")
    assert [finding.provider for finding in house.audit(name="other")] == ["other"]
    assert len(house.audit()) == 2


answering = st.builds(
    lambda reference, request, at: event(
        reference,
        JobStatus.ACCEPTED,
        source=EventSource.RESPONSE,
        origin=UUID(int=request),
        request_id=UUID(int=request),
        at=at,
    ),
    reference=st.sampled_from(["a", "b", "c"]),
    request=st.integers(100, 103),
    at=st.integers(0, 5),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=batches,
    responses=st.lists(answering, max_size=6),
    shuffle=st.randoms(use_true_random=False),
    size=st.integers(1, 8),
)
def test_of_a_history_that_came_in_any_order_nothing_is_found(
    house: House, events: list[JobEvent], responses: list[JobEvent], shuffle: random.Random, size: int
) -> None:
    house.does("TRUNCATE jobs CASCADE")
    order = [*events, *responses, *events[:5]]
    shuffle.shuffle(order)
    for start in range(0, len(order), size):
        feed_batch(house.connection, order[start : start + size])
    assert house.audit() == []


def test_a_word_that_a_later_mapping_calls_superseding_is_a_statement_of_its_own(house: House) -> None:
    origin = uuid4()
    reconcile(house.connection, [event(status=JobStatus.SUCCEEDED, at=1)])
    reconcile(house.connection, [event(status=JobStatus.FAILED, origin=origin, at=5)])
    reconcile(house.connection, [event(status=JobStatus.FAILED, origin=origin, at=3, superseding=True)])
    assert house.audit() == []
    assert house.column("SELECT status FROM jobs") == "failed"


def test_a_tie_that_a_replay_finds_is_written_into_the_event(house: House) -> None:
    origin = uuid4()
    reconcile(house.connection, [event(origin=origin)])
    house.request("accepted")
    reconcile(house.connection, [event(origin=origin, request_id=REQUEST)])
    assert house.column("SELECT request_id FROM events") == REQUEST
    assert house.column("SELECT request_id FROM jobs") == REQUEST
    assert house.audit() == []


def test_what_goes_on_meanwhile_is_not_found_and_nothing_is_blocked(house: House) -> None:
    references = [f"ref-{number}" for number in range(40)]
    for reference in references:
        reconcile(house.connection, [event(reference, JobStatus.ACCEPTED)])
    with closing(connect(house.dsn)) as own, own.transaction():
        own.execute("SELECT FROM jobs FOR UPDATE")
        own.execute("SELECT FROM events FOR UPDATE")
        assert house.audit() == []


def test_mending_beside_traffic_loses_nothing(house: House) -> None:
    references = [f"ref-{number}" for number in range(40)]
    reconcile(house.connection, [event(reference, JobStatus.ACCEPTED) for reference in references])

    def storm() -> None:
        with closing(connect(house.dsn)) as own:
            for round_ in range(15):
                feed_batch(own, [event(reference, JobStatus.IN_PROGRESS, at=round_) for reference in references])

    with ThreadPoolExecutor(1) as pool:
        storming = pool.submit(storm)
        for _ in range(5):
            house.does("UPDATE jobs SET disputed = true WHERE reference LIKE '%%7'")
            house.audit(fix=True)
        storming.result()
    house.audit(fix=True)
    assert house.audit() == []
    assert house.column("SELECT count(*) FROM events") == 40 * 16
