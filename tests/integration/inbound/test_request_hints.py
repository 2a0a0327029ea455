"""Callbacks with request hints: their effect on requests, and races with attempts, the sweep and each other."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Barrier
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import JobStatus, RequestHint, derive_job_id
from receiver.domain.sending import Attempt, NoResponse, OnAmbiguous, Response
from receiver.exchange.credentials import record_refusals
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import CallbackBatcher, ParsedCallback, parse_callback, receive, record_callbacks
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.store.connections import Connection, connect, translate_errors
from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity
from receiver.store.providers import CredentialRefusal
from receiver.store.requests import claim_requests, expire_requests, retry_requests
from tests.support.factories import event
from tests.support.http import build_report, build_reports
from tests.support.processes import wait_for
from tests.support.request_database import (
    HOLD,
    NO_RESPONSE,
    WITHOUT_TOKENS,
    RequestDatabase,
    build_accepted_response,
    build_incoming,
    complete,
    record_attempts,
)
from tests.support.scene import sweeping

RETRY = replace(HOLD, retry_rules=replace(HOLD.retry_rules, on_ambiguous=OnAmbiguous.RETRY))
FIND_LOCK_WAITERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def other_connection(dsn: str) -> Iterator[Connection]:
    """A second connection to the database."""
    with closing(connect(dsn)) as connection:
        yield connection


def test_callback_with_token_accepts_unknown_request(request_database: RequestDatabase) -> None:
    [attempt] = request_database.start_attempts()
    request_database.end_attempt(attempt)
    assert request_database.status(attempt) == "unknown"
    request_database.call_back("r", attempt.id)
    assert request_database.status(attempt) == "accepted"
    assert request_database.detail(attempt) == "no response: dropped; accepted: one of its jobs is known"
    assert request_database.owner("r") == attempt.request_id


def test_callback_with_token_cancels_the_retry(request_database: RequestDatabase) -> None:
    request_database.provider = RETRY
    for outcome in (NO_RESPONSE, Response(500, {}, b"")):
        [attempt] = request_database.start_attempts()
        request_database.end_attempt(attempt, outcome)
        assert request_database.status(attempt) == "queued"
        request_database.call_back(f"r-{attempt.id}", attempt.id)
        assert request_database.status(attempt) == "accepted"
    assert claim_requests(request_database.connection, [ProviderCapacity("sandbox", 9)], {"sandbox": 60.0}) == []


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (NO_RESPONSE, "accepted"),
        (Response(504, {}, b""), "accepted"),
        (Response(500, {}, b""), "accepted"),
        (Response(409, {}, b""), "accepted"),
        (Response(401, {}, b""), "accepted"),
        (Response(202, {}, b"garbage"), "accepted"),
        (build_accepted_response("r"), "accepted"),
        (Response(204, {}, b""), "completed"),
        (Response(400, {}, b""), "rejected"),
    ],
)
@pytest.mark.parametrize("configured", [HOLD, RETRY])
def test_callback_before_response_leaves_the_status_to_the_response(
    request_database: RequestDatabase, configured: Provider, outcome: Response | NoResponse, status: str
) -> None:
    request_database.provider = configured
    [attempt] = request_database.start_attempts()
    request_database.call_back("r", attempt.id)
    assert request_database.status(attempt) == "sending"
    request_database.end_attempt(attempt, outcome)
    assert request_database.status(attempt) == status
    assert request_database.owner("r") == attempt.request_id


def test_lost_attempt_with_known_job_is_accepted(request_database: RequestDatabase, database: Database) -> None:
    [attempt] = request_database.start_attempts(lease=-1.0)
    request_database.call_back("r", attempt.id)
    with sweeping(database, HOLD) as sweep:
        sweep()
    assert request_database.status(attempt) == "accepted"


def test_token_of_earlier_attempt_accepts_request(request_database: RequestDatabase) -> None:
    request_database.provider = RETRY
    [first] = request_database.start_attempts()
    request_database.end_attempt(first)
    second = request_database.start_next_attempt()
    request_database.call_back("r", first.id)
    request_database.end_attempt(second)
    assert request_database.status(first) == "accepted"


def test_late_response_accepts_queued_request(request_database: RequestDatabase) -> None:
    request_database.provider = RETRY
    [first] = request_database.start_attempts()
    request_database.connection.execute("UPDATE requests SET leased_until = now() - interval '1 second'")
    request_database.end_attempt(first)  # The sweep does the same.
    second = request_database.start_next_attempt()
    request_database.end_attempt(second, Response(503, {}, b""))
    assert request_database.status(first) == "queued"
    request_database.end_attempt(first, build_accepted_response("late"))
    assert request_database.status(first) == "accepted"
    assert request_database.owner("late") == first.request_id


def test_token_of_rejected_attempt_does_not_accept_a_manual_retry(request_database: RequestDatabase) -> None:
    [attempt] = request_database.start_attempts()
    request_database.end_attempt(attempt, Response(400, {}, b""))
    assert retry_requests(request_database.connection, [attempt.request_id], {"sandbox": 3_600.0})
    request_database.call_back("r", attempt.id)
    assert request_database.status(attempt) == "queued"


@pytest.mark.parametrize("after", ["expire", "claim"])
def test_accepted_request_never_becomes_unknown_again(request_database: RequestDatabase, after: str) -> None:
    request_database.provider = RETRY
    [attempt] = request_database.start_attempts()
    request_database.end_attempt(attempt)
    request_database.call_back("r", attempt.id)
    request_database.connection.execute("UPDATE requests SET deadline_at = now()")
    if after == "expire":
        assert expire_requests(request_database.connection, 10, {}) == 0
    assert claim_requests(request_database.connection, [ProviderCapacity("sandbox", 9)], {"sandbox": 60.0}) == []
    assert request_database.status(attempt) == "accepted"


@pytest.mark.parametrize("token", ["", "7", "x" * 36, "018f0000-0000-4000-8000-000000000000", "' OR 1=1"])
def test_invalid_token_is_ignored_and_callback_is_recorded(request_database: RequestDatabase, token: str) -> None:
    [attempt] = request_database.start_attempts()
    request_database.end_attempt(attempt)
    request_database.call_back("r", token)
    assert request_database.owner("r") is None
    assert request_database.status(attempt) == "unknown"
    request_database.call_back("s", attempt.request_id)  # The request id, which clients see, is not a token.
    assert request_database.owner("s") is None


def test_token_of_another_provider_is_ignored(request_database: RequestDatabase) -> None:
    [attempt] = request_database.start_attempts()
    request_database.end_attempt(attempt)
    request_database.provider = replace(HOLD, name="another")
    request_database.call_back("r", attempt.id)
    assert request_database.owner("r") is None
    assert request_database.status(attempt) == "unknown"


def test_token_is_ignored_if_the_provider_is_sent_none(request_database: RequestDatabase) -> None:
    [attempt] = request_database.start_attempts()
    request_database.end_attempt(attempt)
    request_database.provider = WITHOUT_TOKENS
    request_database.call_back("r", attempt.id)
    assert request_database.owner("r") is None


def test_token_of_another_request_does_not_move_a_job(request_database: RequestDatabase) -> None:
    first, second = request_database.start_attempts(2)
    request_database.end_attempt(first, build_accepted_response("r"))
    request_database.end_attempt(second)
    request_database.call_back("r", second.id)
    assert request_database.owner("r") == first.request_id
    assert request_database.status(second) == "unknown"


def build_deliveries(*tokens: UUID | None) -> list[ParsedCallback]:
    """Return parsed deliveries of one callback, one to the URL of each token."""
    event_id, body = uuid4().hex, build_report("r", "DELIVERED")
    deliveries = [
        replace(build_incoming(body, token), headers={"webhook-id": event_id, "n": str(number)})
        for number, token in enumerate(tokens)
    ]
    return [parse_callback(VerifiedCallback(HOLD, delivery)) for delivery in deliveries]


def record_together(request_database: RequestDatabase, deliveries: Sequence[ParsedCallback]) -> None:
    """Record deliveries in one batch."""
    events = [event for parsed in deliveries for event in parsed.events]
    record_callbacks(request_database.connection, events, [parsed.stored for parsed in deliveries], [])


@pytest.mark.parametrize("order", [1, -1])
def test_delivery_with_token_matches_the_job_in_any_order(request_database: RequestDatabase, order: int) -> None:
    """A provider may call back at the registered URL and at the URL of the attempt."""
    [attempt] = request_database.start_attempts()
    request_database.connection.execute("UPDATE requests SET notify_url = 'https://shop.example/told'")
    request_database.end_attempt(attempt)
    record_together(request_database, build_deliveries(None, attempt.id)[::order])
    assert (request_database.status(attempt), request_database.owner("r")) == ("accepted", attempt.request_id)
    row = request_database.connection.execute("SELECT notify, (SELECT request_id FROM events) FROM jobs").fetchone()
    assert row == (True, attempt.request_id)


def test_deliveries_with_two_tokens_accept_one_request(request_database: RequestDatabase) -> None:
    attempts = request_database.start_attempts(2)
    for attempt in attempts:
        request_database.end_attempt(attempt)
    record_together(request_database, build_deliveries(*(attempt.id for attempt in attempts)))
    assert request_database.owner("r") == attempts[0].request_id
    assert [request_database.status(attempt) for attempt in attempts] == ["accepted", "unknown"]


def test_token_accepts_a_manual_retry_of_an_unknown_request(request_database: RequestDatabase) -> None:
    [attempt] = request_database.start_attempts()
    request_database.end_attempt(attempt, Response(202, {}, b'{"items": [{"id": "r", "status": "ACK", "code": 9999}]}'))
    assert request_database.status(attempt) == "unknown"
    assert retry_requests(request_database.connection, [attempt.request_id], {"sandbox": 3_600.0})
    request_database.call_back("r", attempt.id)
    assert request_database.status(attempt) == "accepted"


def test_request_id_hint_applies_to_each_item(request_database: RequestDatabase) -> None:
    first, second = request_database.start_attempts(2)
    for attempt in (first, second):
        request_database.end_attempt(attempt)
    owners = [first.request_id, None, second.request_id, first.id]
    events = [replace(event(f"r-{number}"), request_hint=RequestHint(owner)) for number, owner in enumerate(owners)]
    record_callbacks(request_database.connection, events, [], [])
    assert [request_database.owner(f"r-{number}") for number in range(4)] == [
        first.request_id,
        None,
        second.request_id,
        None,
    ]
    assert {request_database.status(first), request_database.status(second)} == {"accepted"}


def test_token_matches_several_jobs_of_one_callback(request_database: RequestDatabase) -> None:
    [attempt] = request_database.start_attempts()
    request_database.end_attempt(attempt)
    body = build_reports({"id": "a", "state": "DELIVERED"}, {"id": "b", "state": "SENT"})
    parsed = parse_callback(VerifiedCallback(HOLD, build_incoming(body, attempt.id)))
    record_callbacks(request_database.connection, parsed.events, [parsed.stored], parsed.job_ids_to_poll)
    assert (request_database.owner("a"), request_database.owner("b")) == (attempt.request_id, attempt.request_id)


def run_blocked(
    request_database: RequestDatabase,
    dsn: str,
    first: Callable[[Connection], None],
    second: Callable[[Connection], None],
) -> None:
    """Run `second` while the transaction of `first` is open: it must wait for the row of the request, then finish."""
    with ThreadPoolExecutor(1) as pool, closing(connect(dsn)) as second_connection:
        with request_database.connection.transaction():
            first(request_database.connection)
            blocked = pool.submit(second, second_connection)
            with closing(connect(dsn)) as watcher:
                wait_for(lambda: watcher.execute(FIND_LOCK_WAITERS).fetchall())
        blocked.result(10)


def test_attempt_blocked_by_callback_is_accepted(request_database: RequestDatabase, dsn: str) -> None:
    """The row that the recorder read before it waited is outdated."""
    [attempt] = request_database.start_attempts()
    completed = complete(HOLD, attempt, NO_RESPONSE)
    run_blocked(
        request_database,
        dsn,
        lambda _: request_database.call_back("r", attempt.id),
        lambda connection: record_attempts(connection, [completed]),
    )
    assert request_database.status(attempt) == "accepted"


def test_callback_blocked_by_attempt_accepts_request(request_database: RequestDatabase, dsn: str) -> None:
    [attempt] = request_database.start_attempts()
    run_blocked(
        request_database,
        dsn,
        lambda _: request_database.end_attempt(attempt),
        lambda connection: RequestDatabase(connection).call_back("r", attempt.id),
    )
    assert request_database.status(attempt) == "accepted"


def test_callbacks_and_attempts_of_same_requests_do_not_deadlock(request_database: RequestDatabase, dsn: str) -> None:
    """Two web processes and two workers record the same requests, each in another order."""
    rounds, size, rng = 12, 40, random.Random(7)
    for _ in range(rounds):
        attempts = request_database.start_attempts(size)
        barrier = Barrier(4)

        def call_back(order: Sequence[Attempt], barrier: Barrier = barrier) -> None:
            deliveries = [
                parse_callback(VerifiedCallback(HOLD, build_incoming(build_report(f"r-{attempt.id}"), attempt.id)))
                for attempt in order
            ]
            barrier.wait()
            with closing(connect(dsn)) as connection, translate_errors():
                record_together(RequestDatabase(connection), deliveries)

        def record_all(order: Sequence[Attempt], barrier: Barrier = barrier) -> None:
            completed = [complete(RETRY, attempt, NO_RESPONSE) for attempt in order]
            barrier.wait()
            with closing(connect(dsn)) as connection, translate_errors():
                record_attempts(connection, completed)

        orders = [rng.sample(attempts, size) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            tasks = [
                pool.submit(record, order)
                for record, order in zip((call_back, call_back, record_all, record_all), orders, strict=True)
            ]
            for task in tasks:
                task.result(30)
        assert {request_database.status(attempt) for attempt in attempts} == {"accepted"}


def test_polls_and_attempts_with_refused_credentials_do_not_deadlock(
    request_database: RequestDatabase, dsn: str
) -> None:
    """A poll records its events first, then the refusal of credentials; the recorder of attempts does the same."""
    refused, attempt = request_database.start_attempts(2)
    completed = [
        complete(HOLD, refused, Response(401, {}, b"")),
        complete(HOLD, attempt, build_accepted_response("r")),
    ]
    refusal = CredentialRefusal(HOLD.name, HOLD.fingerprint, "refused")
    with ThreadPoolExecutor(1) as pool, closing(connect(dsn)) as other, closing(connect(dsn)) as watcher:
        with request_database.connection.transaction():
            reconcile(request_database.connection, [event("r", JobStatus.IN_PROGRESS)])
            blocked = pool.submit(record_attempts, other, completed)
            wait_for(lambda: watcher.execute(FIND_LOCK_WAITERS).fetchall())
            record_refusals(request_database.connection, [refusal])
        blocked.result(10)
    assert (request_database.status(refused), request_database.status(attempt)) == ("queued", "accepted")


def test_callback_racing_the_sweep_accepts_request(request_database: RequestDatabase, database: Database) -> None:
    with closing(CallbackBatcher(database)) as batcher, sweeping(database, RETRY) as sweep:
        for _ in range(25):
            attempts = request_database.start_attempts(4, lease=-1.0)
            barrier = Barrier(1 + len(attempts))

            def call_back(attempt: Attempt, barrier: Barrier = barrier) -> None:
                barrier.wait()
                incoming = build_incoming(build_report(f"r-{attempt.id}"), attempt.id)
                receive(batcher, VerifiedCallback(RETRY, incoming), timeout=10.0)

            def run_sweep(barrier: Barrier = barrier) -> None:
                barrier.wait()
                sweep()

            with ThreadPoolExecutor(1 + len(attempts)) as pool:
                tasks = [pool.submit(run_sweep), *(pool.submit(call_back, attempt) for attempt in attempts)]
                for task in tasks:
                    task.result(30)
            sweep()
            assert {request_database.status(attempt) for attempt in attempts} == {"accepted"}
            assert {request_database.owner(f"r-{attempt.id}") for attempt in attempts} == {
                attempt.request_id for attempt in attempts
            }


def test_callback_without_hint_locks_no_request(
    request_database: RequestDatabase, other_connection: Connection
) -> None:
    [attempt] = request_database.start_attempts()
    request_database.end_attempt(attempt, build_accepted_response("r"))
    with other_connection.transaction():
        other_connection.execute("SELECT FROM requests FOR UPDATE")
        request_database.call_back("r", None, "DELIVERED")
    row = request_database.connection.execute(
        "SELECT status FROM jobs WHERE id = %s", [derive_job_id("sandbox", "r")]
    ).fetchone()
    assert row == ("succeeded",)
