"""The metrics of the store as a web process sees it: readiness, waiting commits, failures and connections."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge

from receiver.store.database import Database
from receiver.store.errors import FailureKind

_CHECK_INTERVAL_S = 10.0


class StoreMetrics:
    """The metrics of one process, summed over all processes of the run; of readiness and age the worst is served."""

    def __init__(self, database: Database, registry: CollectorRegistry | None) -> None:
        self._database = database
        self._ready = Gauge(
            "receiver_ready", "Whether commits succeed: 1 or 0.", multiprocess_mode="livemin", registry=registry
        )
        self._oldest_commit = Gauge(
            "receiver_oldest_commit_age_seconds",
            "Seconds that the oldest waiting commit has waited, 0 if none waits.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._in_use = Gauge(
            "receiver_database_connections_in_use",
            "Connections of the pools that are in use.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._errors = Counter(
            "receiver_store_errors_total", "Operations on Postgres that failed, by kind.", ["kind"], registry=registry
        )
        for kind in FailureKind:
            self._errors.labels(kind)
        self._counted_errors: dict[FailureKind, int] = {}
        self._check_at = time.monotonic()

    def update(self) -> None:
        """Count the failures since the last call, and update the gauges."""
        health = self._database.health
        self._ready.set(int(health.problem is None))
        self._oldest_commit.set(health.oldest_commit_age)
        self._in_use.set(self._database.in_use_count)
        for kind, count in list(health.error_counts.items()):
            self._errors.labels(kind).inc(count - self._counted_errors.get(kind, 0))
            self._counted_errors[kind] = count

    def check(self) -> None:
        """Check the store every ten seconds, so that a failure is noticed without traffic."""
        if time.monotonic() >= self._check_at:
            self._database.health.check()
            self._check_at = time.monotonic() + _CHECK_INTERVAL_S
