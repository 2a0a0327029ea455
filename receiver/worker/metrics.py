"""The metrics that a worker process counts: attempts, exchanges, the lag of the queue, and the progress of its loops.

They are plain numbers that the greenlets of the process change, rendered at a scrape: counting an exchange costs about
a microsecond.
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import Generic

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from receiver.domain.accounts import split_account
from receiver.domain.sending import Attempt, NotSent, RequestStatus
from receiver.domain.unknown_requests import UnknownRequest
from receiver.exchange.loop import ExchangeObserver
from receiver.exchange.work import ExchangeResult, UpdateT, WorkT
from receiver.followup.poll import PollBatch
from receiver.providers.base import Provider
from receiver.store.database import Database
from receiver.store.errors import FailureKind
from receiver.store.jobs import NextPoll
from receiver.store.requests import AttemptOutcome
from receiver.store.unknown_requests import LookupUpdate

_EXCHANGE_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LAG_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
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
"""The outcomes of attempts: the status of the request, unless it is queued again."""


class WorkerMetrics(Collector):
    """The metrics of one worker process.

    Attributes:
        send: observes the loop that sends requests.
        poll: observes the loop that polls jobs.
        lookup: observes the loop that looks up unknown requests.
    """

    def __init__(self, database: Database, providers: Mapping[str, Provider]) -> None:
        self._database = database
        self.send = _SendObserver()
        self.poll: _DurationObserver[PollBatch, Sequence[NextPoll]] = _DurationObserver()
        self.lookup: _DurationObserver[UnknownRequest, LookupUpdate] = _DurationObserver()
        self.configure(providers)
        self._created_at = time.time()
        self._loops: list[_WatchedLoop] = []

    def configure(self, providers: Mapping[str, Provider]) -> None:
        """Serve the metrics of these providers from now on; those of an account once it has some."""
        served = {name: provider for name, provider in providers.items() if split_account(name).account is None}
        self.send.add([name for name, provider in served.items() if provider.sender])
        self.poll.add([name for name, provider in served.items() if provider.poller])
        self.lookup.add([name for name, provider in served.items() if provider.lookup])

    def watch(self, step: Callable[[], float]) -> Callable[[], float]:
        """Return a step of a loop that does the same as `step`, and on whose progress the heartbeat depends."""
        loop = _WatchedLoop(step)
        self._loops.append(loop)
        return loop.step

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield GaugeMetricFamily(
            "receiver_worker_heartbeat_timestamp_seconds",
            "Unix time until which all loops of the worker made progress.",
            min((loop.stalled_since or time.time() for loop in self._loops), default=self._created_at),
        )
        yield from self._build_store_metrics()
        yield self._build_attempts()
        yield self._build_lags()
        yield self._build_durations()

    def _build_store_metrics(self) -> Iterator[Metric]:
        """Yield the metrics that web processes serve too, see `receiver.web.metrics.store_metrics`."""
        health = self._database.health
        yield GaugeMetricFamily(
            "receiver_oldest_commit_age_seconds",
            "Seconds that the oldest waiting commit has waited, 0 if none waits.",
            health.oldest_commit_age,
        )
        yield GaugeMetricFamily(
            "receiver_database_connections_in_use",
            "Connections of the pools that are in use.",
            self._database.in_use_count,
        )
        errors = CounterMetricFamily(
            "receiver_store_errors", "Operations on Postgres that failed, by kind.", labels=["kind"]
        )
        for kind in FailureKind:
            errors.add_metric([kind], health.error_counts[kind])
        yield errors

    def _build_attempts(self) -> Metric:
        family = CounterMetricFamily(
            "receiver_attempts", "Attempts to send a request, by outcome.", labels=["provider", "outcome"]
        )
        for name, counts in self.send.attempts.items():
            for outcome, count in counts.items():
                family.add_metric([name, outcome], count)
        return family

    def _build_lags(self) -> Metric:
        family = HistogramMetricFamily(
            "receiver_queue_lag_seconds",
            "Seconds from the time that a request was due to the start of its attempt.",
            labels=["provider"],
        )
        for name, lag in self.send.lags.items():
            lag.add_to(family, [name])
        return family

    def _build_durations(self) -> Metric:
        family = HistogramMetricFamily(
            "receiver_exchange_duration_seconds",
            "Seconds that HTTP exchanges with a provider took.",
            labels=["provider", "kind"],
        )
        kinds = {"send": self.send.durations, "poll": self.poll.durations, "lookup": self.lookup.durations}
        for kind, durations in kinds.items():
            for name, duration in durations.items():
                duration.add_to(family, [name, kind])
        return family


class _Histogram:
    """Counts of observed seconds by bucket."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        bounds = [*map(str, self._bounds), "+Inf"]
        family.add_metric(labels, list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)


class _DurationObserver(ExchangeObserver[WorkT, UpdateT]):
    """Measures how long exchanges take, by provider."""

    def __init__(self) -> None:
        self.durations: defaultdict[str, _Histogram] = defaultdict(lambda: _Histogram(_EXCHANGE_BOUNDS_S))

    def add(self, providers: Iterable[str]) -> None:
        """Serve these providers before their first exchange."""
        for name in providers:
            _ = self.durations[name]

    def time_exchange(self, work: WorkT, admission: AbstractContextManager[None]) -> AbstractContextManager[None]:
        return _TimedAdmission(self, work, admission)

    def on_begin(self, work: WorkT, waited: float) -> None:
        """Observe that an exchange begins, which waited this many seconds for its admission."""

    def on_end(self, work: WorkT, seconds: float) -> None:
        """Observe that an exchange ended after this many seconds."""
        self.durations[work.provider].observe(seconds)


class _SendObserver(_DurationObserver[Attempt, AttemptOutcome]):
    """Measures attempts: their number by outcome, their durations, and how late they begin."""

    def __init__(self) -> None:
        super().__init__()
        self.lags: defaultdict[str, _Histogram] = defaultdict(lambda: _Histogram(_LAG_BOUNDS_S))
        self.attempts: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(ATTEMPT_OUTCOMES, 0))

    def add(self, providers: Iterable[str]) -> None:
        for name in providers:
            _ = self.durations[name], self.lags[name], self.attempts[name]

    def on_begin(self, work: Attempt, waited: float) -> None:
        self.lags[work.provider].observe(work.overdue + waited)

    def on_record(self, work: Attempt, result: ExchangeResult[AttemptOutcome]) -> None:
        self.attempts[work.provider][_get_outcome(result.update)] += 1


class _TimedAdmission(AbstractContextManager[None], Generic[WorkT, UpdateT]):
    """An admission that measures how long it takes, and how long the exchange within it."""

    def __init__(
        self, observer: _DurationObserver[WorkT, UpdateT], work: WorkT, admission: AbstractContextManager[None]
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


class _WatchedLoop:
    """A loop and its progress.

    Attributes:
        stalled_since: the Unix time at which the first step began after the last one that succeeded; None while the
            loop waits after a step that succeeded.
    """

    def __init__(self, step: Callable[[], float]) -> None:
        self._step = step
        self.stalled_since: float | None = time.time()

    def step(self) -> float:
        if self.stalled_since is None:
            self.stalled_since = time.time()
        interval = self._step()
        self.stalled_since = None
        return interval


def _get_outcome(update: AttemptOutcome) -> str:
    if isinstance(update.outcome, NotSent):
        return _NOT_SENT
    status = update.decision.status
    return _RETRIED if status is RequestStatus.QUEUED else status
