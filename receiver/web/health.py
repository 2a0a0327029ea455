"""`/healthz` and `/readyz`: liveness without the database, readiness only while commits succeed."""

import time

from flask import Blueprint, Response

from receiver.store.health import StoreHealth
from receiver.web.problems import ProblemError, ProblemType


def build_health_blueprint(health: StoreHealth) -> Blueprint:
    """Build the blueprint that serves `/healthz` and `/readyz`."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        """Return 200 while the process responds."""
        return Response("ok\n", content_type="text/plain")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        """Return 200 while the process can commit callbacks, else 503 with the part that fails."""
        problem = health.check()
        if problem is not None:
            seconds = time.monotonic() - problem.since
            detail = f"Not ready: {problem.part} ({problem.kind}) for {seconds:.0f} s. See the log of this process."
            raise ProblemError(ProblemType.STORE_UNAVAILABLE, detail, {"Retry-After": "1"})
        return Response("ready\n", content_type="text/plain")

    return blueprint
