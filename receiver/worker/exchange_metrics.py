"""What a worker counts of the exchanges of each kind: durations, results, waits, and what they mean for the work.

All are plain numbers that the greenlets of the process change: counting an exchange costs about a microsecond.
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import Generic

from prometheus_client.core import HistogramMetricFamily

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import Attempt, NoResponse, NotSent, Outcome, RequestStatus, Response
from receiver.domain.unknown_requests import UnknownRequest
from receiver.exchange.loop import ExchangeObserver
from receiver.exchange.work import CompletedExchange, ExchangeResult, UpdateT, WorkT
from receiver.followup.poll import PollBatch
from receiver.providers.capabilities import OutgoingRequest
from receiver.store.jobs import NextPoll
from receiver.store.requests import AttemptOutcome
from receiver.store.unknown_requests import LookupUpdate

_EXCHANGE_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_CLAIM_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_WAIT_BOUNDS_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LAG_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

_NO_RESPONSE, _NOT_CONNECTED, _THROTTLED, _OTHER = "no_response", "not_connected", "429", "other"
EXCHANGE_RESULTS = ("2xx", "3xx", "4xx", _THROTTLED, "5xx", _NO_RESPONSE, _NOT_CONNECTED, _OTHER)
"""The results of exchanges: the class of the response's status, or why there is no response."""
_STATUS_RESULTS = {
    **{status: f"{status // 100}xx" for status in range(200, 600)},
    429: _THROTTLED,
}

_NOT_SENT, _RETRIED = "not_sent", "retried"
ATTEMPT_OUTCOMES = (
    RequestStatus.ACCEPTED,
    RequestStatus.COMPLETED,
    RequestStatus.REJECTED,
    RequestStatus.FAILED,
    RequestStatus.UNKNOWN,
    _RETRIED,
    _NOT_SENT,
)
"""The outcomes of attempts and of lookups: the status of the request, unless it is queued again."""

_FINAL, _OPEN, _UNREPORTED, _GIVEN_UP = "final", "open", "unreported", "given_up"
POLL_RESULTS = (_FINAL, _OPEN, _UNREPORTED, _GIVEN_UP, _NOT_SENT)
"""The results of the polls of jobs: a final status, another one or none, the end of polling, or no exchange."""


class Histogram:
    """Counts of observed seconds by bucket."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count an observation."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def add(self, bucket: int, count: int, seconds: float) -> None:
        """Count observations of one bucket; `seconds` is their sum."""
        self._counts[bucket] += count
        self._sum += seconds

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add the samples to a family."""
        bounds = [*map(str, self._bounds), "+Inf"]
        family.add_metric(labels, list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)


class KindObserver(ExchangeObserver[WorkT, UpdateT]):
    """Measures the exchanges of one kind, by provider.

    Attributes:
        durations: the seconds that exchanges took.
        waits: the seconds that exchanges waited within the limits of the provider before they began.
        results: the number of exchanges by result, see `EXCHANGE_RESULTS`.
        outcomes: the number of works by what the exchange means for them.
        claims: the seconds that claims took, of all providers.
        claimed: how many exchanges were claimed, of all providers.
    """

    outcome_names: Sequence[str] = ()

    def __init__(self) -> None:
        self.durations: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(_EXCHANGE_BOUNDS_S))
        self.waits: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(_WAIT_BOUNDS_S))
        self.results: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(EXCHANGE_RESULTS, 0))
        self.outcomes: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(self.outcome_names, 0))
        self.claims = Histogram(_CLAIM_BOUNDS_S)
        self.claimed = 0

    def add(self, providers: Iterable[str]) -> None:
        """Serve these providers before their first exchange."""
        for name in providers:
            _ = self.durations[name], self.waits[name], self.results[name], self.outcomes[name]

    def time_exchange(
        self, work: WorkT, outgoing: OutgoingRequest, admission: AbstractContextManager[None]
    ) -> AbstractContextManager[None]:
        return _TimedAdmission(self, work, admission)

    def on_claim(self, count: int, seconds: float) -> None:
        self.claims.observe(seconds)
        self.claimed += count

    def on_begin(self, work: WorkT, waited: float) -> None:
        """Observe that an exchange begins, which waited this many seconds for its admission."""
        self.waits[work.provider].observe(waited)

    def on_end(self, work: WorkT, seconds: float) -> None:
        """Observe that an exchange ended after this many seconds."""
        self.durations[work.provider].observe(seconds)

    def on_record(self, exchange: CompletedExchange[WorkT], result: ExchangeResult[UpdateT]) -> None:
        provider, outcome = exchange.work.provider, exchange.outcome
        if not isinstance(outcome, NotSent):
            self.results[provider][_get_result(outcome)] += 1
        self.count_outcomes(self.outcomes[provider], exchange, result)

    def count_outcomes(
        self, outcomes: dict[str, int], exchange: CompletedExchange[WorkT], result: ExchangeResult[UpdateT]
    ) -> None:
        """Count what an exchange means for its work."""


class SendObserver(KindObserver[Attempt, AttemptOutcome]):
    """Measures attempts, and how late they begin.

    Attributes:
        lags: the seconds from the time that a request was due to the start of its attempt.
    """

    outcome_names = ATTEMPT_OUTCOMES

    def __init__(self) -> None:
        super().__init__()
        self.lags: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(_LAG_BOUNDS_S))

    def add(self, providers: Iterable[str]) -> None:
        names = list(providers)
        super().add(names)
        for name in names:
            _ = self.lags[name]

    def on_begin(self, work: Attempt, waited: float) -> None:
        super().on_begin(work, waited)
        self.lags[work.provider].observe(work.overdue + waited)

    def count_outcomes(
        self, outcomes: dict[str, int], exchange: CompletedExchange[Attempt], result: ExchangeResult[AttemptOutcome]
    ) -> None:
        # Of the result: a response that cannot be stored is replaced.
        is_sent = not isinstance(result.update.outcome, NotSent)
        outcomes[_get_outcome(result.update.decision.status) if is_sent else _NOT_SENT] += 1


class PollObserver(KindObserver[PollBatch, Sequence[NextPoll]]):
    """Measures polls; each job of an exchange counts."""

    outcome_names = POLL_RESULTS

    def count_outcomes(
        self,
        outcomes: dict[str, int],
        exchange: CompletedExchange[PollBatch],
        result: ExchangeResult[Sequence[NextPoll]],
    ) -> None:
        jobs = exchange.work.jobs
        if isinstance(exchange.outcome, NotSent):
            outcomes[_NOT_SENT] += len(jobs)
            return
        # The event with which polling ends follows that of the last report.
        statuses: Mapping[object, JobStatus | None] = {event.job_id: event.status for event in result.events}
        for job in jobs:
            if job.id not in statuses:
                outcomes[_UNREPORTED] += 1
            elif (status := statuses[job.id]) is None or not status.is_final:
                outcomes[_GIVEN_UP if status is JobStatus.UNRESOLVED else _OPEN] += 1
            else:
                outcomes[_FINAL] += 1


class LookupObserver(KindObserver[UnknownRequest, LookupUpdate]):
    """Measures lookups of unknown requests."""

    outcome_names = ATTEMPT_OUTCOMES

    def count_outcomes(
        self,
        outcomes: dict[str, int],
        exchange: CompletedExchange[UnknownRequest],
        result: ExchangeResult[LookupUpdate],
    ) -> None:
        is_sent = not isinstance(exchange.outcome, NotSent)
        outcomes[_get_outcome(result.update.status) if is_sent else _NOT_SENT] += 1


class _TimedAdmission(AbstractContextManager[None], Generic[WorkT, UpdateT]):
    """An admission that measures how long it takes, and how long the exchange within it."""

    def __init__(
        self, observer: KindObserver[WorkT, UpdateT], work: WorkT, admission: AbstractContextManager[None]
    ) -> None:
        self._observer = observer
        self._work = work
        self._admission = admission
        self._time = time.monotonic()

    def __enter__(self) -> None:
        self._admission.__enter__()
        waiting_since, self._time = self._time, time.monotonic()
        self._observer.on_begin(self._work, self._time - waiting_since)

    def __exit__(self, *error: object) -> bool | None:
        self._observer.on_end(self._work, time.monotonic() - self._time)
        return self._admission.__exit__(*error)  # type: ignore[arg-type]  # they are what this method is called with


def _get_result(outcome: Outcome) -> str:
    if isinstance(outcome, Response):
        return _STATUS_RESULTS.get(outcome.status, _OTHER)
    return _NO_RESPONSE if isinstance(outcome, NoResponse) and outcome.sent else _NOT_CONNECTED


def _get_outcome(status: RequestStatus) -> str:
    return _RETRIED if status is RequestStatus.QUEUED else status
