"""What the observers of exchanges count, and how little that costs."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from receiver.domain.jobs import EventSource, JobEvent, JobStatus, build_unresolved_event, derive_job_id
from receiver.domain.sending import Decision, NoResponse, NotSent, Outcome, RequestStatus, Response
from receiver.domain.unknown_requests import UnknownRequest
from receiver.exchange.work import CompletedExchange, ExchangeResult
from receiver.followup.poll import PollBatch
from receiver.providers.capabilities import OutgoingRequest
from receiver.store.jobs import SilentJob
from receiver.store.requests import AttemptOutcome
from receiver.store.unknown_requests import LookupUpdate
from receiver.worker.exchange_metrics import LookupObserver, PollObserver, SendObserver
from tests.support.factories import NOON, attempt, event, provider

PROVIDER = provider()
MAX_COST_S = 10e-6
"""Far above the usual cost of 1 to 2 µs for all that an exchange counts: the machine may be busy."""


def record_attempt(observer: SendObserver, outcome: Outcome, status: RequestStatus) -> None:
    work = attempt()
    exchange = CompletedExchange(PROVIDER, work, outcome, NOON, jitter=0.5)
    observer.on_record(exchange, ExchangeResult(AttemptOutcome(work, outcome, Decision(status))))


@pytest.mark.parametrize(
    ("outcome", "status", "result", "attempt_outcome"),
    [
        (Response(202, {}, b""), RequestStatus.ACCEPTED, "2xx", "accepted"),
        (Response(302, {}, b""), RequestStatus.REJECTED, "3xx", "rejected"),
        (Response(404, {}, b""), RequestStatus.REJECTED, "4xx", "rejected"),
        (Response(429, {}, b""), RequestStatus.QUEUED, "429", "retried"),
        (Response(503, {}, b""), RequestStatus.FAILED, "5xx", "failed"),
        (Response(799, {}, b""), RequestStatus.REJECTED, "other", "rejected"),
        (NoResponse("dropped", sent=True), RequestStatus.UNKNOWN, "no_response", "unknown"),
        (NoResponse("refused", sent=False), RequestStatus.QUEUED, "not_connected", "retried"),
        (NotSent("stopped"), RequestStatus.QUEUED, None, "not_sent"),
    ],
)
def test_attempt_is_counted_by_response_and_outcome(
    outcome: Outcome, status: RequestStatus, result: str | None, attempt_outcome: str
) -> None:
    observer = SendObserver()
    record_attempt(observer, outcome, status)
    assert {name for name, count in observer.results["sandbox"].items() if count} == {*filter(None, [result])}
    assert {name for name, count in observer.outcomes["sandbox"].items() if count} == {attempt_outcome}


def build_job(reference: str) -> SilentJob:
    job_id = derive_job_id("sandbox", reference)
    return SilentJob(job_id, "sandbox", reference, None, 1, NOON, NOON + timedelta(hours=1), NOON)


def count_polls(references: Sequence[str], events: Sequence[JobEvent], outcome: Outcome) -> dict[str, int]:
    observer = PollObserver()
    poll = PollBatch("sandbox", [build_job(reference) for reference in references])
    observer.on_record(CompletedExchange(PROVIDER, poll, outcome, NOON, jitter=0.5), ExchangeResult([], events))
    return {result: count for result, count in observer.outcomes["sandbox"].items() if count}


def test_each_job_of_a_poll_is_counted_once() -> None:
    events = [
        event("done", JobStatus.FAILED, source=EventSource.POLL),
        event("running", JobStatus.IN_PROGRESS, source=EventSource.POLL),
        event("odd", None, source=EventSource.POLL),
        event("late", JobStatus.IN_PROGRESS, source=EventSource.POLL),
        build_unresolved_event(derive_job_id("sandbox", "late"), "sandbox", "late", NOON, "gave up"),
        event("of another poll", JobStatus.SUCCEEDED, source=EventSource.POLL),
    ]
    counts = count_polls(["done", "running", "odd", "late", "silent"], events, Response(200, {}, b""))
    assert counts == {"final": 1, "open": 2, "given_up": 1, "unreported": 1}


def test_poll_that_was_not_sent_counts_its_jobs() -> None:
    assert count_polls(["a", "b"], [], NotSent("the worker stopped")) == {"not_sent": 2}


@pytest.mark.parametrize(
    ("status", "outcome"), [(RequestStatus.ACCEPTED, "accepted"), (RequestStatus.QUEUED, "retried")]
)
def test_lookup_is_counted_by_what_became_of_the_request(status: RequestStatus, outcome: str) -> None:
    observer = LookupObserver()
    work = UnknownRequest(uuid4(), "sandbox", "send", {}, 0, 1, 0, NOON, NOON, NOON)
    update = LookupUpdate(work.id, 1, NOON, status, None, None, absent=False)
    exchange = CompletedExchange(PROVIDER, work, Response(200, {}, b""), NOON, jitter=0.5)
    observer.on_record(exchange, ExchangeResult(update))
    observer.on_record(replace(exchange, outcome=NotSent("stopped")), ExchangeResult(update))
    assert {name for name, count in observer.outcomes["sandbox"].items() if count} == {outcome, "not_sent"}


def measure(call: Callable[[], None]) -> float:
    """Return the CPU time of a call in seconds: the shortest mean of several series."""
    means = []
    for _ in range(20):
        started = time.thread_time()
        for _ in range(200):
            call()
        means.append((time.thread_time() - started) / 200)
    return min(means)


def test_counting_an_exchange_is_cheap() -> None:
    observer, work, outcome = SendObserver(), attempt(), Response(202, {}, b"")
    exchange = CompletedExchange(PROVIDER, work, outcome, NOON, jitter=0.5)
    result = ExchangeResult(AttemptOutcome(work, outcome, Decision(RequestStatus.ACCEPTED)))
    outgoing = OutgoingRequest("POST", "/", {})

    def count_exchange() -> None:
        with observer.time_exchange(work, outgoing, nullcontext()):
            pass
        observer.on_record(exchange, result)

    assert measure(count_exchange) < MAX_COST_S
