"""The metrics that a worker process serves: its exchanges, its share of the limits, its activity and its own health.

They are plain numbers that the greenlets of the process change, rendered at a scrape; those of exchanges are in
`receiver.worker.exchange_metrics`.
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from receiver.domain.accounts import split_account
from receiver.domain.activity import BUCKET_BOUNDS_S, ActivityIncrement, ActivityKind
from receiver.domain.jobs import JobStatus
from receiver.exchange.admission import Admission
from receiver.exchange.loop import ExchangeLoop
from receiver.exchange.rate_limiter import RateLimiter
from receiver.process_stats import get_version, read_process_stats
from receiver.providers.base import Provider
from receiver.reload import last_reload
from receiver.store.callbacks import Verdict
from receiver.store.database import Database
from receiver.store.errors import FailureKind
from receiver.worker.exchange_metrics import Histogram, KindObserver, LookupObserver, PollObserver, SendObserver

_LAG_INTERVAL_S = 0.5
_BOUNDS_PER_DECADE = 5
_JOB_BOUNDS_S = tuple(bound for number, bound in enumerate(BUCKET_BOUNDS_S) if number % _BOUNDS_PER_DECADE in {0, 3})
"""Two bounds of each power of ten of those by which activity is counted: 0.1 s, 0.398 s, 1 s and so on."""
_COARSE_BUCKETS = [bisect_left(_JOB_BOUNDS_S, bound) for bound in (*BUCKET_BOUNDS_S, float("inf"))]
"""The bucket between these bounds of each bucket of activity, by the upper bound of the latter."""
_FINAL_STATUSES = tuple(status for status in JobStatus if status.is_final)
_STORED_VERDICTS = tuple(verdict for verdict in Verdict if verdict is not Verdict.REFUSED)


class WorkerMetrics(Collector):
    """The metrics of one worker process.

    Attributes:
        send: observes the loop that sends requests.
        poll: observes the loop that polls jobs.
        lookup: observes the loop that looks up unknown requests.
    """

    def __init__(self, database: Database, providers: Mapping[str, Provider]) -> None:
        self._database = database
        self.send = SendObserver()
        self.poll = PollObserver()
        self.lookup = LookupObserver()
        self._activity = _Activity()
        self._names: Sequence[str] = ()
        self._loops: Mapping[str, ExchangeLoop[Any, Any]] = {}
        self._rate_limiter: RateLimiter | None = None
        self._event_loop_lag, self._next_measurement_at = 0.0, time.monotonic()
        self.configure(providers)
        self._created_at = time.time()
        self._watched_loops: list[_WatchedLoop] = []

    def configure(self, providers: Mapping[str, Provider]) -> None:
        """Serve the metrics of these providers from now on; those of an account once it has some."""
        served = {name: provider for name, provider in providers.items() if split_account(name).account is None}
        self.send.add([name for name, provider in served.items() if provider.sender])
        self.poll.add([name for name, provider in served.items() if provider.poller])
        self.lookup.add([name for name, provider in served.items() if provider.lookup])
        self._activity.add(served)
        self._names = list(served)

    def watch(self, step: Callable[[], float]) -> Callable[[], float]:
        """Return a step of a loop that does the same as `step`, and on whose progress the heartbeat depends."""
        loop = _WatchedLoop(step)
        self._watched_loops.append(loop)
        return loop.step

    def watch_exchanges(self, loops: Mapping[str, ExchangeLoop[Any, Any]], rate_limiter: RateLimiter) -> None:
        """Serve what the loops, by kind, have claimed and recorded, and this worker's part of the limits."""
        self._loops, self._rate_limiter = loops, rate_limiter

    def count_activity(self, increments: Sequence[ActivityIncrement]) -> None:
        """Count what happened, of which each occurrence is counted by one worker only."""
        self._activity.count(increments)

    def measure_event_loop(self) -> float:
        """Measure how late the event loop makes this call; return the seconds until the next one."""
        now = time.monotonic()
        self._event_loop_lag = max(now - self._next_measurement_at, 0.0)
        self._next_measurement_at = now + _LAG_INTERVAL_S
        return _LAG_INTERVAL_S

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield GaugeMetricFamily(
            "receiver_worker_heartbeat_timestamp_seconds",
            "Unix time until which all loops of the worker made progress.",
            min((loop.stalled_since or time.time() for loop in self._watched_loops), default=self._created_at),
        )
        yield from self._build_store_metrics()
        yield from self._build_process_metrics()
        yield from self._build_outcomes()
        yield from self._build_exchanges()
        yield from self._build_claims()
        yield from self._build_limits()
        yield from self._activity.build_metrics()

    @property
    def _kinds(self) -> Mapping[str, KindObserver[Any, Any]]:
        return {"send": self.send, "poll": self.poll, "lookup": self.lookup}

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
        errors = _create_counter("store_errors", "Operations on Postgres that failed, by kind.", "kind")
        for kind in FailureKind:
            errors.add_metric([kind], health.error_counts[kind])
        commits = _create_counter("commits", "Batches that were committed, or failed to be.", "queue")
        items = _create_counter("committed_items", "Items of the batches.", "queue")
        seconds = _create_counter("commit_seconds", "Seconds that writing the batches took.", "queue")
        for name, loop in self._loops.items():
            commits.add_metric([name], loop.commit_stats.batches)
            items.add_metric([name], loop.commit_stats.items)
            seconds.add_metric([name], loop.commit_stats.seconds)
        yield from (errors, commits, items, seconds)

    def _build_process_metrics(self) -> Iterator[Metric]:
        """Yield the metrics that web processes serve too, see `receiver.web.metrics.process_metrics`."""
        stats = read_process_stats()
        yield CounterMetricFamily("receiver_process_cpu_seconds", "CPU time that was used.", stats.cpu_seconds)
        yield GaugeMetricFamily("receiver_process_resident_memory_bytes", "Resident memory.", stats.resident_bytes)
        yield GaugeMetricFamily("receiver_process_open_files", "Open files and connections.", stats.open_files)
        yield GaugeMetricFamily("receiver_processes", "Running processes.", 1)
        yield GaugeMetricFamily(
            "receiver_event_loop_lag_seconds", "How late the event loop runs what is due.", self._event_loop_lag
        )
        build = GaugeMetricFamily("receiver_build_info", "The version; the value is 1.", labels=["version"])
        build.add_metric([get_version()], 1)
        yield build
        yield GaugeMetricFamily(
            "receiver_settings_last_reload_successful",
            "Whether the last reload of the configuration file succeeded: 1 or 0.",
            int(last_reload.succeeded),
        )

    def _build_outcomes(self) -> Iterator[Metric]:
        attempts = _create_counter("attempts", "Attempts to send a request, by outcome.", "provider", "outcome")
        polls = _create_counter("polls", "Polls of jobs, by result.", "provider", "result")
        lookups = _create_counter("lookups", "Lookups of unknown requests, by outcome.", "provider", "outcome")
        for family, observer in ((attempts, self.send), (polls, self.poll), (lookups, self.lookup)):
            _add_counts(family, observer.outcomes)
            yield family
        lags = _create_histogram(
            "queue_lag_seconds", "Seconds from the time that a request was due to the start of its attempt.", "provider"
        )
        for name, lag in self.send.lags.items():
            lag.add_to(lags, [name])
        yield lags

    def _build_exchanges(self) -> Iterator[Metric]:
        durations = _create_histogram(
            "exchange_duration_seconds", "Seconds that HTTP exchanges with a provider took.", "provider", "kind"
        )
        waits = _create_histogram(
            "admission_wait_seconds",
            "Seconds that exchanges waited within the limits of the provider.",
            "provider",
            "kind",
        )
        results = _create_counter(
            "exchange_results", "HTTP exchanges, by the class of the response's status.", "provider", "kind", "result"
        )
        for kind, observer in self._kinds.items():
            for name, duration in observer.durations.items():
                duration.add_to(durations, [name, kind])
            for name, wait in observer.waits.items():
                wait.add_to(waits, [name, kind])
            for name, counts in observer.results.items():
                for result, count in counts.items():
                    results.add_metric([name, kind, result], count)
        yield from (durations, waits, results)

    def _build_claims(self) -> Iterator[Metric]:
        claims = _create_histogram("claim_duration_seconds", "Seconds that claims of due work took.", "kind")
        claimed = _create_counter("claimed_exchanges", "Exchanges that were claimed.", "kind")
        queued = _create_gauge("exchanges_queued", "Claimed exchanges that have not begun.", "provider", "kind")
        for kind, observer in self._kinds.items():
            observer.claims.add_to(claims, [kind])
            claimed.add_metric([kind], observer.claimed)
        for kind, loop in self._loops.items():
            for name, length in loop.queue_lengths.items():
                if length or split_account(name).account is None:
                    queued.add_metric([name, kind], length)
        yield from (claims, claimed, queued)

    def _build_limits(self) -> Iterator[Metric]:
        share = _create_gauge("concurrency_share", "Exchanges that this worker may have in flight at once.", "provider")
        in_flight = _create_gauge("exchanges_in_flight", "Exchanges that were admitted and have not ended.", "provider")
        waiting = _create_gauge("exchanges_waiting", "Exchanges that wait for others to end.", "provider")
        openings = _create_counter("circuit_openings", "How often the circuit of a provider was opened.", "provider")
        reductions = _create_counter("rate_reductions", "How often the rate of a provider was lowered.", "provider")
        if self._rate_limiter is not None:
            for name, admission in self._list_admissions(self._rate_limiter.admissions):
                share.add_metric([name], admission.share)
                in_flight.add_metric([name], admission.in_flight)
                waiting.add_metric([name], admission.waiting_count)
            for family, counts in (
                (openings, self._rate_limiter.circuit_openings),
                (reductions, self._rate_limiter.rate_reductions),
            ):
                for name in {*self._names, *counts}:
                    family.add_metric([name], counts[name])
        yield from (share, in_flight, waiting, openings, reductions)

    def _list_admissions(self, admissions: Mapping[str, Admission]) -> Iterable[tuple[str, Admission]]:
        """Return the admissions of the providers, and of the accounts that are in use."""
        names = set(self._names)
        return [(name, each) for name, each in admissions.items() if name in names or not each.is_idle]


class _Activity:
    """Counts of what happened: requests submitted, callbacks stored and jobs finished."""

    def __init__(self) -> None:
        self._requests: defaultdict[str, int] = defaultdict(int)
        self._callbacks: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_STORED_VERDICTS, 0))
        self._jobs: defaultdict[str, dict[str, Histogram]] = defaultdict(
            lambda: {status: Histogram(_JOB_BOUNDS_S) for status in _FINAL_STATUSES}
        )

    def add(self, providers: Mapping[str, Provider]) -> None:
        """Serve these providers before something happens."""
        for name, provider in providers.items():
            _ = self._requests[name]
            if provider.callbacks:
                _ = self._callbacks[name]
            if provider.callbacks or provider.poller:
                _ = self._jobs[name]

    def count(self, increments: Sequence[ActivityIncrement]) -> None:
        for increment in increments:
            if increment.kind == ActivityKind.REQUESTS:
                self._requests[increment.provider] += increment.count
            elif increment.kind == ActivityKind.CALLBACKS:
                self._callbacks[increment.provider][increment.outcome] += increment.count
            else:
                histogram = self._jobs[increment.provider][increment.outcome]
                histogram.add(_COARSE_BUCKETS[increment.bucket], increment.count, increment.seconds)

    def build_metrics(self) -> Iterator[Metric]:
        submitted = _create_counter("requests_submitted", "Requests that were submitted.", "provider")
        for name, count in self._requests.items():
            submitted.add_metric([name], count)
        callbacks = _create_counter("callbacks_stored", "Callbacks that were stored.", "provider", "verdict")
        _add_counts(callbacks, self._callbacks)
        jobs = _create_histogram(
            "job_duration_seconds", "Seconds from the acceptance of a job to its final status.", "provider", "status"
        )
        for name, histograms in self._jobs.items():
            for status, histogram in histograms.items():
                histogram.add_to(jobs, [name, status])
        yield from (submitted, callbacks, jobs)


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


def _add_counts(family: CounterMetricFamily, counts: Mapping[str, Mapping[str, int]]) -> None:
    for name, by_label in counts.items():
        for label, count in by_label.items():
            family.add_metric([name, label], count)


def _create_counter(name: str, description: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"receiver_{name}", description, labels=labels)


def _create_gauge(name: str, description: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"receiver_{name}", description, labels=labels)


def _create_histogram(name: str, description: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"receiver_{name}", description, labels=labels)
