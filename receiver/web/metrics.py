"""`/metrics`: what is measured, for Prometheus. Like `/healthz` it asks for no key, so keep it from the public."""

from flask import Blueprint, Response, request
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from receiver.web.context import current_context
from receiver.web.v1 import api

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def show_metrics() -> Response:
    """What this process counts, with its fellows, and the figures of the database."""
    return Response(current_context().meters.told(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


@blueprint.after_app_request
def count_call(response: Response) -> Response:
    """Count an answer of the API by the operation that was called; other paths, which strangers make up, are not."""
    if request.blueprint == api.blueprint.name and request.endpoint is not None:
        current_context().meters.called(request.endpoint.rpartition(".")[2], response.status_code)
    return response
