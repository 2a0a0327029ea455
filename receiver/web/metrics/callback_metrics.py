"""The metrics that a web process counts itself, and the registry that serves them with the metrics of the database.

A response to a callback or to a call of the API is only appended to a queue, and counted with all others once a second:
counting each response at once would cost several microseconds in the path of every callback. With several gunicorn
workers each process serves the sums of all; see `MultiprocessDirectory`.
"""

import os
import struct
import threading
import time
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from receiver.domain.accounts import split_account
from receiver.inbound.receive import CallbackBatcher
from receiver.outbound.submission_batcher import SubmissionBatcher
from receiver.store.database import Database
from receiver.store.reading import Reader
from receiver.web.metrics.database_collector import DatabaseCollector
from receiver.web.metrics.library_checks import check_prometheus_client
from receiver.web.metrics.multiprocess_directory import DIRECTORY_VARIABLE, lock_directory
from receiver.web.metrics.process_metrics import BuildCollector, ProcessMetrics, ReloadCollector
from receiver.web.metrics.store_metrics import StoreMetrics
from receiver.web.server.connections import REFUSALS, Connections
from receiver.web.waiting import JobWaiters

UNKNOWN_PROVIDER = "_unknown"
"""The label of all providers that are not configured, whose names callers make up. No provider can have this name."""

_COUNT_INTERVAL_S = 1.0
_MAX_READ_ATTEMPTS = 10
_READ_RETRY_DELAY_S = 0.01
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ACKNOWLEDGED = "acknowledged"
_OUTCOMES = {
    400: "malformed",
    401: "refused",
    404: "not_found",
    405: "wrong_method",
    408: "timed_out",
    413: "too_large",
    415: "wrong_media_type",
    500: "broken",
    503: "unavailable",
}
_INITIAL_OUTCOMES = (_ACKNOWLEDGED, *_OUTCOMES.values())
"""Served as 0 from the start: a counter that first appears with the value 1 shows no increase."""

_log = structlog.get_logger(__name__)


class CallbackMetrics:
    """The metrics of one process; must be created after the process was forked.

    Attributes:
        callback_responses: the responses to callbacks that are not counted yet, to be appended to: a configured
            provider or `UNKNOWN_PROVIDER`, the status, and the seconds that the response took.
        api_responses: likewise the responses to calls of API operations: the operation, the status, and the seconds.
    """

    def __init__(
        self,
        database: Database,
        reader: Reader,
        providers: Collection[str],
        *,
        batcher: CallbackBatcher,
        submissions: SubmissionBatcher,
        job_waiters: JobWaiters,
    ) -> None:
        self._registry = CollectorRegistry()
        directory = os.environ.get(DIRECTORY_VARIABLE)
        if directory:
            Path(directory).mkdir(parents=True, exist_ok=True)
            self._registry.register(_MultiprocessCollector(Path(directory)))
        self._create_metrics(None if directory else self._registry)
        queues = {"callbacks": batcher.stats, "submissions": submissions.stats}
        self._store_metrics = StoreMetrics(database, queues, None if directory else self._registry)
        self._process_metrics = ProcessMetrics(None if directory else self._registry)
        self._registry.register(BuildCollector())
        self._registry.register(ReloadCollector())
        self._database_collector = DatabaseCollector(database, reader, providers)
        self._registry.register(self._database_collector)
        self.configure(providers)
        self._batcher = batcher
        self._job_waiters = job_waiters
        self.callback_responses: deque[tuple[str, int, float]] = deque()
        self.api_responses: deque[tuple[str, int, float]] = deque()
        self._connections: Connections | None = None
        self._counted_refusals: Mapping[str, int] = {}
        self._count_lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def configure(self, providers: Collection[str]) -> None:
        """Serve the metrics of these providers from now on; counters of an account once they count something."""
        self._database_collector.configure(providers)
        for provider in providers:
            if split_account(provider).account is None:
                for outcome in _INITIAL_OUTCOMES:
                    self._callbacks.labels(provider, outcome)

    def watch_connections(self, connections: Connections) -> None:
        """Count what the connections of this process refuse, and how many wait for their client."""
        self._connections = connections

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        self._count()
        return generate_latest(self._registry)

    def close(self) -> None:
        """Count what is queued, and stop."""
        self._closing.set()
        self._thread.join()

    def _create_metrics(self, registry: CollectorRegistry | None) -> None:
        self._callbacks = Counter(
            "receiver_callbacks_total",
            "Responses to callbacks, by outcome.",
            ["provider", "outcome"],
            registry=registry,
        )
        self._durations = _BatchHistogram(
            "receiver_callback_duration_seconds",
            "Seconds from the arrival of a callback to its response.",
            ["outcome"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._api_calls = Counter(
            "receiver_api_calls_total", "Responses to API calls.", ["operation", "status"], registry=registry
        )
        self._api_durations = _BatchHistogram(
            "receiver_api_call_duration_seconds",
            "Seconds from the arrival of an API call to its response.",
            ["operation"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._waiting_callbacks = Gauge(
            "receiver_callbacks_waiting",
            "Callbacks waiting to be committed.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._waiting_clients = Gauge(
            "receiver_clients_waiting",
            "Clients waiting for a job with `Prefer: wait`.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._refusals = Counter(
            "receiver_requests_refused_total",
            "Requests refused before they were complete, and unread responses.",
            ["reason"],
            registry=registry,
        )
        self._incomplete = Gauge(
            "receiver_requests_incomplete",
            "Connections that wait for their client.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._held_bytes = Gauge(
            "receiver_requests_held_bytes",
            "Bytes that requests hold in memory until they are answered.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        for reason in REFUSALS:
            self._refusals.labels(reason)
        self._callbacks.labels(UNKNOWN_PROVIDER, _OUTCOMES[404])
        for outcome in _INITIAL_OUTCOMES:
            self._durations.labels(outcome)
        check_prometheus_client(self._durations.labels(_ACKNOWLEDGED))

    def _run(self) -> None:
        due_at = time.monotonic() + _COUNT_INTERVAL_S
        while not self._closing.wait(_COUNT_INTERVAL_S):
            try:
                self._process_metrics.update(time.monotonic() - due_at)
                self._store_metrics.check()
                self._count()
            except Exception as error:  # whatever it is, the thread must go on counting
                _log.warning("metrics.count_failed", error=str(error))
            due_at = time.monotonic() + _COUNT_INTERVAL_S
        self._count()

    def _count(self) -> None:
        """Count the queued responses, and update the gauges."""
        with self._count_lock:
            for (provider, status), durations in _take_all(self.callback_responses).items():
                outcome = _get_outcome(status)
                self._callbacks.labels(provider, outcome).inc(len(durations))
                self._durations.labels(outcome).observe_all(durations)
            for (operation, status), durations in _take_all(self.api_responses).items():
                self._api_calls.labels(operation, status).inc(len(durations))
                self._api_durations.labels(operation).observe_all(durations)
            self._waiting_callbacks.set(self._batcher.waiting)
            self._waiting_clients.set(self._job_waiters.count)
            self._count_connections()
            self._store_metrics.update()

    def _count_connections(self) -> None:
        if self._connections is None:
            return
        refusals = dict(self._connections.refusals)
        for reason, count in refusals.items():
            self._refusals.labels(reason).inc(count - self._counted_refusals.get(reason, 0))
        self._counted_refusals = refusals
        self._incomplete.set(self._connections.waiting)
        self._held_bytes.set(self._connections.held_bytes)


class _BatchHistogram(Histogram):
    """A histogram that takes many observations at once, at a tenth of the cost of single observations."""

    def observe_all(self, amounts: Iterable[float]) -> None:
        ordered = sorted(amounts)
        self._sum.inc(sum(ordered))
        previous_count = 0
        for bound, bucket in zip(self._upper_bounds, self._buckets, strict=True):
            count = bisect_right(ordered, bound)
            if count > previous_count:
                bucket.inc(count - previous_count)
            previous_count = count


class _MultiprocessCollector(Collector):
    """The sums over all processes of this run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._collector = MultiProcessCollector(None, str(directory))  # type: ignore[no-untyped-call]  # untyped upstream

    def collect(self) -> list[Metric]:
        # Not while the master merges the files of a worker, which would be counted twice or not at all.
        with lock_directory(self._directory):
            for _ in range(_MAX_READ_ATTEMPTS - 1):
                # A worker that is starting may have created a file that is still empty: prometheus-client sizes it only
                # then, without a lock.
                with suppress(struct.error):
                    return self._read()
                time.sleep(_READ_RETRY_DELAY_S)
            return self._read()

    def _read(self) -> list[Metric]:
        return list(self._collector.collect())  # type: ignore[no-untyped-call]  # untyped upstream


def _take_all(responses: deque[tuple[str, int, float]]) -> Mapping[tuple[str, int], Sequence[float]]:
    """Remove all responses; return the durations by name and status."""
    durations: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(len(responses)):
        name, status, seconds = responses.popleft()
        durations[name, status].append(seconds)
    return durations


def _get_outcome(status: int) -> str:
    return _ACKNOWLEDGED if status < 300 else _OUTCOMES.get(status, str(status))
