"""What a process traces with, as it is loaded from the environment."""

import socket
import threading
import time

import pytest

from receiver.store.database import Database
from receiver.tracing.loading import load_tracing
from receiver.tracing.spans import SpanKind
from tests.support.processes import wait_for


def test_silent_collector_delays_the_end_of_a_process_briefly(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        for name, value in {**endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "1.5"}.items():
            monkeypatch.setenv(name, value)
        tracing = load_tracing(endpoint, database)
        assert tracing is not None
        tracing.tracer.start_span("lost", SpanKind.SERVER, None, {}).end()
        started = time.monotonic()
        tracing.close()
        assert time.monotonic() - started < 5.0
        wait_for(lambda: not any("SpanRecordProcessor" in thread.name for thread in threading.enumerate()))
