"""The figures of the database as gauges: those of `/v1/stats` and `/v1/providers`.

They are read when somebody asks, at most once in ten seconds for all who ask, and on a connection of their own: they
come also when everything else of this process waits for one. Whoever asks is answered within two seconds. If the
figures are still being read then, those of the last reading are given.
"""

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from receiver.domain.jobs import JobStatus
from receiver.domain.sending import RequestStatus
from receiver.store.database import connect, translate_errors
from receiver.store.limits import find_limits
from receiver.store.providers import find_pauses
from receiver.store.stats import (
    ATTENTION,
    Attention,
    CallbackStats,
    CompletionStats,
    Counts,
    count_attention,
    count_by_provider,
    find_callback_stats,
    find_completion_stats,
)

_EVERY = 10.0
_AGAIN_AFTER = 1.0
_PATIENCE = 2.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What was read at once, by provider: `counts`, `needed`, `paces` of all known, the others of those configured."""

    counts: Mapping[str, Counts]
    needed: Mapping[str, Attention]
    paces: Mapping[str, CompletionStats]
    calling: Mapping[str, CallbackStats]
    paused: Mapping[str, bool]
    circuits: Mapping[str, bool]


class DatabaseCollector(Collector):
    """The figures of one database, of the providers of these names and those that something is stored of."""

    def __init__(self, dsn: str, providers: Collection[str]) -> None:
        self._dsn = dsn
        self._providers = sorted(providers)
        self._lock = threading.Lock()
        self._read = threading.Event()
        self._read.set()
        self._due = time.monotonic()
        self._connected = False
        self._latest: _Snapshot | None = None

    def collect(self) -> Iterator[Metric]:
        """Give the gauges; without the database, only that it is away."""
        self._refresh().wait(_PATIENCE)
        connected, latest = self._connected, self._latest
        up = "Whether the database answers this process: 1 or 0."
        yield GaugeMetricFamily("receiver_database_up", up, value=int(connected))
        if connected and latest is not None:
            yield from _counted(latest.counts)
            yield from _needing(latest)
            yield from _watched(latest, datetime.now(UTC))

    def _refresh(self) -> threading.Event:
        """Have the figures read if it is time; the event is set when they are."""
        with self._lock:
            if self._read.is_set() and time.monotonic() >= self._due:
                self._read.clear()
                self._connected = False
                threading.Thread(target=self._run, name="figures", daemon=True).start()
        return self._read

    def _run(self) -> None:
        try:
            with closing(connect(self._dsn)) as connection, translate_errors():
                self._connected = True
                counts = count_by_provider(connection)
                known = sorted(counts.keys() | set(self._providers))
                paused = {pause.name for pause in find_pauses(connection)}
                limits = {one.provider: one for one, _ in find_limits(connection, self._providers)}
                self._latest = _Snapshot(
                    {name: counts.get(name, Counts()) for name in known},
                    count_attention(connection, known),
                    find_completion_stats(connection, known),
                    find_callback_stats(connection, self._providers),
                    {name: name in paused for name in self._providers},
                    {name: name in limits and limits[name].consecutive_openings > 0 for name in self._providers},
                )
            self._due = time.monotonic() + _EVERY
        except Exception as error:  # whatever it is, the process's own metrics are told
            _log.warning("figures.unavailable", error=str(error))
            self._connected, self._latest = False, None
            self._due = time.monotonic() + _AGAIN_AFTER
        finally:
            self._read.set()


def _counted(counts: Mapping[str, Counts]) -> Iterator[Metric]:
    requests = _gauge("requests", "Requests in the database.", "status")
    jobs = _gauge("jobs", "Jobs in the database.", "status")
    for name, counted in counts.items():
        for wanted in RequestStatus:
            requests.add_metric([name, wanted], counted.requests.get(wanted, 0))
        for status in JobStatus:
            jobs.add_metric([name, status], counted.jobs.get(status, 0))
    yield from (requests, jobs)


def _needing(parsed: _Snapshot) -> Iterator[Metric]:
    disputed = _gauge("jobs_disputed", "Jobs of which contradicting final words arrived.")
    unmatched = _gauge("jobs_unmatched", "Jobs that no request of ours is known for.")
    every = _gauge("attention", "What needs somebody: requests, jobs and callbacks, and 1 if paused.", "kind")
    for name, needed in parsed.needed.items():
        disputed.add_metric([name], needed.disputed)
        unmatched.add_metric([name], needed.unmatched)
        for kind in ATTENTION:
            every.add_metric([name, kind], getattr(needed, kind))
    for name, paused in parsed.paused.items():
        every.add_metric([name, "paused"], paused)
    yield from (disputed, unmatched, every)


def _watched(parsed: _Snapshot, now: datetime) -> Iterator[Metric]:
    oldest = _gauge("oldest_open_job_age_seconds", "Seconds since the oldest job without a final word was accepted.")
    for name, pace in parsed.paces.items():
        if pace.oldest_open_job is not None:
            oldest.add_metric([name], _age(pace.oldest_open_job.accepted_at, now))
    last = _gauge("last_callback_age_seconds", "Seconds since the provider's last callback that was taken.")
    missing = _gauge(
        "missing_callback_ratio", "Of the jobs that ended or fell silent lately, the share that no callback spoke of."
    )
    for name, calling in parsed.calling.items():
        if calling.last_callback_at is not None:
            last.add_metric([name], _age(calling.last_callback_at, now))
        if calling.missing_rate is not None:
            missing.add_metric([name], calling.missing_rate)
    paused = _gauge("provider_paused", "Whether sending to the provider is paused: 1 or 0.")
    for name, pauses in parsed.paused.items():
        paused.add_metric([name], pauses)
    circuits = _gauge("provider_circuit_open", "Whether the provider is left alone as it fails: 1 or 0.")
    for name, is_open in parsed.circuits.items():
        circuits.add_metric([name], is_open)
    yield from (oldest, last, missing, paused, circuits)


def _gauge(name: str, told: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"receiver_{name}", told, labels=["provider", *labels])


def _age(since: datetime, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0)
