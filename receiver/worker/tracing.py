"""Spans of exchanges: of attempts, within the trace of their request, and of polls and lookups, of each of their jobs.

They are made when the exchanges are recorded.
"""

import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from receiver.domain.sending import Attempt, NotSent, Outcome, Response
from receiver.domain.tracing import derive_span_id
from receiver.domain.unknown_requests import UnknownRequest
from receiver.exchange.loop import ExchangeObserver
from receiver.exchange.work import CompletedExchange, ExchangeResult, UpdateT, WorkT
from receiver.followup.poll import PollBatch
from receiver.providers.capabilities import OutgoingRequest
from receiver.store.jobs import NextPoll
from receiver.store.requests import AttemptOutcome
from receiver.store.unknown_requests import LookupUpdate
from receiver.tracing.loading import Tracing
from receiver.tracing.spans import AttributeValue, JobReport, SpanData, SpanKind
from receiver.worker.metrics import WorkerMetrics

_MAX_EXCHANGES = 10_000
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _TracedExchange(AbstractContextManager[None]):
    """The context in which an exchange takes place; times are Unix nanoseconds.

    Attributes:
        outgoing: its HTTP request.
        composed_at: when its request was composed; then it waited to be admitted.
        started_at: when it began; 0 if it did not.
        ended_at: when it ended.
    """

    def __init__(self, outgoing: OutgoingRequest, admission: AbstractContextManager[None]) -> None:
        self.outgoing = outgoing
        self.composed_at = time.time_ns()
        self.started_at = 0
        self.ended_at = 0
        self._admission = admission

    def __enter__(self) -> None:
        self._admission.__enter__()
        self.started_at = time.time_ns()

    def __exit__(self, *error: object) -> bool | None:
        self.ended_at = time.time_ns()
        return self._admission.__exit__(*error)  # type: ignore[arg-type]  # they are what this method is called with


class ExchangeTracer(ExchangeObserver[WorkT, UpdateT]):
    """Traces exchanges once they are recorded; `observer` observes them, too."""

    def __init__(self, tracing: Tracing, observer: ExchangeObserver[WorkT, UpdateT] | None) -> None:
        self._tracing = tracing
        self._observer = observer or ExchangeObserver()
        self._exchanges: dict[int, _TracedExchange] = {}

    def time_exchange(
        self, work: WorkT, outgoing: OutgoingRequest, admission: AbstractContextManager[None]
    ) -> AbstractContextManager[None]:
        while len(self._exchanges) >= _MAX_EXCHANGES:  # those that cannot be recorded stay
            del self._exchanges[next(iter(self._exchanges))]
        observed = self._observer.time_exchange(work, outgoing, admission)
        exchange = self._exchanges[id(work)] = _TracedExchange(outgoing, observed)
        return exchange

    def on_claim(self, count: int, seconds: float) -> None:
        self._observer.on_claim(count, seconds)

    def on_record(self, exchange: CompletedExchange[WorkT], result: ExchangeResult[UpdateT]) -> None:
        self._observer.on_record(exchange, result)
        traced = self._exchanges.pop(id(exchange.work), None)
        if traced is not None and traced.started_at:
            self.trace(exchange, result, traced)

    @abstractmethod
    def trace(
        self, exchange: CompletedExchange[WorkT], result: ExchangeResult[UpdateT], traced: _TracedExchange
    ) -> None:
        """Trace an exchange that took place, and whose result is committed."""

    def trace_reports(
        self, exchange: CompletedExchange[WorkT], traced: _TracedExchange, name: str, ids: Sequence[UUID]
    ) -> None:
        """Trace a poll or a lookup of these jobs or requests."""
        error = _find_error(exchange.outcome)
        attributes = _build_attributes(exchange, traced)
        name = f"{name} {exchange.work.provider}"
        data = SpanData(name, SpanKind.CLIENT, traced.started_at, traced.ended_at, attributes, error)
        self._tracing.jobs.trace(JobReport(ids, exchange.ended_at, data))


class AttemptTracer(ExchangeTracer[Attempt, AttemptOutcome]):
    """Traces attempts of requests that have a trace. The id of the span is that which the provider was sent."""

    def trace(
        self,
        exchange: CompletedExchange[Attempt],
        result: ExchangeResult[AttemptOutcome],
        traced: _TracedExchange,
    ) -> None:
        attempt = exchange.work
        if attempt.traceparent is None:
            return
        attributes = _build_attributes(exchange, traced) | {
            "receiver.request.id": str(attempt.request_id),
            "receiver.attempt.id": str(attempt.id),
            "receiver.operation": attempt.operation,
            "receiver.request.status": result.update.decision.status,
            "http.request.resend_count": attempt.failures,
        }
        span = self._tracing.tracer.start_span(
            f"send {attempt.provider}",
            SpanKind.CLIENT,
            attempt.traceparent,
            attributes,
            started_at=traced.started_at,
            span_id=derive_span_id(attempt.id),
        )
        span.end(error=_find_error(exchange.outcome), ended_at=traced.ended_at)
        if any(event.status and event.status.is_final for event in result.events):
            self._tracing.jobs.trace(JobReport([attempt.request_id], exchange.ended_at))


class PollTracer(ExchangeTracer[PollBatch, Sequence[NextPoll]]):
    """Traces polls."""

    def trace(
        self,
        exchange: CompletedExchange[PollBatch],
        result: ExchangeResult[Sequence[NextPoll]],
        traced: _TracedExchange,
    ) -> None:
        self.trace_reports(exchange, traced, "poll", [job.id for job in exchange.work.jobs])


class LookupTracer(ExchangeTracer[UnknownRequest, LookupUpdate]):
    """Traces lookups that found jobs."""

    def trace(
        self,
        exchange: CompletedExchange[UnknownRequest],
        result: ExchangeResult[LookupUpdate],
        traced: _TracedExchange,
    ) -> None:
        self.trace_reports(exchange, traced, "lookup", [exchange.work.id])


class Observers(NamedTuple):
    """What observes the loops of a worker; None for nothing."""

    send: ExchangeObserver[Attempt, AttemptOutcome] | None
    poll: ExchangeObserver[PollBatch, Sequence[NextPoll]] | None
    lookup: ExchangeObserver[UnknownRequest, LookupUpdate] | None


def build_observers(metrics: WorkerMetrics | None, tracing: Tracing | None) -> Observers:
    """Return the observers that count and trace exchanges, as far as both are switched on."""
    observers = Observers(metrics.send, metrics.poll, metrics.lookup) if metrics else Observers(None, None, None)
    if tracing is None:
        return observers
    return Observers(
        AttemptTracer(tracing, observers.send),
        PollTracer(tracing, observers.poll),
        LookupTracer(tracing, observers.lookup),
    )


def _build_attributes(exchange: CompletedExchange[Any], traced: _TracedExchange) -> dict[str, AttributeValue]:
    """Build the attributes of the HTTP exchange: neither its URL nor headers, which may contain secrets."""
    provider, outcome = exchange.provider, exchange.outcome
    attributes: dict[str, AttributeValue] = {
        "receiver.provider": provider.name,
        "receiver.admission_wait_seconds": (traced.started_at - traced.composed_at) / 1e9,
        "http.request.method": traced.outgoing.method,
    }
    url = urlsplit(provider.origin or traced.outgoing.target)  # the target of a notification is a complete URL
    if url.hostname:
        attributes |= {"server.address": url.hostname, "server.port": url.port or _DEFAULT_PORTS[url.scheme]}
    if isinstance(outcome, Response):
        attributes["http.response.status_code"] = outcome.status
    return attributes


def _find_error(outcome: Outcome) -> str | None:
    if isinstance(outcome, Response):
        return str(outcome.status) if outcome.status >= 400 else None
    if isinstance(outcome, NotSent):
        return "not_sent"
    return "no_response" if outcome.sent else "not_connected"
