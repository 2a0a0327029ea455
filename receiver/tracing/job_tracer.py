"""Spans of what happens to jobs: the callback or poll that reports on a job, and the job itself once it has ended.

Which trace a job belongs to is known only to the database: a callback names the job, and the job's request has the
trace. It is read after the commit, by a thread of its own, so that no commit and no response waits for it. A callback
may overtake the response by which its request becomes known; then the trace is read again some seconds later.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from receiver.store.database import Database
from receiver.store.errors import StoreError
from receiver.store.traces import TracedJob, find_traced_jobs
from receiver.tracing.spans import JobReport, SpanData, SpanKind, to_nanoseconds
from receiver.tracing.tracer import Tracer

_INTERVAL_S = 0.5
_RETRY_DELAYS_S = (1.0, 4.0, 16.0)
_MAX_WAITING = 10_000
_BATCH_SIZE = 500
_MAX_JOBS = 100
_CLOSE_TIMEOUT_S = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _WaitingReport:
    """A report whose jobs are to be read at `due_at`, by `time.monotonic`, for the time after `reads` other ones."""

    report: JobReport
    due_at: float
    reads: int = 0


class JobTracer:
    """Traces reports on jobs, in batches; created after the process was forked."""

    def __init__(self, database: Database, tracer: Tracer) -> None:
        self._database = database
        self._tracer = tracer
        self._waiting: list[_WaitingReport] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="job-traces", daemon=True)
        self._thread.start()

    def trace(self, report: JobReport) -> None:
        """Trace a report whose events are committed; it is left out if too many wait already."""
        with self._lock:
            if len(self._waiting) < _MAX_WAITING:
                self._waiting.append(_WaitingReport(report, time.monotonic()))

    def close(self) -> None:
        """Trace what waits, and stop; a database that does not answer in time loses it."""
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._closing.wait(_INTERVAL_S):
            self._trace_due(time.monotonic())
        self._trace_due(float("inf"))

    def _trace_due(self, now: float) -> None:
        with self._lock:
            due = [waiting for waiting in self._waiting if waiting.due_at <= now]
            self._waiting = [waiting for waiting in self._waiting if waiting.due_at > now]
        for start in range(0, len(due), _BATCH_SIZE):
            try:
                self._trace_batch(due[start : start + _BATCH_SIZE])
            except StoreError as error:
                _log.warning("traces.read_failed", error=str(error))
            except Exception:  # whatever it is, the thread must go on
                _log.exception("traces.crashed")

    def _trace_batch(self, batch: Sequence[_WaitingReport]) -> None:
        ids = {origin_id for waiting in batch for origin_id in waiting.report.ids}
        with self._database.connection() as connection:
            jobs = find_traced_jobs(connection, ids)
        jobs_by_id = defaultdict(list)
        for job in jobs:
            jobs_by_id[job.origin_id].append(job)
        for waiting in batch:
            own_jobs = [job for origin_id in waiting.report.ids for job in jobs_by_id[origin_id]]
            is_unmatched = any(job.request_id is None for job in own_jobs)
            if is_unmatched and waiting.reads < len(_RETRY_DELAYS_S) and not self._closing.is_set():
                self._defer(waiting)
            else:
                self._trace_jobs(waiting.report, own_jobs)

    def _defer(self, waiting: _WaitingReport) -> None:
        due_at = time.monotonic() + _RETRY_DELAYS_S[waiting.reads]
        with self._lock:
            self._waiting.append(replace(waiting, due_at=due_at, reads=waiting.reads + 1))

    def _trace_jobs(self, report: JobReport, jobs: Sequence[TracedJob]) -> None:
        jobs_by_trace: dict[str, list[TracedJob]] = defaultdict(list)
        for job in jobs[:_MAX_JOBS]:
            if job.traceparent is not None:
                jobs_by_trace[job.traceparent].append(job)
        for traceparent, own_jobs in jobs_by_trace.items():
            if report.span is not None:
                self._end_span(report.span, traceparent, own_jobs)
            for job in own_jobs:
                if job.status.is_final and job.decided_at == report.received_at:
                    self._end_job(job, traceparent)

    def _end_span(self, data: SpanData, traceparent: str, jobs: Sequence[TracedJob]) -> None:
        span = self._tracer.start_span(data.name, data.kind, traceparent, data.attributes, started_at=data.started_at)
        span.set("receiver.job.ids", [str(job.id) for job in jobs])
        span.end(error=data.error, ended_at=data.ended_at)

    def _end_job(self, job: TracedJob, traceparent: str) -> None:
        """Make the span of a job: from its acceptance to its final status."""
        attributes = {
            "receiver.provider": job.provider,
            "receiver.request.id": str(job.request_id),
            "receiver.job.id": str(job.id),
            "receiver.job.status": job.status,
        }
        name, started_at = f"job {job.provider}", to_nanoseconds(job.accepted_at)
        span = self._tracer.start_span(name, SpanKind.INTERNAL, traceparent, attributes, started_at=started_at)
        span.end(ended_at=to_nanoseconds(job.finished_at or job.decided_at))
