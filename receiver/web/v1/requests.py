"""`/v1/requests`: what clients ask to have sent."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Response, url_for
from werkzeug.exceptions import NotFound

from receiver.domain.access import Scope
from receiver.domain.paging import Page
from receiver.outbound import operations
from receiver.outbound.submit import Submission, prepare_request, prepare_requests
from receiver.schemas.api import requests as schemas
from receiver.schemas.api.common import ReasonSchema, list_of
from receiver.store.actions import find_actions
from receiver.store.database import Connection
from receiver.store.jobs import find_request_jobs
from receiver.store.requests import (
    Request,
    find_attempts,
    find_requests,
    list_requests,
    submit_requests,
)
from receiver.web.bodies import json_response
from receiver.web.context import current_context
from receiver.web.idempotency import HEADERS, REPLAYED, run_idempotently
from receiver.web.operations import (
    Result,
    build_operator_action,
    current_caller,
    extend_fields,
    filter_providers,
    require_provider,
)
from receiver.web.v1.blueprint import api

_REQUEST = schemas.RequestSchema()
_LIST = list_of(schemas.RequestSummarySchema)()
_UNKNOWN = "no request has this id"
_BATCH_CAP = 4


@api.operation(
    "POST",
    "/requests",
    Scope.SUBMIT,
    _REQUEST,
    status=202,
    body=schemas.SubmissionSchema(),
    headers=HEADERS,
    response_headers=["Location", REPLAYED],
    refusals={409: "the Idempotency-Key was used for another call"},
)
def submit_request(body: dict[str, Any]) -> Response:
    """Have a request sent.

    It is committed before the answer, and sent as soon as its provider's limits allow.
    """
    require_provider(body["provider"])

    def queue(connection: Connection) -> Response:
        # Only now: what was taken once is not judged again when it is repeated.
        prepared = prepare_request(
            current_context().providers,
            Submission(**body, client=current_caller().client),
            current_context().settings.notifier,
        )
        submit_requests(connection, [prepared])
        # Made before the commit: what cannot be answered is not queued.
        return json_response(_REQUEST.dump(_story(connection, prepared.id)), 202, _location(prepared.id))

    return run_idempotently(body, queue)


@api.operation(
    "POST",
    "/requests/batch",
    Scope.SUBMIT,
    _LIST,
    status=202,
    body=schemas.BatchSchema(),
    body_cap=_BATCH_CAP,
    headers=HEADERS,
    response_headers=[REPLAYED],
    refusals={409: "the Idempotency-Key was used for another call"},
)
def submit_batch(body: dict[str, Any]) -> Response:
    """Have up to 1,000 requests sent.

    All of them are queued in one transaction, or none. The answer gives them in the order of their submission.
    """
    for given in body["requests"]:
        require_provider(given["provider"])

    def queue(connection: Connection) -> Response:
        submissions = [Submission(**given, client=current_caller().client) for given in body["requests"]]
        prepared = prepare_requests(current_context().providers, submissions, current_context().settings.notifier)
        submit_requests(connection, prepared)
        queued = find_requests(connection, [one.id for one in prepared])
        return json_response(_LIST.dump(Page(queued)), 202)

    return run_idempotently(body, queue)


@api.operation("GET", "/requests", Scope.READ, _LIST, query=schemas.RequestQuerySchema())
def browse_requests(query: dict[str, Any]) -> Page[Request]:
    """List requests, the newest first."""
    providers = filter_providers(query.pop("provider"))
    with current_context().database.connection() as connection:
        return list_requests(connection, providers=providers, **query)


@api.operation("GET", "/requests/<uuid:request_id>", Scope.READ, _REQUEST, refusals={404: _UNKNOWN})
def show_request(request_id: UUID) -> Mapping[str, Any]:
    """Show a request with its attempts and jobs, and what operators did."""
    with current_context().database.connection() as connection:
        return _story(connection, request_id)


@api.operation(
    "POST",
    "/requests/<uuid:request_id>/retry",
    Scope.SUBMIT,
    _REQUEST,
    status=202,
    body=ReasonSchema(),
    optional_body=True,
    response_headers=["Location"],
    refusals={404: _UNKNOWN, 409: "it is under way, or was taken"},
)
def retry_request(request_id: UUID, body: dict[str, Any]) -> Result:
    """Send a request again that is rejected, failed, unknown or cancelled.

    It has all its attempts anew, and a new deadline if the old one has passed.
    """
    with current_context().database.transaction() as connection:
        found = _found(connection, request_id)
        provider = current_context().settings.sent_to.get(found.provider)
        operations.retry(connection, found, provider, current_caller().name, body["reason"])
        return Result(_story(connection, request_id), _location(request_id))


@api.operation(
    "POST",
    "/requests/<uuid:request_id>/cancel",
    Scope.SUBMIT,
    _REQUEST,
    body=ReasonSchema(),
    optional_body=True,
    refusals={404: _UNKNOWN, 409: "it is not queued"},
)
def cancel_request(request_id: UUID, body: dict[str, Any]) -> Mapping[str, Any]:
    """Take a request out of the queue.

    One that may have been acted on in an earlier attempt is `unknown` then, and not `cancelled`.
    """
    with current_context().database.transaction() as connection:
        found = _found(connection, request_id)
        operations.cancel(
            connection, found, current_context().providers.get(found.provider), current_caller().name, body["reason"]
        )
        return _story(connection, request_id)


@api.operation(
    "POST",
    "/requests/<uuid:request_id>/resolve",
    Scope.ADMIN,
    _REQUEST,
    body=schemas.RequestResolutionSchema(),
    refusals={404: _UNKNOWN, 409: "it is not unknown, or a reference is another request's"},
)
def resolve_request(request_id: UUID, body: dict[str, Any]) -> Mapping[str, Any]:
    """Say what became of an unknown request, as an operator who knows it from elsewhere.

    `accepted` takes the provider's references of its jobs; these are then followed like any, and asked about at once if
    the provider can be polled.
    """
    with current_context().database.transaction() as connection:
        found = _found(connection, request_id)
        provider = current_context().providers.get(found.provider)
        resolution = operations.RequestResolution(body["status"], body["references"])
        operations.resolve(connection, found, provider, resolution, build_operator_action(body["reason"]))
        return _story(connection, request_id)


def _found(connection: Connection, request_id: UUID) -> Request:
    found = find_requests(connection, [request_id])
    if not found or not current_caller().sees(found[0].provider):
        raise NotFound(_UNKNOWN)
    return found[0]


def _story(connection: Connection, request_id: UUID) -> Mapping[str, Any]:
    """Give a request with all that belongs to it, for its schema."""
    found = _found(connection, request_id)
    return extend_fields(
        found,
        attempts=find_attempts(connection, request_id),
        jobs=find_request_jobs(connection, request_id),
        actions=find_actions(connection, request_id),
    )


def _location(request_id: UUID) -> dict[str, str]:
    return {"Location": url_for("v1.show_request", request_id=request_id)}
