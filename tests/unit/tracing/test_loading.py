"""Traces cost nothing unless they are switched on: not even the import of OpenTelemetry."""

import subprocess
import sys
from typing import cast

import pytest
import structlog

from receiver.store.database import Database
from receiver.tracing import loading
from receiver.tracing.loading import load_tracing

DATABASE = cast("Database", None)
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    "environ",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"OTEL_SERVICE_NAME": "x"}, {**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}],
)
def test_traces_are_off_without_an_endpoint(environ: dict[str, str]) -> None:
    assert load_tracing(environ, DATABASE) is None


def test_missing_extra_is_logged_with_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_REQUIRED_MODULES", ("opentelemetry.sdk.trace", "opentelemetry_of_another_name.sdk"))
    with structlog.testing.capture_logs() as logs:
        assert load_tracing(ENDPOINT, DATABASE) is None
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("tracing.unavailable", "warning")]
    assert "callback-receiver[otel]" in logs[0]["remedy"]


def test_processes_do_not_import_opentelemetry() -> None:
    code = "import sys, receiver.web.app, receiver.worker.run; print('opentelemetry' in sys.modules)"
    environ = {"PATH": ""}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert run.stdout == "False\n"
