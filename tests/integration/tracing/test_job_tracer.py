"""Spans of callbacks and jobs, by the traces of the requests that the database knows."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from receiver.domain.jobs import EventSource, JobEvent, JobStatus
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.requests import NewRequest, submit_requests
from receiver.tracing import job_tracer as module
from receiver.tracing.job_tracer import JobTracer
from receiver.tracing.spans import JobReport, SpanData, SpanKind
from receiver.tracing.tracer import Tracer
from tests.support.factories import NOON, event
from tests.support.processes import wait_for

CALLED = NOON + timedelta(seconds=30)
TRACES = (f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'c' * 32}-{'d' * 16}-01")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """What receives the spans."""
    return InMemorySpanExporter()


@pytest.fixture
def job_tracer(
    database: Database, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> Iterator[JobTracer]:
    """A tracer that reads at short intervals."""
    monkeypatch.setattr(module, "_INTERVAL_S", 0.01)
    monkeypatch.setattr(module, "_RETRY_DELAYS_S", (0.1, 0.1))
    with closing(JobTracer(database, Tracer(SimpleSpanProcessor(exporter)))) as tracer:
        yield tracer


def submit(connection: Connection, traceparent: str | None) -> UUID:
    request = NewRequest(
        id=uuid4(),
        provider="sandbox",
        operation="send",
        payload={},
        metadata={},
        due_at=None,
        deadline_at=None,
        deadline_after=60.0,
        traceparent=traceparent,
    )
    submit_requests(connection, [request])
    return request.id


def accept(connection: Connection, reference: str, traceparent: str | None) -> UUID:
    """Store a request and its job; return the id of the request."""
    request_id = submit(connection, traceparent)
    reconcile(connection, [event(reference, JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request_id)])
    return request_id


def finish(connection: Connection, *references: str, at: float = 30.0) -> JobReport:
    """Store the events of a callback, and return its report."""
    callback_id = uuid4()
    events = [event(reference, at=at, callback_id=callback_id) for reference in references]
    reconcile(connection, events)
    return build_report(callback_id, events)


def build_report(callback_id: UUID, events: Sequence[JobEvent]) -> JobReport:
    span = SpanData("POST /callbacks/sandbox", SpanKind.SERVER, 1, 2, {"receiver.callback.id": str(callback_id)})
    return JobReport([callback_id], events[0].received_at, span)


def wait_for_spans(exporter: InMemorySpanExporter, count: int) -> Sequence[ReadableSpan]:
    return wait_for(lambda: spans if len(spans := exporter.get_finished_spans()) >= count else None)


def find_trace(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def test_callback_belongs_to_the_trace_of_each_request(
    connection: Connection, job_tracer: JobTracer, exporter: InMemorySpanExporter
) -> None:
    for number, traceparent in enumerate((*TRACES, None)):
        accept(connection, f"ref-{number}", traceparent)
    job_tracer.trace(finish(connection, "ref-0", "ref-1", "ref-2"))
    spans = wait_for_spans(exporter, 4)
    assert sorted((find_trace(span), span.name) for span in spans) == [
        ("a" * 32, "POST /callbacks/sandbox"),
        ("a" * 32, "job sandbox"),
        ("c" * 32, "POST /callbacks/sandbox"),
        ("c" * 32, "job sandbox"),
    ]
    job = spans[1]
    assert job.start_time is not None
    assert job.end_time is not None
    assert (job.end_time - job.start_time) / 1e9 == 30.0


def test_later_report_ends_no_job_again(
    connection: Connection, job_tracer: JobTracer, exporter: InMemorySpanExporter
) -> None:
    accept(connection, "ref-1", TRACES[0])
    job_tracer.trace(finish(connection, "ref-1"))
    job_tracer.trace(finish(connection, "ref-1", at=40.0))
    job_tracer.close()
    assert sorted(span.name for span in exporter.get_finished_spans()) == [
        "POST /callbacks/sandbox",
        "POST /callbacks/sandbox",
        "job sandbox",
    ]


def test_callback_that_overtakes_the_response_is_traced_later(
    connection: Connection, job_tracer: JobTracer, exporter: InMemorySpanExporter
) -> None:
    job_tracer.trace(finish(connection, "ref-1"))
    wait_for(lambda: any(waiting.reads for waiting in job_tracer._waiting))
    assert exporter.get_finished_spans() == ()
    accept(connection, "ref-1", TRACES[0])
    assert {span.name for span in wait_for_spans(exporter, 2)} == {"POST /callbacks/sandbox", "job sandbox"}


def test_unmatched_callback_is_given_up(
    connection: Connection, job_tracer: JobTracer, exporter: InMemorySpanExporter
) -> None:
    job_tracer.trace(finish(connection, "unmatched"))
    wait_for(lambda: any(waiting.reads == 2 for waiting in job_tracer._waiting))
    wait_for(lambda: not job_tracer._waiting)
    assert exporter.get_finished_spans() == ()


def test_jobs_are_found_by_request_and_by_id(
    connection: Connection, job_tracer: JobTracer, exporter: InMemorySpanExporter
) -> None:
    request_id = accept(connection, "ref-1", TRACES[0])
    report = finish(connection, "ref-1")
    [(job_id,)] = connection.execute("SELECT id FROM jobs").fetchall()
    job_tracer.trace(JobReport([request_id], report.received_at))
    job_tracer.trace(JobReport([job_id], report.received_at))
    assert {span.name for span in wait_for_spans(exporter, 2)} == {"job sandbox"}
