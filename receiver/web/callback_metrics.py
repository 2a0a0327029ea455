"""What a web process counts of its own work, and the registry in which it and the database's figures are found.

An answer to a callback is noted at the price of an append, and counted with all others once a second: to count each at
once would cost several microseconds, in the path that callbacks storm through. Of several gunicorn workers each tells
the sum of all; see `MultiprocessDirectory`.
"""

import os
import threading
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from receiver.inbound.receive import CallbackBatcher
from receiver.web.database_collector import DatabaseCollector
from receiver.web.library_checks import check_prometheus_client
from receiver.web.multiprocess_directory import VARIABLE, lock_directory
from receiver.web.waiting import JobWaiters

UNKNOWN_PROVIDER = "_unknown"
"""Stands for every provider that is not configured: strangers choose those names. No provider can be called so."""

_EVERY = 1.0
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ACKNOWLEDGED = "acknowledged"
_OUTCOMES = {
    400: "malformed",
    401: "refused",
    404: "not_found",
    405: "wrong_method",
    413: "too_large",
    415: "wrong_media_type",
    500: "broken",
    503: "unavailable",
}
_SHOWN_FROM_THE_START = (_ACKNOWLEDGED, "malformed", "refused", "unavailable")
"""A counter that first appears with a 1 shows no increase."""

_log = structlog.get_logger(__name__)


class CallbackMetrics:
    """The meters of one process; to be made after it was forked."""

    def __init__(self, dsn: str, providers: Collection[str], inbox: CallbackBatcher, waiters: JobWaiters) -> None:
        self._registry = CollectorRegistry()
        shared = os.environ.get(VARIABLE)
        if shared:
            Path(shared).mkdir(parents=True, exist_ok=True)
            self._registry.register(_AllProcesses(Path(shared)))
        self._make(None if shared else self._registry, providers)
        self._registry.register(DatabaseCollector(dsn, providers))
        self._inbox = inbox
        self._waiters = waiters
        self._answers: deque[tuple[str, int, float]] = deque()
        self._counting = threading.Lock()
        self._closing = threading.Event()
        self._counter = threading.Thread(target=self._run, name="meters", daemon=True)
        self._counter.start()

    def answered(self, provider: str, status: int, seconds: float) -> None:
        """Note the answer to a callback; `provider` is a configured one or `UNKNOWN_PROVIDER`."""
        self._answers.append((provider, status, seconds))

    def called(self, operation: str, status: int) -> None:
        """Count a call of an operation of the API."""
        self._calls.labels(operation, status).inc()

    def told(self) -> bytes:
        """Give everything in Prometheus's text format."""
        self._count()
        return generate_latest(self._registry)

    def close(self) -> None:
        """Count what is left and stop."""
        self._closing.set()
        self._counter.join()

    def _make(self, registry: CollectorRegistry | None, providers: Collection[str]) -> None:
        self._callbacks = Counter(
            "receiver_callbacks_total",
            "Callbacks answered; those acknowledged are committed, or were a handshake.",
            ["provider", "outcome"],
            registry=registry,
        )
        self._seconds = _Histogram(
            "receiver_callback_duration_seconds",
            "Seconds from a callback's arrival to its answer.",
            ["outcome"],
            buckets=_BOUNDS,
            registry=registry,
        )
        self._calls = Counter(
            "receiver_api_calls_total", "Calls of the API answered.", ["operation", "status"], registry=registry
        )
        self._uncommitted = Gauge(
            "receiver_callbacks_waiting",
            "Callbacks that wait for their commit.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._clients = Gauge(
            "receiver_clients_waiting",
            "Clients that wait for a job to end, with Prefer: wait.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._callbacks.labels(UNKNOWN_PROVIDER, _OUTCOMES[404])
        for outcome in _SHOWN_FROM_THE_START:
            self._seconds.labels(outcome)
            for provider in providers:
                self._callbacks.labels(provider, outcome)
        check_prometheus_client(self._seconds.labels(_ACKNOWLEDGED))

    def _run(self) -> None:
        while not self._closing.wait(_EVERY):
            try:
                self._count()
            except Exception as error:  # it must not end the counting
                _log.warning("meters.not_counted", error=str(error))
        self._count()

    def _count(self) -> None:
        """Count what was noted, and look at the queues."""
        with self._counting:
            noted: dict[tuple[str, int], list[float]] = defaultdict(list)
            for _ in range(len(self._answers)):
                provider, status, seconds = self._answers.popleft()
                noted[provider, status].append(seconds)
            for (provider, status), many in noted.items():
                outcome = _outcome(status)
                self._callbacks.labels(provider, outcome).inc(len(many))
                self._seconds.labels(outcome).observe_all(many)
            self._uncommitted.set(self._inbox.waiting)
            self._clients.set(self._waiters.waiting)


class _Histogram(Histogram):
    """A histogram that takes many observations at once, at a tenth of what they cost one by one."""

    def observe_all(self, amounts: Iterable[float]) -> None:
        ordered = sorted(amounts)
        self._sum.inc(sum(ordered))
        below = 0
        for bound, bucket in zip(self._upper_bounds, self._buckets, strict=True):
            up_to = bisect_right(ordered, bound)
            if up_to > below:
                bucket.inc(up_to - below)
            below = up_to


class _AllProcesses(Collector):
    """What all processes of this run have counted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = MultiProcessCollector(None, str(directory))  # type: ignore[no-untyped-call]  # the library's gap

    def collect(self) -> list[Metric]:
        with lock_directory(self._directory):
            return list(self._files.collect())  # type: ignore[no-untyped-call]  # likewise


def _outcome(status: int) -> str:
    return _ACKNOWLEDGED if status < 300 else _OUTCOMES.get(status, str(status))
