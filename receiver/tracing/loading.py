"""Whether this process traces: only if OpenTelemetry is installed and the environment names an endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

from receiver.store.database import Database

if TYPE_CHECKING:
    from receiver.tracing.job_tracer import JobTracer
    from receiver.tracing.tracer import Tracer

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""The variables of OpenTelemetry of which one switches traces on."""
_DISABLED_VARIABLE = "OTEL_SDK_DISABLED"
_REQUIRED_MODULES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tracing:
    """What a process traces with."""

    tracer: "Tracer"
    jobs: "JobTracer"

    def close(self) -> None:
        """Export what has ended, and stop."""
        self.jobs.close()
        self.tracer.close()


def load_tracing(environ: Mapping[str, str], database: Database) -> Tracing | None:
    """Return what to trace with; None if traces are switched off. Must be called after the process was forked."""
    if not any(environ.get(name) for name in ENDPOINT_VARIABLES):
        return None
    if environ.get(_DISABLED_VARIABLE, "").strip().lower() == "true":
        return None
    if not all(map(_is_installed, _REQUIRED_MODULES)):
        _log.warning(
            "tracing.unavailable", remedy="install callback-receiver[otel], or unset OTEL_EXPORTER_OTLP_ENDPOINT"
        )
        return None
    # Imported late: a process without traces must not wait for it.
    from receiver.tracing.job_tracer import JobTracer  # noqa: PLC0415  # see above
    from receiver.tracing.tracer import Tracer  # noqa: PLC0415  # see above

    tracer = Tracer()
    return Tracing(tracer, JobTracer(database, tracer))


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False
