"""Spans for tests: exported to memory within the process, or over OTLP to a server of the test."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class ExportedSpan:
    """A span as a collector received it; ids are hexadecimal, `parent` is empty for the first span of a trace."""

    name: str
    trace: str
    id: str
    parent: str
    kind: str
    service: str
    process: int
    attributes: Mapping[str, Any]
    seconds: float
    is_error: bool


@dataclass
class Collector:
    """What a server of OTLP over HTTP received; `bodies` are the raw messages."""

    url: str
    spans: list[ExportedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def find(self, trace: str) -> dict[str, ExportedSpan]:
        """Return the spans of a trace by name."""
        return {span.name: span for span in self.spans if span.trace == trace}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.bodies.append(body)
            collector.spans += _parse(body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _parse(body: bytes) -> Iterator[ExportedSpan]:
    message = ExportTraceServiceRequest.FromString(body)
    for resource_spans in message.resource_spans:
        resource = _read_attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield ExportedSpan(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    resource["service.name"],
                    resource["process.pid"],
                    _read_attributes(span.attributes),
                    (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    span.status.code == span.status.STATUS_CODE_ERROR,
                )


def _read_attributes(attributes: Any) -> dict[str, Any]:
    return {attribute.key: _read_value(attribute.value) for attribute in attributes}


def _read_value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_read_value(item) for item in value.array_value.values]
    return getattr(value, kind)
