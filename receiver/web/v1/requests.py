"""`/v1/requests`: submit, list and show requests, and retry, cancel, send or resolve them."""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from flask import Response, request, url_for

from receiver.domain.access import Scope
from receiver.domain.paging import Page
from receiver.domain.tracing import TRACEPARENT
from receiver.operations import requests as operations
from receiver.schemas.api import requests as schemas
from receiver.schemas.api.common import list_of
from receiver.store.connections import Connection
from receiver.store.requests import (
    Request,
    RequestDetail,
    find_request_details,
    find_requests,
    list_requests,
)
from receiver.web.context import current_context
from receiver.web.idempotency import HEADERS, IDEMPOTENCY_KEY, KEY_REUSED, REPLAYED
from receiver.web.operations import (
    Result,
    build_operator_action,
    current_caller,
    restrict_filter,
)
from receiver.web.problems import ProblemError, ProblemType
from receiver.web.submissions import submit
from receiver.web.v1.blueprint import api

_REQUEST = schemas.RequestSchema()
_LIST = list_of(schemas.RequestSummarySchema)()
SUBMISSIONS = frozenset({"submit_request", "submit_batch"})
"""The names of the operations that submit requests."""
_NOT_FOUND = "No such request."

RequestT = TypeVar("RequestT", bound=Request)
_BATCH_SIZE_FACTOR = 4


@api.operation(
    "POST",
    "/requests",
    Scope.SUBMIT,
    _REQUEST,
    status=202,
    body=schemas.SubmissionSchema(),
    headers=HEADERS,
    response_headers=["Location", REPLAYED],
    problems={ProblemType.IDEMPOTENCY_KEY_REUSED: KEY_REUSED},
)
def submit_request(body: dict[str, Any]) -> Response:
    """Submit a request.

    The request is committed before the response, and sent as soon as its provider's limits allow.
    """
    return _submit(body)


@api.operation(
    "POST",
    "/requests/batch",
    Scope.SUBMIT,
    _LIST,
    status=202,
    body=schemas.BatchSchema(),
    body_size_factor=_BATCH_SIZE_FACTOR,
    headers=HEADERS,
    response_headers=[REPLAYED],
    problems={ProblemType.IDEMPOTENCY_KEY_REUSED: KEY_REUSED},
)
def submit_batch(body: dict[str, Any]) -> Response:
    """Submit up to 1,000 requests.

    All of them are queued in one transaction, or none. The response lists them in the order of submission.
    """
    return _submit(body)


def _submit(body: dict[str, Any]) -> Response:
    """Respond to what `SubmissionEndpoint` leaves to Flask."""
    key, size = request.headers.get(IDEMPOTENCY_KEY), request.content_length or 0
    traceparent = request.headers.get(TRACEPARENT)
    response = submit(current_context(), current_caller(), request.path, body, key, size=size, traceparent=traceparent)
    return Response(response.body, response.status, list(response.headers))


@api.operation("GET", "/requests", Scope.READ, _LIST, own_scope=Scope.SUBMIT, query=schemas.RequestQuerySchema())
def browse_requests(query: dict[str, Any]) -> Page[Request]:
    """List requests, newest first."""
    request_filter, client = restrict_filter(query["filter"]), current_caller().own_client
    return current_context().reader.read(
        lambda connection: list_requests(connection, request_filter, query["page"], client=client)
    )


@api.operation(
    "GET",
    "/requests/<uuid:request_id>",
    Scope.READ,
    _REQUEST,
    own_scope=Scope.SUBMIT,
    problems={ProblemType.NOT_FOUND: _NOT_FOUND},
)
def show_request(request_id: UUID) -> RequestDetail:
    """Show a request with its attempts, its jobs, and the actions of operators.

    Only `admin` sees the headers and bodies of the provider's responses.
    """
    with current_context().database.connection() as connection:
        return _find_detail(connection, request_id)


@api.action(
    "/requests/<uuid:request_id>/retry",
    Scope.SUBMIT,
    _REQUEST,
    status=202,
    response_headers=["Location"],
    problems={
        ProblemType.NOT_FOUND: _NOT_FOUND,
        ProblemType.STATE_CONFLICT: "It is queued (use `send-now`), being sent or accepted, or its payload is erased.",
    },
)
def retry_request(request_id: UUID, body: dict[str, Any]) -> Result:
    """Send a rejected, failed, unknown or cancelled request again.

    It gets a new set of attempts, and a new deadline if the old one has passed.
    """
    with current_context().database.transaction() as connection:
        request = _find_request(connection, request_id)
        provider = current_context().settings.send_targets.get(request.provider)
        operations.retry(connection, request, provider, current_caller().name, body["reason"])
        return Result(_find_detail(connection, request_id), _build_location(request_id))


@api.action(
    "/requests/<uuid:request_id>/cancel",
    Scope.SUBMIT,
    _REQUEST,
    problems={ProblemType.NOT_FOUND: _NOT_FOUND, ProblemType.STATE_CONFLICT: "The request is not queued."},
)
def cancel_request(request_id: UUID, body: dict[str, Any]) -> RequestDetail:
    """Cancel a queued request.

    If the provider may have acted on an earlier attempt, the request becomes `unknown` instead of `cancelled`.
    """
    with current_context().database.transaction() as connection:
        request = _find_request(connection, request_id)
        provider = current_context().providers.get(request.provider)
        operations.cancel(connection, request, provider, current_caller().name, body["reason"])
        return _find_detail(connection, request_id)


@api.action(
    "/requests/<uuid:request_id>/send-now",
    Scope.SUBMIT,
    _REQUEST,
    problems={ProblemType.NOT_FOUND: _NOT_FOUND, ProblemType.STATE_CONFLICT: "The request is not queued."},
)
def send_request_now(request_id: UUID, body: dict[str, Any]) -> RequestDetail:
    """Make a queued request due now that waits for its next attempt or for `send_after`.

    Its failures still count, its deadline stays, and the limits, a pause and the circuit of its provider still apply.
    """
    with current_context().database.transaction() as connection:
        request = _find_request(connection, request_id)
        provider = current_context().settings.send_targets.get(request.provider)
        operations.send_now(connection, request, provider, current_caller().name, body["reason"])
        return _find_detail(connection, request_id)


@api.operation(
    "POST",
    "/requests/<uuid:request_id>/resolve",
    Scope.ADMIN,
    _REQUEST,
    body=schemas.RequestResolutionSchema(),
    problems={
        ProblemType.NOT_FOUND: _NOT_FOUND,
        ProblemType.STATE_CONFLICT: "The request is not unknown and has no reference conflict, or a reference "
        "belongs to another request.",
    },
)
def resolve_request(request_id: UUID, body: dict[str, Any]) -> RequestDetail:
    """Set the status of an unknown request, or of one with a reference conflict, manually.

    `accepted` requires the provider's references of its jobs; these jobs are then tracked like any other, and polled at
    once if the provider can be polled.
    """
    with current_context().database.transaction() as connection:
        request = _find_request(connection, request_id)
        provider = current_context().providers.get(request.provider)
        resolution = operations.RequestResolution(body["status"], body["references"])
        operations.resolve(connection, request, provider, resolution, build_operator_action(body["reason"]))
        return _find_detail(connection, request_id)


def _find_request(connection: Connection, request_id: UUID) -> Request:
    return _require_visible(find_requests(connection, [request_id]))


def _require_visible(requests: Sequence[RequestT]) -> RequestT:
    """Return the only request; raise a problem if there is none or the caller may not see it."""
    if not requests or not current_caller().can_see(requests[0].provider, requests[0].client):
        raise ProblemError(ProblemType.NOT_FOUND, _NOT_FOUND)
    return requests[0]


def _find_detail(connection: Connection, request_id: UUID) -> RequestDetail:
    is_admin = current_caller().has_scope(Scope.ADMIN)
    return _require_visible(find_request_details(connection, [request_id], with_responses=is_admin))


def _build_location(request_id: UUID) -> dict[str, str]:
    return {"Location": url_for("v1.show_request", request_id=request_id)}
