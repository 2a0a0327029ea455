"""`/metrics` for Prometheus. Like `/healthz` it requires no key, so a proxy should hide it from the public."""

from time import perf_counter

from flask import Blueprint, Response, g, request
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from receiver.web.context import current_context
from receiver.web.v1 import api

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def show_metrics() -> Response:
    """Return the metrics of all web processes of this run and of the database."""
    return Response(current_context().metrics.render(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


@blueprint.after_app_request
def count_api_call(response: Response) -> Response:
    """Count the response to a call of `/v1` by operation; other paths are made up by callers and not counted."""
    if request.blueprint == api.blueprint.name and request.endpoint is not None:
        operation, seconds = request.endpoint.rpartition(".")[2], perf_counter() - g.started_at
        current_context().metrics.api_responses.append((operation, response.status_code, seconds))
    return response
