"""Callbacks with request hints: their effect on requests, and races with attempts, the sweep and each other."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.jobs import JobStatus, RequestHint, derive_job_id
from receiver.domain.sending import Attempt, NoResponse, OnAmbiguous, Response
from receiver.exchange.credentials import record_refusals
from receiver.exchange.loop import record_exchanges
from receiver.exchange.work import CompletedExchange
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.receive import CallbackBatcher, ParsedCallback, parse_callback, receive, record_callbacks
from receiver.outbound.send import SendTask
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.store.database import Connection, Database, connect, translate_errors
from receiver.store.limits import ProviderCapacity
from receiver.store.providers import CredentialRefusal
from receiver.store.requests import NewRequest, claim_requests, expire_requests, retry_request, submit_requests
from receiver.store.unknown_requests import lock_undecided_requests
from tests.support.factories import event, provider
from tests.support.http import build_report, build_reports
from tests.support.processes import wait_for
from tests.support.scene import sweeping

WITHOUT_TOKENS = provider()
HOLD = provider(callback_token=True)
RETRY = replace(HOLD, retry_rules=replace(HOLD.retry_rules, on_ambiguous=OnAmbiguous.RETRY))
FIND_LOCK_WAITERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
NO_RESPONSE = NoResponse("dropped", sent=True)


def complete(provider: Provider, attempt: Attempt, outcome: Response | NoResponse) -> CompletedExchange[Attempt]:
    return CompletedExchange(provider, attempt, outcome, datetime.now(UTC), jitter=0.5)


def record_attempts(connection: Connection, exchanges: Sequence[CompletedExchange[Attempt]]) -> None:
    record_exchanges(connection, SendTask({each.provider.name: each.provider for each in exchanges}), exchanges)


@dataclass
class RequestDatabase:
    """A database with requests, whose attempts, responses and callbacks a test creates."""

    connection: Connection
    provider: Provider = HOLD

    def start_attempts(self, number: int = 1, lease: float = 60.0) -> list[Attempt]:
        """Submit requests and start an attempt of each."""
        requests = [NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 3_600.0) for _ in range(number)]
        submit_requests(self.connection, requests)
        return claim_requests(self.connection, [ProviderCapacity("sandbox", number)], lease)

    def start_next_attempt(self) -> Attempt:
        """Start the next attempt of the queued request."""
        self.connection.execute("UPDATE requests SET due_at = now() WHERE status = 'queued'")
        [attempt] = claim_requests(self.connection, [ProviderCapacity("sandbox", 1)], 60.0)
        return attempt

    def end_attempt(self, attempt: Attempt, outcome: Response | NoResponse = NO_RESPONSE) -> None:
        """Record the outcome of an attempt."""
        record_attempts(self.connection, [complete(self.provider, attempt, outcome)])

    def call_back(self, reference: str, token: UUID | str | None, state: str = "SENT") -> None:
        """Record a callback that was sent to the URL of an attempt."""
        parsed = parse_callback(VerifiedCallback(self.provider, build_incoming(build_report(reference, state), token)))
        record_callbacks(self.connection, parsed.events, [parsed.stored], parsed.job_ids_to_poll)

    def status(self, attempt: Attempt) -> str:
        return str(self._find_request(attempt)[0])

    def detail(self, attempt: Attempt) -> str:
        return str(self._find_request(attempt)[1])

    def owner(self, reference: str) -> UUID | None:
        row = self.connection.execute("SELECT request_id FROM jobs WHERE reference = %s", [reference]).fetchone()
        assert row
        return UUID(str(row[0])) if row[0] else None

    def _find_request(self, attempt: Attempt) -> Sequence[Any]:
        row = self.connection.execute(
            "SELECT status, detail FROM requests WHERE id = %s", [attempt.request_id]
        ).fetchone()
        assert row
        return row


@pytest.fixture
def store(connection: Connection) -> RequestDatabase:
    return RequestDatabase(connection)


@pytest.fixture
def other_connection(dsn: str) -> Iterator[Connection]:
    """A second connection to the database."""
    with closing(connect(dsn)) as connection:
        yield connection


def build_incoming(body: bytes, token: UUID | str | None = None) -> IncomingCallback:
    target = "/callbacks/sandbox" + (f"?request={token}" if token else "")
    return IncomingCallback("POST", target, {"webhook-id": uuid4().hex}, body, datetime.now(UTC))


def build_accepted_response(reference: str) -> Response:
    return Response(202, {}, b'{"items": [{"id": "%s", "status": "ACK", "code": 1801}]}' % reference.encode())


def test_callback_with_token_accepts_unknown_request(store: RequestDatabase) -> None:
    [attempt] = store.start_attempts()
    store.end_attempt(attempt)
    assert store.status(attempt) == "unknown"
    store.call_back("r", attempt.id)
    assert store.status(attempt) == "accepted"
    assert store.detail(attempt) == "no response: dropped; accepted: one of its jobs is known"
    assert store.owner("r") == attempt.request_id


def test_callback_with_token_cancels_the_retry(store: RequestDatabase) -> None:
    store.provider = RETRY
    for outcome in (NO_RESPONSE, Response(500, {}, b"")):
        [attempt] = store.start_attempts()
        store.end_attempt(attempt, outcome)
        assert store.status(attempt) == "queued"
        store.call_back(f"r-{attempt.id}", attempt.id)
        assert store.status(attempt) == "accepted"
    assert claim_requests(store.connection, [ProviderCapacity("sandbox", 9)], 60.0) == []


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
    store: RequestDatabase, configured: Provider, outcome: Response | NoResponse, status: str
) -> None:
    store.provider = configured
    [attempt] = store.start_attempts()
    store.call_back("r", attempt.id)
    assert store.status(attempt) == "sending"
    store.end_attempt(attempt, outcome)
    assert store.status(attempt) == status
    assert store.owner("r") == attempt.request_id


def test_lost_attempt_with_known_job_is_accepted(store: RequestDatabase, database: Database) -> None:
    [attempt] = store.start_attempts(lease=-1.0)
    store.call_back("r", attempt.id)
    with sweeping(database, HOLD) as sweep:
        sweep()
    assert store.status(attempt) == "accepted"


def test_token_of_earlier_attempt_accepts_request(store: RequestDatabase) -> None:
    store.provider = RETRY
    [first] = store.start_attempts()
    store.end_attempt(first)
    second = store.start_next_attempt()
    store.call_back("r", first.id)
    store.end_attempt(second)
    assert store.status(first) == "accepted"


def test_late_response_accepts_queued_request(store: RequestDatabase) -> None:
    store.provider = RETRY
    [first] = store.start_attempts()
    store.connection.execute("UPDATE requests SET leased_until = now() - interval '1 second'")
    store.end_attempt(first)  # The sweep does the same.
    second = store.start_next_attempt()
    store.end_attempt(second, Response(503, {}, b""))
    assert store.status(first) == "queued"
    store.end_attempt(first, build_accepted_response("late"))
    assert store.status(first) == "accepted"
    assert store.owner("late") == first.request_id


def test_token_of_rejected_attempt_does_not_accept_a_manual_retry(store: RequestDatabase) -> None:
    [attempt] = store.start_attempts()
    store.end_attempt(attempt, Response(400, {}, b""))
    assert retry_request(store.connection, attempt.request_id, 3_600.0)
    store.call_back("r", attempt.id)
    assert store.status(attempt) == "queued"


@pytest.mark.parametrize("after", ["expire", "claim"])
def test_accepted_request_never_becomes_unknown_again(store: RequestDatabase, after: str) -> None:
    store.provider = RETRY
    [attempt] = store.start_attempts()
    store.end_attempt(attempt)
    store.call_back("r", attempt.id)
    store.connection.execute("UPDATE requests SET deadline_at = now()")
    if after == "expire":
        assert expire_requests(store.connection, 10, {}) == 0
    assert claim_requests(store.connection, [ProviderCapacity("sandbox", 9)], 60.0) == []
    assert store.status(attempt) == "accepted"


@pytest.mark.parametrize("token", ["", "7", "x" * 36, "018f0000-0000-4000-8000-000000000000", "' OR 1=1"])
def test_invalid_token_is_ignored_and_callback_is_recorded(store: RequestDatabase, token: str) -> None:
    [attempt] = store.start_attempts()
    store.end_attempt(attempt)
    store.call_back("r", token)
    assert store.owner("r") is None
    assert store.status(attempt) == "unknown"
    store.call_back("s", attempt.request_id)  # The request id, which clients see, is not a token.
    assert store.owner("s") is None


def test_token_of_another_provider_is_ignored(store: RequestDatabase) -> None:
    [attempt] = store.start_attempts()
    store.end_attempt(attempt)
    store.provider = replace(HOLD, name="another")
    store.call_back("r", attempt.id)
    assert store.owner("r") is None
    assert store.status(attempt) == "unknown"


def test_token_is_ignored_if_the_provider_is_sent_none(store: RequestDatabase) -> None:
    [attempt] = store.start_attempts()
    store.end_attempt(attempt)
    store.provider = WITHOUT_TOKENS
    store.call_back("r", attempt.id)
    assert store.owner("r") is None


def test_token_of_another_request_does_not_move_a_job(store: RequestDatabase) -> None:
    first, second = store.start_attempts(2)
    store.end_attempt(first, build_accepted_response("r"))
    store.end_attempt(second)
    store.call_back("r", second.id)
    assert store.owner("r") == first.request_id
    assert store.status(second) == "unknown"


def build_deliveries(*tokens: UUID | None) -> list[ParsedCallback]:
    """Return parsed deliveries of one callback, one to the URL of each token."""
    event_id, body = uuid4().hex, build_report("r", "DELIVERED")
    deliveries = [
        replace(build_incoming(body, token), headers={"webhook-id": event_id, "n": str(number)})
        for number, token in enumerate(tokens)
    ]
    return [parse_callback(VerifiedCallback(HOLD, delivery)) for delivery in deliveries]


def record_together(store: RequestDatabase, deliveries: Sequence[ParsedCallback]) -> None:
    """Record deliveries in one batch."""
    events = [event for parsed in deliveries for event in parsed.events]
    record_callbacks(store.connection, events, [parsed.stored for parsed in deliveries], [])


@pytest.mark.parametrize("order", [1, -1])
def test_delivery_with_token_matches_the_job_in_any_order(store: RequestDatabase, order: int) -> None:
    """A provider may call back at the registered URL and at the URL of the attempt."""
    [attempt] = store.start_attempts()
    store.connection.execute("UPDATE requests SET notify_url = 'https://shop.example/told'")
    store.end_attempt(attempt)
    record_together(store, build_deliveries(None, attempt.id)[::order])
    assert (store.status(attempt), store.owner("r")) == ("accepted", attempt.request_id)
    row = store.connection.execute("SELECT notify, (SELECT request_id FROM events) FROM jobs").fetchone()
    assert row == (True, attempt.request_id)


def test_deliveries_with_two_tokens_accept_one_request(store: RequestDatabase) -> None:
    attempts = store.start_attempts(2)
    for attempt in attempts:
        store.end_attempt(attempt)
    record_together(store, build_deliveries(*(attempt.id for attempt in attempts)))
    assert store.owner("r") == attempts[0].request_id
    assert [store.status(attempt) for attempt in attempts] == ["accepted", "unknown"]


def test_token_accepts_a_manual_retry_of_an_unknown_request(store: RequestDatabase) -> None:
    [attempt] = store.start_attempts()
    store.end_attempt(attempt, Response(202, {}, b'{"items": [{"id": "r", "status": "ACK", "code": 9999}]}'))
    assert store.status(attempt) == "unknown"
    assert retry_request(store.connection, attempt.request_id, 3_600.0)
    store.call_back("r", attempt.id)
    assert store.status(attempt) == "accepted"


def test_request_id_hint_applies_to_each_item(store: RequestDatabase) -> None:
    first, second = store.start_attempts(2)
    for attempt in (first, second):
        store.end_attempt(attempt)
    owners = [first.request_id, None, second.request_id, first.id]
    events = [replace(event(f"r-{number}"), request_hint=RequestHint(owner)) for number, owner in enumerate(owners)]
    record_callbacks(store.connection, events, [], [])
    assert [store.owner(f"r-{number}") for number in range(4)] == [first.request_id, None, second.request_id, None]
    assert {store.status(first), store.status(second)} == {"accepted"}


def test_token_matches_several_jobs_of_one_callback(store: RequestDatabase) -> None:
    [attempt] = store.start_attempts()
    store.end_attempt(attempt)
    body = build_reports({"id": "a", "state": "DELIVERED"}, {"id": "b", "state": "SENT"})
    parsed = parse_callback(VerifiedCallback(HOLD, build_incoming(body, attempt.id)))
    record_callbacks(store.connection, parsed.events, [parsed.stored], parsed.job_ids_to_poll)
    assert (store.owner("a"), store.owner("b")) == (attempt.request_id, attempt.request_id)


def run_blocked(
    store: RequestDatabase, dsn: str, first: Callable[[Connection], None], second: Callable[[Connection], None]
) -> None:
    """Run `second` while the transaction of `first` is open: it must wait for the row of the request, then finish."""
    with ThreadPoolExecutor(1) as pool, closing(connect(dsn)) as second_connection:
        with store.connection.transaction():
            first(store.connection)
            blocked = pool.submit(second, second_connection)
            with closing(connect(dsn)) as watcher:
                wait_for(lambda: watcher.execute(FIND_LOCK_WAITERS).fetchall())
        blocked.result(10)


def test_attempt_blocked_by_callback_is_accepted(store: RequestDatabase, dsn: str) -> None:
    """The row that the recorder read before it waited is outdated."""
    [attempt] = store.start_attempts()
    completed = complete(HOLD, attempt, NO_RESPONSE)
    run_blocked(
        store,
        dsn,
        lambda _: store.call_back("r", attempt.id),
        lambda connection: record_attempts(connection, [completed]),
    )
    assert store.status(attempt) == "accepted"


def test_callback_blocked_by_attempt_accepts_request(store: RequestDatabase, dsn: str) -> None:
    [attempt] = store.start_attempts()
    run_blocked(
        store,
        dsn,
        lambda _: store.end_attempt(attempt),
        lambda connection: RequestDatabase(connection).call_back("r", attempt.id),
    )
    assert store.status(attempt) == "accepted"


def test_callbacks_and_attempts_of_same_requests_do_not_deadlock(store: RequestDatabase, dsn: str) -> None:
    """Two web processes and two workers record the same requests, each in another order."""
    rounds, size, rng = 12, 40, random.Random(7)
    for _ in range(rounds):
        attempts = store.start_attempts(size)
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
        assert {store.status(attempt) for attempt in attempts} == {"accepted"}


def test_polls_and_attempts_with_refused_credentials_do_not_deadlock(store: RequestDatabase, dsn: str) -> None:
    """A poll records its events first, then the refusal of credentials; the recorder of attempts does the same."""
    refused, attempt = store.start_attempts(2)
    completed = [
        complete(HOLD, refused, Response(401, {}, b"")),
        complete(HOLD, attempt, build_accepted_response("r")),
    ]
    refusal = CredentialRefusal(HOLD.name, HOLD.fingerprint, "refused")
    with ThreadPoolExecutor(1) as pool, closing(connect(dsn)) as other, closing(connect(dsn)) as watcher:
        with store.connection.transaction():
            reconcile(store.connection, [event("r", JobStatus.IN_PROGRESS)])
            blocked = pool.submit(record_attempts, other, completed)
            wait_for(lambda: watcher.execute(FIND_LOCK_WAITERS).fetchall())
            record_refusals(store.connection, [refusal])
        blocked.result(10)
    assert (store.status(refused), store.status(attempt)) == ("queued", "accepted")


def test_callback_racing_the_sweep_accepts_request(store: RequestDatabase, dsn: str, database: Database) -> None:
    with closing(CallbackBatcher(dsn)) as batcher, sweeping(database, RETRY) as sweep:
        for _ in range(25):
            attempts = store.start_attempts(4, lease=-1.0)
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
            assert {store.status(attempt) for attempt in attempts} == {"accepted"}
            assert {store.owner(f"r-{attempt.id}") for attempt in attempts} == {
                attempt.request_id for attempt in attempts
            }


def test_callback_without_hint_locks_no_request(store: RequestDatabase, other_connection: Connection) -> None:
    [attempt] = store.start_attempts()
    store.end_attempt(attempt, build_accepted_response("r"))
    with other_connection.transaction():
        other_connection.execute("SELECT FROM requests FOR UPDATE")
        store.call_back("r", None, "DELIVERED")
    row = store.connection.execute("SELECT status FROM jobs WHERE id = %s", [derive_job_id("sandbox", "r")]).fetchone()
    assert row == ("succeeded",)


def test_only_undecided_requests_are_locked(store: RequestDatabase) -> None:
    waiting, decided = store.start_attempts(2)
    store.end_attempt(decided, build_accepted_response("r"))
    assert lock_undecided_requests(store.connection, [waiting.request_id, decided.request_id]) == {waiting.request_id}
