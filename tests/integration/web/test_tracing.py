"""Spans of a web process: submissions begin or continue a trace, and callbacks belong to it."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from flask.testing import FlaskClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from receiver.domain.jobs import EventSource, JobStatus
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.tracing.job_tracer import JobTracer
from receiver.tracing.loading import Tracing
from receiver.tracing.tracer import Tracer
from receiver.web.context import get_app_context
from tests.support.api_calls import build_submission
from tests.support.factories import event
from tests.support.http import Json, build_report
from tests.support.metrics import CLIENT, call_back, serve_app
from tests.support.processes import wait_for

TRACE, PARENT = "1" * 32, "2" * 16


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """What receives the spans."""
    return InMemorySpanExporter()


@pytest.fixture
def client(dsn: str, tmp_path_factory: pytest.TempPathFactory, exporter: InMemorySpanExporter) -> Iterator[FlaskClient]:
    """A client of an app in this process, which traces."""
    with serve_app(dsn, tmp_path_factory.mktemp("app")) as test_client:
        context, tracer = get_app_context(test_client.application), Tracer(SimpleSpanProcessor(exporter))
        with closing(Tracing(tracer, JobTracer(context.database, tracer))) as tracing:
            context.tracing = tracing
            yield test_client
            context.tracing = None


def submit(client: FlaskClient, body: Json, **headers: str) -> Json:
    response = client.post("/v1/requests", json=body, headers={**CLIENT, **headers})
    assert response.status_code == 202, response.text
    document: Json = response.get_json()
    return document


def read_trace(connection: Connection, request: Json) -> str:
    [(traceparent,)] = connection.execute("SELECT traceparent FROM requests WHERE id = %s", [request["id"]]).fetchall()
    return str(traceparent)


def format_context(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}-{span.context.span_id:016x}"


def test_submission_and_callback_have_one_trace(
    client: FlaskClient, connection: Connection, exporter: InMemorySpanExporter
) -> None:
    request = submit(client, build_submission(), traceparent=f"00-{TRACE}-{PARENT}-01")
    stored = read_trace(connection, request)
    reconcile(
        connection,
        [event("ref-1", JobStatus.ACCEPTED, source=EventSource.RESPONSE, request_id=request["id"])],
    )
    assert call_back(client, build_report("ref-1")) == 200
    spans = wait_for(lambda: found if len(found := exporter.get_finished_spans()) == 3 else None)
    submission, callback, job = spans
    assert [span.name for span in spans] == ["POST /v1/requests", "POST /callbacks/sandbox", "job sandbox"]
    assert stored == f"00-{format_context(submission)}-01"
    assert submission.parent is not None
    assert f"{submission.parent.span_id:016x}" == PARENT
    assert {span.parent and span.parent.span_id for span in (callback, job)} == {
        submission.context and submission.context.span_id
    }


def test_tracked_job_begins_a_trace(
    client: FlaskClient, connection: Connection, exporter: InMemorySpanExporter
) -> None:
    tracked = {"provider": "sandbox", "reference": "ref-1"}
    assert client.post("/v1/jobs", json=tracked, headers=CLIENT).status_code == 201
    [span] = exporter.get_finished_spans()
    assert (span.name, span.parent) == ("POST /v1/jobs", None)
    [(traceparent,)] = connection.execute("SELECT traceparent FROM requests").fetchall()
    assert traceparent[3:52] == format_context(span)


def test_refused_submission_has_no_span(client: FlaskClient, exporter: InMemorySpanExporter) -> None:
    response = client.post("/v1/requests", json=build_submission(operation="nothing"), headers=CLIENT)
    assert response.status_code == 400
    assert exporter.get_finished_spans() == ()


def test_callback_without_a_traced_request_has_no_span(client: FlaskClient, exporter: InMemorySpanExporter) -> None:
    assert call_back(client, build_report("unmatched")) == 200
    tracing = get_app_context(client.application).tracing
    assert tracing is not None
    tracing.close()
    assert exporter.get_finished_spans() == ()
