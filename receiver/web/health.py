"""`/healthz` and `/readyz`: liveness without the database, readiness with it."""

from flask import Blueprint, Response

from receiver.web.context import current_context

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Return 200 while the process responds."""
    return Response("ok\n", content_type="text/plain")


@blueprint.get("/readyz")
def readyz() -> Response:
    """Return 200 while the process can read the database, else 503."""
    with current_context().database.connection() as connection:
        connection.execute("SELECT 1 FROM requests LIMIT 1")
    return Response("ready\n", content_type="text/plain")
