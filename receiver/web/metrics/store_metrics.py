"""The metrics of the store as a web process sees it: readiness, waiting commits, failures and connections."""

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from receiver.store.database import Database
from receiver.store.errors import FailureKind
from receiver.store.group_commit import CommitStats

_CHECK_INTERVAL_S = 10.0


class StoreMetrics:
    """The metrics of one process, summed over all processes of the run; of readiness and age the worst is served."""

    def __init__(
        self, database: Database, queues: Mapping[str, CommitStats], registry: CollectorRegistry | None
    ) -> None:
        self._database = database
        self._queues = queues
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
        self._commits = Counter(
            "receiver_commits_total", "Batches that were committed, or failed to be.", ["queue"], registry=registry
        )
        self._committed_items = Counter(
            "receiver_committed_items_total", "Items of the batches.", ["queue"], registry=registry
        )
        self._commit_seconds = Counter(
            "receiver_commit_seconds_total", "Seconds that writing the batches took.", ["queue"], registry=registry
        )
        self._counted_commits = dict.fromkeys(queues, (0, 0, 0.0))
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
        for name, stats in self._queues.items():
            self._count_commits(name, stats)

    def _count_commits(self, name: str, stats: CommitStats) -> None:
        batches, items, seconds = self._counted_commits[name]
        self._counted_commits[name] = counts = (stats.batches, stats.items, stats.seconds)
        self._commits.labels(name).inc(counts[0] - batches)
        self._committed_items.labels(name).inc(counts[1] - items)
        self._commit_seconds.labels(name).inc(counts[2] - seconds)

    def check(self) -> None:
        """Check the store every ten seconds, so that a failure is noticed without traffic."""
        if time.monotonic() >= self._check_at:
            self._database.health.check()
            self._check_at = time.monotonic() + _CHECK_INTERVAL_S
