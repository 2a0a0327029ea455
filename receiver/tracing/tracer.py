"""Spans, made with the SDK of OpenTelemetry, which is an optional dependency."""

import os
import threading
from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind as OtelSpanKind
from opentelemetry.trace import Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from receiver.process_stats import get_version
from receiver.tracing.spans import AttributeValue, SpanKind

SERVICE = "callback-receiver"
_HEADER = "traceparent"
_CLOSE_TIMEOUT_S = 1.0
_PROPAGATOR = TraceContextTextMapPropagator()


class Span:
    """A span that has begun; without `end` it is not exported.

    Attributes:
        traceparent: the header by which the trace is continued below this span.
    """

    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, set_span_in_context(span, Context()))
        self.traceparent = carrier[_HEADER]

    def set(self, name: str, value: AttributeValue) -> None:
        """Set an attribute."""
        self._span.set_attribute(name, value)

    def end(self, *, error: str | None = None, ended_at: int | None = None) -> None:
        """End the span.

        Args:
            error: the kind of the error that occurred.
            ended_at: Unix time in nanoseconds; by default now.
        """
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(ended_at)


class _IdGenerator(RandomIdGenerator):
    """Generates random ids, but for the next span the one that was set, which only one thread does at a time."""

    next_span_id: str | None = None

    def generate_span_id(self) -> int:
        span_id, self.next_span_id = self.next_span_id, None
        return super().generate_span_id() if span_id is None else int(span_id, 16)


class Tracer:
    """Makes spans and exports them in batches, over OTLP by default.

    Args:
        processor: what takes the ended spans; by default they are exported to the endpoint of the environment.
    """

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        defaults: dict[str, str | int] = {
            "service.name": SERVICE,
            "service.version": get_version(),
            "process.pid": os.getpid(),
        }
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override the defaults.
        resource = Resource(defaults).merge(OTELResourceDetector().detect())
        self._id_generator = _IdGenerator()
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=self._id_generator)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(SERVICE, get_version())

    def start_span(
        self,
        name: str,
        kind: SpanKind,
        traceparent: str | None,
        attributes: Mapping[str, AttributeValue],
        *,
        started_at: int | None = None,
        span_id: str | None = None,
    ) -> Span:
        """Start a span.

        Args:
            name: its name, of which there are few.
            kind: the role of this service.
            traceparent: the parent; without a valid one, the span begins a trace.
            attributes: its attributes so far.
            started_at: Unix time in nanoseconds; by default now.
            span_id: its id in hexadecimal; by default a new one.
        """
        self._id_generator.next_span_id = span_id
        parent = _PROPAGATOR.extract({_HEADER: traceparent} if traceparent else {}, Context())
        return Span(
            self._tracer.start_span(
                name, parent, OtelSpanKind[kind.name], attributes, start_time=started_at, record_exception=False
            )
        )

    def close(self) -> None:
        """Export what has ended, and stop; an endpoint that does not answer in time loses it."""
        closer = threading.Thread(target=self._provider.shutdown, daemon=True)
        closer.start()
        closer.join(_CLOSE_TIMEOUT_S)
