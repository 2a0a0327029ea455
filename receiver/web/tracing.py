"""Spans of what a web process does for requests: their submission, and callbacks about their jobs."""

import time
from collections.abc import Callable
from typing import TypeVar

from flask import Response

from receiver.domain.callbacks import Ack
from receiver.inbound.receive import ParsedCallback
from receiver.tracing.loading import Tracing
from receiver.tracing.spans import AttributeValue, JobReport, SpanData, SpanKind
from receiver.web.server.messages import HttpResponse

ResponseT = TypeVar("ResponseT", HttpResponse, Response)


def trace_submission(
    tracing: Tracing, path: str, traceparent: str | None, submit: Callable[[str], ResponseT]
) -> ResponseT:
    """Return the response of `submit`, which is called with the `traceparent` of its span; it has one if it succeeds.

    Args:
        tracing: that of the process.
        path: the path of the operation.
        traceparent: that of the call; without one, a trace begins.
        submit: stores the requests.
    """
    attributes = {"http.request.method": "POST", "http.route": path, "url.path": path}
    span = tracing.tracer.start_span(f"POST {path}", SpanKind.SERVER, traceparent, attributes)
    response = submit(span.traceparent)
    status = response.status if isinstance(response, HttpResponse) else response.status_code
    span.set("http.response.status_code", status)
    span.end()
    return response


def trace_callback(tracing: Tracing, parsed: ParsedCallback, ack: Ack, started_at: int) -> None:
    """Trace a callback that is committed, within the traces of its jobs; `started_at` is Unix time in nanoseconds."""
    if not parsed.events:
        return
    stored = parsed.stored
    attributes: dict[str, AttributeValue] = {
        "http.request.method": stored.method,
        "http.route": "/callbacks/{provider}",
        "http.response.status_code": ack.status,
        "receiver.provider": stored.provider,
        "receiver.callback.id": str(stored.id),
    }
    name = f"{stored.method} /callbacks/{stored.provider}"
    data = SpanData(name, SpanKind.SERVER, started_at, time.time_ns(), attributes)
    tracing.jobs.trace(JobReport([stored.id], stored.received_at, data))
