"""Callbacks that say which request they are about, and what becomes of it; and who meets whom at its row."""

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
from receiver.inbound.receive import CallbackBatcher, ParsedCallback, parse_callback, receive, record_callbacks
from receiver.outbound.dispatch import CompletedAttempt, record_attempts
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.store.database import Connection, Database, connect, translate_errors
from receiver.store.limits import ProviderCapacity
from receiver.store.providers import CredentialRefusal
from receiver.store.requests import NewRequest, claim_requests, expire_requests, retry_request, submit_requests
from receiver.store.unknown_requests import lock_undecided_requests
from tests.factories import event, provider
from tests.http import results, says
from tests.processes import wait_for
from tests.scene import send_policy

PLAIN = provider()
HOLD = replace(PLAIN, callback_settings=replace(PLAIN.callback_settings, by_token=True))
RETRY = replace(HOLD, retry_rules=replace(HOLD.retry_rules, on_ambiguous=OnAmbiguous.RETRY))
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
LOST = NoResponse("dropped", sent=True)


@dataclass
class Desk:
    """A database at which requests were sent, and what then comes in."""

    connection: Connection
    provider: Provider = HOLD

    def send(self, number: int = 1, lease: float = 60.0) -> list[Attempt]:
        """Let attempts of new requests be under way."""
        requests = [NewRequest(uuid4(), "sandbox", "send", {}, {}, None, None, 3_600.0) for _ in range(number)]
        submit_requests(self.connection, requests)
        return claim_requests(self.connection, [ProviderCapacity("sandbox", number)], lease)

    def again(self) -> Attempt:
        """Let the next attempt of what is due be under way."""
        self.connection.execute("UPDATE requests SET due_at = now() WHERE status = 'queued'")
        [attempt] = claim_requests(self.connection, [ProviderCapacity("sandbox", 1)], 60.0)
        return attempt

    def end(self, attempt: Attempt, outcome: Response | NoResponse = LOST) -> None:
        """Let an attempt have ended."""
        record_attempts(self.connection, [CompletedAttempt(self.provider, attempt, outcome, datetime.now(UTC))])

    def call_back(self, reference: str, token: UUID | str | None, state: str = "SENT") -> None:
        """Take a callback to the URL of an attempt."""
        received = parse_callback(self.provider, incoming(says(reference, state), token))
        record_callbacks(self.connection, received.events, [received.callback], received.asked)

    def status(self, attempt: Attempt) -> str:
        return str(self._of(attempt)[0])

    def detail(self, attempt: Attempt) -> str:
        return str(self._of(attempt)[1])

    def owner(self, reference: str) -> UUID | None:
        row = self.connection.execute("SELECT request_id FROM jobs WHERE reference = %s", [reference]).fetchone()
        assert row
        return UUID(str(row[0])) if row[0] else None

    def _of(self, attempt: Attempt) -> Sequence[Any]:
        row = self.connection.execute(
            "SELECT status, detail FROM requests WHERE id = %s", [attempt.request_id]
        ).fetchone()
        assert row
        return row


@pytest.fixture
def desk(connection: Connection) -> Desk:
    return Desk(connection)


@pytest.fixture
def other(dsn: str) -> Iterator[Connection]:
    """Another connection."""
    with closing(connect(dsn)) as opened:
        yield opened


def incoming(body: bytes, token: UUID | str | None = None) -> IncomingCallback:
    target = "/callbacks/sandbox" + (f"?request={token}" if token else "")
    return IncomingCallback("POST", target, {"webhook-id": uuid4().hex}, body, datetime.now(UTC))


def taken(reference: str) -> Response:
    return Response(202, {}, b'{"items": [{"id": "%s", "status": "ACK", "code": 1801}]}' % reference.encode())


def test_an_unknown_request_is_accepted_by_a_callback_with_its_token(desk: Desk) -> None:
    [attempt] = desk.send()
    desk.end(attempt)
    assert desk.status(attempt) == "unknown"
    desk.call_back("r", attempt.id)
    assert desk.status(attempt) == "accepted"
    assert desk.detail(attempt) == "no answer: dropped; it was taken: a job of it is known"
    assert desk.owner("r") == attempt.request_id


def test_a_request_that_waits_to_be_repeated_is_accepted_and_not_sent_again(desk: Desk) -> None:
    desk.provider = RETRY
    for outcome in (LOST, Response(500, {}, b"")):
        [attempt] = desk.send()
        desk.end(attempt, outcome)
        assert desk.status(attempt) == "queued"
        desk.call_back(f"r-{attempt.id}", attempt.id)
        assert desk.status(attempt) == "accepted"
    assert claim_requests(desk.connection, [ProviderCapacity("sandbox", 9)], 60.0) == []


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (LOST, "accepted"),
        (Response(504, {}, b""), "accepted"),
        (Response(500, {}, b""), "accepted"),
        (Response(409, {}, b""), "accepted"),
        (Response(401, {}, b""), "accepted"),
        (Response(202, {}, b"garbage"), "accepted"),
        (taken("r"), "accepted"),
        (Response(204, {}, b""), "completed"),
        (Response(400, {}, b""), "rejected"),
    ],
)
@pytest.mark.parametrize("configured", [HOLD, RETRY])
def test_a_callback_that_overtakes_its_answer_leaves_it_to_the_answer_and_removes_every_doubt(
    desk: Desk, configured: Provider, outcome: Response | NoResponse, status: str
) -> None:
    desk.provider = configured
    [attempt] = desk.send()
    desk.call_back("r", attempt.id)
    assert desk.status(attempt) == "sending"
    desk.end(attempt, outcome)
    assert desk.status(attempt) == status
    assert desk.owner("r") == attempt.request_id


def test_a_lost_attempt_of_a_request_whose_job_is_known_was_taken(desk: Desk, database: Database) -> None:
    [attempt] = desk.send(lease=-1.0)
    desk.call_back("r", attempt.id)
    with send_policy(database, HOLD) as dispatcher:
        dispatcher.sweep()
    assert desk.status(attempt) == "accepted"


def test_the_token_of_an_earlier_attempt_counts_as_well(desk: Desk) -> None:
    desk.provider = RETRY
    [first] = desk.send()
    desk.end(first)
    second = desk.again()
    desk.call_back("r", first.id)
    desk.end(second)
    assert desk.status(first) == "accepted"


def test_a_late_answer_of_a_request_that_waits_to_be_repeated_accepts_it(desk: Desk) -> None:
    desk.provider = RETRY
    [first] = desk.send()
    desk.connection.execute("UPDATE requests SET leased_until = now() - interval '1 second'")
    desk.end(first)  # as the sweep does
    second = desk.again()
    desk.end(second, Response(503, {}, b""))
    assert desk.status(first) == "queued"
    desk.end(first, taken("late"))
    assert desk.status(first) == "accepted"
    assert desk.owner("late") == first.request_id


def test_a_request_that_an_operator_sends_again_is_not_taken_for_what_it_was_before(desk: Desk) -> None:
    [attempt] = desk.send()
    desk.end(attempt, Response(400, {}, b""))
    assert retry_request(desk.connection, attempt.request_id, 3_600.0)
    desk.call_back("r", attempt.id)
    assert desk.status(attempt) == "queued"


@pytest.mark.parametrize("end", ["expire", "claim"])
def test_nothing_puts_an_accepted_request_back_in_doubt(desk: Desk, end: str) -> None:
    desk.provider = RETRY
    [attempt] = desk.send()
    desk.end(attempt)
    desk.call_back("r", attempt.id)
    desk.connection.execute("UPDATE requests SET deadline_at = now()")
    if end == "expire":
        assert expire_requests(desk.connection, 10, {}) == 0
    assert claim_requests(desk.connection, [ProviderCapacity("sandbox", 9)], 60.0) == []
    assert desk.status(attempt) == "accepted"


@pytest.mark.parametrize("token", ["", "7", "x" * 36, "018f0000-0000-4000-8000-000000000000", "' OR 1=1"])
def test_a_strangers_token_is_passed_over_and_the_callback_is_recorded(desk: Desk, token: str) -> None:
    [attempt] = desk.send()
    desk.end(attempt)
    desk.call_back("r", token)
    assert desk.owner("r") is None
    assert desk.status(attempt) == "unknown"
    desk.call_back("s", attempt.request_id)  # the id that clients see is no token
    assert desk.owner("s") is None


def test_a_token_of_another_providers_request_ties_nothing(desk: Desk) -> None:
    [attempt] = desk.send()
    desk.end(attempt)
    desk.provider = replace(HOLD, name="another")
    desk.call_back("r", attempt.id)
    assert desk.owner("r") is None
    assert desk.status(attempt) == "unknown"


def test_a_token_is_not_read_where_none_is_sent(desk: Desk) -> None:
    [attempt] = desk.send()
    desk.end(attempt)
    desk.provider = PLAIN
    desk.call_back("r", attempt.id)
    assert desk.owner("r") is None


def test_a_job_stays_with_its_request_whatever_token_comes_with_it(desk: Desk) -> None:
    first, second = desk.send(2)
    desk.end(first, taken("r"))
    desk.end(second)
    desk.call_back("r", second.id)
    assert desk.owner("r") == first.request_id
    assert desk.status(second) == "unknown"


def copies(*tokens: UUID | None) -> list[ParsedCallback]:
    """Give deliveries of one callback, to the URL of each token."""
    event_id, body = uuid4().hex, says("r", "DELIVERED")
    return [
        parse_callback(HOLD, replace(incoming(body, token), headers={"webhook-id": event_id, "n": str(number)}))
        for number, token in enumerate(tokens)
    ]


def keep_at_once(desk: Desk, said: Sequence[ParsedCallback]) -> None:
    record_callbacks(
        desk.connection, [event for one in said for event in one.events], [one.callback for one in said], []
    )


@pytest.mark.parametrize("order", [1, -1])
def test_of_copies_that_come_at_once_the_one_with_a_token_ties_whichever_was_first(desk: Desk, order: int) -> None:
    """As where a provider calls back at a URL for all requests and at that of each."""
    [attempt] = desk.send()
    desk.connection.execute("UPDATE requests SET notify_url = 'https://shop.example/told'")
    desk.end(attempt)
    keep_at_once(desk, copies(None, attempt.id)[::order])
    assert (desk.status(attempt), desk.owner("r")) == ("accepted", attempt.request_id)
    row = desk.connection.execute("SELECT notify, (SELECT request_id FROM events) FROM jobs").fetchone()
    assert row == (True, attempt.request_id)


def test_of_copies_with_tokens_of_two_requests_one_alone_is_taken(desk: Desk) -> None:
    attempts = desk.send(2)
    for attempt in attempts:
        desk.end(attempt)
    keep_at_once(desk, copies(*(attempt.id for attempt in attempts)))
    assert desk.owner("r") == attempts[0].request_id
    assert [desk.status(attempt) for attempt in attempts] == ["accepted", "unknown"]


def test_a_request_that_was_unknown_when_an_operator_had_it_sent_again_is_still_in_doubt(desk: Desk) -> None:
    [attempt] = desk.send()
    desk.end(attempt, Response(202, {}, b'{"items": [{"id": "r", "status": "ACK", "code": 9999}]}'))
    assert desk.status(attempt) == "unknown"
    assert retry_request(desk.connection, attempt.request_id, 3_600.0)
    desk.call_back("r", attempt.id)
    assert desk.status(attempt) == "accepted"


def test_an_id_that_is_given_back_names_the_request_for_each_item_by_itself(desk: Desk) -> None:
    first, second = desk.send(2)
    for attempt in (first, second):
        desk.end(attempt)
    owners = [first.request_id, None, second.request_id, first.id]
    said = [replace(event(f"r-{number}"), request_hint=RequestHint(owner)) for number, owner in enumerate(owners)]
    record_callbacks(desk.connection, said, [], [])
    assert [desk.owner(f"r-{number}") for number in range(4)] == [first.request_id, None, second.request_id, None]
    assert {desk.status(first), desk.status(second)} == {"accepted"}


def test_one_callback_may_tell_of_several_jobs_of_a_request(desk: Desk) -> None:
    [attempt] = desk.send()
    desk.end(attempt)
    body = results({"id": "a", "state": "DELIVERED"}, {"id": "b", "state": "SENT"})
    received = parse_callback(HOLD, incoming(body, attempt.id))
    record_callbacks(desk.connection, received.events, [received.callback], received.asked)
    assert (desk.owner("a"), desk.owner("b")) == (attempt.request_id, attempt.request_id)


def meet(desk: Desk, dsn: str, first: Callable[[Connection], None], second: Callable[[Connection], None]) -> None:
    """Let `second` come while the transaction of `first` is open: it must wait for the request's row, and go on."""
    with ThreadPoolExecutor(1) as pool, closing(connect(dsn)) as own:
        with desk.connection.transaction():
            first(desk.connection)
            later = pool.submit(second, own)
            with closing(connect(dsn)) as watching:
                wait_for(lambda: watching.execute(WAITING).fetchall())
        later.result(10)


def test_a_recorder_that_waits_for_a_callback_sees_what_it_said(desk: Desk, dsn: str) -> None:
    """What the recorder read before it waited is not what counts."""
    [attempt] = desk.send()
    ended = CompletedAttempt(HOLD, attempt, LOST, datetime.now(UTC))
    meet(desk, dsn, lambda _: desk.call_back("r", attempt.id), lambda own: record_attempts(own, [ended]))
    assert desk.status(attempt) == "accepted"


def test_a_callback_that_waits_for_a_recorder_sees_the_doubt_it_left(desk: Desk, dsn: str) -> None:
    [attempt] = desk.send()
    meet(desk, dsn, lambda _: desk.end(attempt), lambda own: Desk(own).call_back("r", attempt.id))
    assert desk.status(attempt) == "accepted"


def test_callbacks_and_recorders_of_the_same_requests_never_deadlock(desk: Desk, dsn: str) -> None:
    """Two processes' callbacks and two workers' records, all of the same requests and each in an order of its own."""
    rounds, size, chance = 12, 40, random.Random(7)  # orders, no secrets
    for _ in range(rounds):
        attempts = desk.send(size)
        together = Barrier(4)

        def call_back(order: Sequence[Attempt], together: Barrier = together) -> None:
            received = [parse_callback(HOLD, incoming(says(f"r-{one.id}"), one.id)) for one in order]
            together.wait()
            with closing(connect(dsn)) as own, translate_errors():
                record_callbacks(
                    own, [said for one in received for said in one.events], [one.callback for one in received], []
                )

        def end_all(order: Sequence[Attempt], together: Barrier = together) -> None:
            ended = [CompletedAttempt(RETRY, one, LOST, datetime.now(UTC)) for one in order]
            together.wait()
            with closing(connect(dsn)) as own, translate_errors():
                record_attempts(own, ended)

        orders = [chance.sample(attempts, size) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            running = [
                pool.submit(task, order)
                for task, order in zip((call_back, call_back, end_all, end_all), orders, strict=True)
            ]
            for one in running:
                one.result(30)
        assert {desk.status(attempt) for attempt in attempts} == {"accepted"}


def test_recorders_of_refused_credentials_and_of_what_is_said_of_a_job_do_not_deadlock(desk: Desk, dsn: str) -> None:
    """As one that asked about jobs, which says what it heard of them first and then whether it was refused."""
    refused, attempt = desk.send(2)
    now = datetime.now(UTC)
    ended = [
        CompletedAttempt(HOLD, refused, Response(401, {}, b""), now),
        CompletedAttempt(HOLD, attempt, taken("r"), now),
    ]
    refusal = CredentialRefusal(HOLD.name, HOLD.fingerprint, "refused")
    with ThreadPoolExecutor(1) as pool, closing(connect(dsn)) as own, closing(connect(dsn)) as watching:
        with desk.connection.transaction():
            reconcile(desk.connection, [event("r", JobStatus.IN_PROGRESS)])
            later = pool.submit(record_attempts, own, ended)
            wait_for(lambda: watching.execute(WAITING).fetchall())
            record_refusals(desk.connection, [refusal])
        later.result(10)
    assert (desk.status(refused), desk.status(attempt)) == ("queued", "accepted")


def test_a_callback_and_the_sweep_of_its_lost_attempt_end_alike_whoever_is_first(
    desk: Desk, dsn: str, database: Database
) -> None:
    with closing(CallbackBatcher(dsn)) as inbox, send_policy(database, RETRY) as dispatcher:
        for _ in range(25):
            attempts = desk.send(4, lease=-1.0)
            together = Barrier(1 + len(attempts))

            def call_back(attempt: Attempt, together: Barrier = together) -> None:
                together.wait()
                receive(inbox, RETRY, incoming(says(f"r-{attempt.id}"), attempt.id), timeout=10.0)

            def sweep(together: Barrier = together) -> None:
                together.wait()
                dispatcher.sweep()

            with ThreadPoolExecutor(1 + len(attempts)) as pool:
                running = [pool.submit(sweep), *(pool.submit(call_back, attempt) for attempt in attempts)]
                for one in running:
                    one.result(30)
            dispatcher.sweep()
            assert {desk.status(attempt) for attempt in attempts} == {"accepted"}
            assert {desk.owner(f"r-{one.id}") for one in attempts} == {one.request_id for one in attempts}


def test_a_callback_without_a_claim_locks_no_request(desk: Desk, other: Connection) -> None:
    [attempt] = desk.send()
    desk.end(attempt, taken("r"))
    with other.transaction():
        other.execute("SELECT FROM requests FOR UPDATE")
        desk.call_back("r", None, "DELIVERED")
    row = desk.connection.execute("SELECT status FROM jobs WHERE id = %s", [derive_job_id("sandbox", "r")]).fetchone()
    assert row == ("succeeded",)


def test_only_what_is_undecided_is_locked(desk: Desk) -> None:
    waiting, decided = desk.send(2)
    desk.end(decided, taken("r"))
    assert lock_undecided_requests(desk.connection, [waiting.request_id, decided.request_id]) == {waiting.request_id}
