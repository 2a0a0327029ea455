"""The metrics that are read from the database: the values of `/v1/stats` and `/v1/providers` as gauges.

The values are read on demand, at most once in ten seconds for all scrapes, on a connection of their own: a scrape
succeeds even while everything else in this process waits for a connection. A scrape takes two seconds at most; if the
read has not finished by then, the values of the previous read are served. Statistics are read from the replica if there
is one. Whether anything moves is read from the primary: on a replica that is behind, workers would seem dead.
"""

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from receiver.domain.jobs import JobStatus
from receiver.domain.limits import ProviderLimits
from receiver.domain.sending import RequestStatus
from receiver.providers.webhook import PROVIDER_NAME
from receiver.store.connections import Connection, translate_errors
from receiver.store.database import API_LIMIT_S, Database
from receiver.store.limits import count_workers, find_limits
from receiver.store.providers import find_pauses
from receiver.store.reading import Reader
from receiver.store.stats import (
    ATTENTION_KINDS,
    Attention,
    CallbackStats,
    CompletionStats,
    Counts,
    DueAges,
    count_attention,
    count_by_provider,
    find_callback_stats,
    find_completion_stats,
    find_due_ages,
)

_READ_INTERVAL_S = 10.0
_RETRY_INTERVAL_S = 1.0
_SCRAPE_TIMEOUT_S = 2.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Statistics:
    """What may be a little out of date, by provider.

    `callbacks` includes the configured providers only, the others also those that are no longer configured.
    """

    counts: Mapping[str, Counts]
    attention: Mapping[str, Attention]
    completion: Mapping[str, CompletionStats]
    callbacks: Mapping[str, CallbackStats]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The values of one read. `due_ages` and `configured` include providers that are no longer configured."""

    statistics: _Statistics
    workers: int
    due_ages: Sequence[DueAges]
    configured: Mapping[str, bool]
    paused: Mapping[str, bool]
    limits: Mapping[str, ProviderLimits]


class DatabaseCollector(Collector):
    """The metrics of one database, for the configured providers and for all others with stored data."""

    def __init__(self, database: Database, reader: Reader, providers: Collection[str]) -> None:
        self._database = database
        self._reader = reader
        self._providers: Sequence[str] = sorted(providers)
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._finished.set()
        self._next_read_at = time.monotonic()
        self._connected = False
        self._snapshot: _Snapshot | None = None

    def configure(self, providers: Collection[str]) -> None:
        """Serve the metrics of these providers from the next read on."""
        self._providers = sorted(providers)

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; only `receiver_database_up` if the database is unavailable."""
        self._start_read().wait(_SCRAPE_TIMEOUT_S)
        connected, snapshot = self._connected, self._snapshot
        description = "Whether this process can reach the database: 1 or 0."
        yield GaugeMetricFamily("receiver_database_up", description, value=int(connected))
        if connected and snapshot is not None:
            yield GaugeMetricFamily("receiver_workers_alive", "Worker processes that are running.", snapshot.workers)
            yield from _build_counts(snapshot.statistics.counts)
            yield from _build_attention(snapshot)
            yield from _build_ages(snapshot, datetime.now(UTC))
            yield from _build_provider_gauges(snapshot)

    def _start_read(self) -> threading.Event:
        """Start a read if one is due; the returned event is set when no read is running."""
        with self._lock:
            if self._finished.is_set() and time.monotonic() >= self._next_read_at:
                self._finished.clear()
                self._connected = False
                threading.Thread(target=self._read, name="database-metrics", daemon=True).start()
        return self._finished

    def _read(self) -> None:
        try:
            with closing(self._database.connect(limit_s=API_LIMIT_S)) as connection, translate_errors():
                self._connected = True
                providers = self._providers
                statistics = self._reader.read(lambda reading: _read_statistics(reading, providers), connection)
                paused = {pause.name for pause in find_pauses(connection)}
                limits = {row.provider: row for row, _ in find_limits(connection, providers)}
                self._snapshot = _Snapshot(
                    statistics,
                    count_workers(connection),
                    find_due_ages(connection, list(statistics.counts)),
                    {name: name in self._providers for name in statistics.counts.keys() - {PROVIDER_NAME}},
                    {name: name in paused for name in {*self._providers, *statistics.counts.keys() & {PROVIDER_NAME}}},
                    {name: limits.get(name) or ProviderLimits(name) for name in providers},
                )
            self._next_read_at = time.monotonic() + _READ_INTERVAL_S
        except Exception as error:  # whatever it is, the scrape must serve the metrics of the process
            _log.warning("database_metrics.read_failed", error=str(error))
            self._connected, self._snapshot = False, None
            self._next_read_at = time.monotonic() + _RETRY_INTERVAL_S
        finally:
            self._finished.set()


def _read_statistics(connection: Connection, providers: Sequence[str]) -> _Statistics:
    counts = count_by_provider(connection)
    names = sorted(counts.keys() | set(providers))
    return _Statistics(
        {name: counts.get(name, Counts()) for name in names},
        count_attention(connection, names, [*providers, PROVIDER_NAME]),
        find_completion_stats(connection, names),
        find_callback_stats(connection, providers),
    )


def _build_counts(counts: Mapping[str, Counts]) -> Iterator[Metric]:
    requests = _create_gauge("requests", "Requests by status.", "status")
    jobs = _create_gauge("jobs", "Jobs by status.", "status")
    for name, by_status in counts.items():
        for request_status in RequestStatus:
            requests.add_metric([name, request_status], by_status.requests.get(request_status, 0))
        for job_status in JobStatus:
            jobs.add_metric([name, job_status], by_status.jobs.get(job_status, 0))
    yield from (requests, jobs)


def _build_attention(snapshot: _Snapshot) -> Iterator[Metric]:
    disputed = _create_gauge("jobs_disputed", "Jobs with contradicting final statuses.")
    unmatched = _create_gauge("jobs_unmatched", "Jobs without a known request.")
    attention = _create_gauge(
        "attention",
        "Requests, jobs, callbacks and notifications that need attention, and 1 for a paused provider.",
        "kind",
    )
    for name, counts in snapshot.statistics.attention.items():
        disputed.add_metric([name], counts.disputed)
        unmatched.add_metric([name], counts.unmatched)
        for kind in ATTENTION_KINDS:
            attention.add_metric([name, kind], getattr(counts, kind))
    for name, paused in snapshot.paused.items():
        attention.add_metric([name, "paused"], paused)
    notifications = snapshot.statistics.counts.get(PROVIDER_NAME)
    if notifications is not None:
        attention.add_metric([PROVIDER_NAME, "failed"], notifications.requests.get(RequestStatus.FAILED, 0))
    yield from (disputed, unmatched, attention)


def _build_ages(snapshot: _Snapshot, now: datetime) -> Iterator[Metric]:
    oldest = _create_gauge(
        "oldest_open_job_age_seconds", "Seconds since the oldest job without a final status was accepted."
    )
    for name, completion in snapshot.statistics.completion.items():
        if completion.oldest_open_job is not None:
            oldest.add_metric([name], _get_age(completion.oldest_open_job.accepted_at, now))
    due_requests = _create_gauge(
        "oldest_due_request_age_seconds", "Seconds since the oldest queued request became due, or 0."
    )
    due_polls = _create_gauge("oldest_due_poll_age_seconds", "Seconds since the oldest poll became due, or 0.")
    due_lookups = _create_gauge("oldest_due_lookup_age_seconds", "Seconds since the oldest lookup became due, or 0.")
    for ages in snapshot.due_ages:
        due_requests.add_metric([ages.name], ages.requests)
        due_polls.add_metric([ages.name], ages.polls)
        due_lookups.add_metric([ages.name], ages.lookups)
    last = _create_gauge("last_callback_age_seconds", "Seconds since the provider's last accepted callback.")
    missing = _create_gauge(
        "missing_callback_ratio", "Share of recently finished or unresolved jobs without any callback."
    )
    for name, callbacks in snapshot.statistics.callbacks.items():
        if callbacks.last_callback_at is not None:
            last.add_metric([name], _get_age(callbacks.last_callback_at, now))
        if callbacks.missing_rate is not None:
            missing.add_metric([name], callbacks.missing_rate)
    yield from (oldest, due_requests, due_polls, due_lookups, last, missing)


def _build_provider_gauges(snapshot: _Snapshot) -> Iterator[Metric]:
    configured = _create_gauge(
        "provider_configured", "Whether the provider, of which data is stored, is configured: 1 or 0."
    )
    for name, is_configured in snapshot.configured.items():
        configured.add_metric([name], is_configured)
    paused = _create_gauge("provider_paused", "Whether sending to the provider is paused: 1 or 0.")
    for name, is_paused in snapshot.paused.items():
        paused.add_metric([name], is_paused)
    circuits = _create_gauge(
        "provider_circuit_open", "Whether sending to the provider is suspended because requests failed: 1 or 0."
    )
    rates = _create_gauge(
        "provider_lowered_rate", "Requests per second to which the rate was lowered because the provider asked for it."
    )
    for name, limits in snapshot.limits.items():
        circuits.add_metric([name], limits.consecutive_openings > 0)
        if limits.rate is not None:
            rates.add_metric([name], limits.rate)
    yield from (configured, paused, circuits, rates)


def _create_gauge(name: str, description: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"receiver_{name}", description, labels=["provider", *labels])


def _get_age(since: datetime, now: datetime) -> float:
    """Return the seconds since a time, never negative: the clocks of database and process may differ."""
    return max((now - since).total_seconds(), 0.0)
