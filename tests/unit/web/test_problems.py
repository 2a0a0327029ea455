"""Problem types: stable, unique, and each of them the response to some error."""

import pytest
from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidHeader,
    LimitRequestHeaders,
    LimitRequestLine,
    UnsupportedTransferCoding,
)
from werkzeug.exceptions import (
    BadGateway,
    BadRequest,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from werkzeug.routing import RequestRedirect

from receiver.domain.errors import StateConflict
from receiver.exchange.confirmations import ConfirmationFailed
from receiver.exchange.key_documents import DocumentUnavailable
from receiver.inbound.receive import UnreadableCallback
from receiver.outbound.submit import InvalidSubmission
from receiver.signatures.base import InvalidSignature
from receiver.store.errors import StoreConflict, StoreUnavailable
from receiver.store.group_commit import QueueFull
from receiver.web.auth.api_keys import InvalidApiKey
from receiver.web.auth.failures import TooManyInvalidKeys
from receiver.web.auth.rate_limit import RateLimit, RateLimitExceeded
from receiver.web.problems import DETAILS, MissingApiKey, ProblemError, ProblemType, build_problem_response
from receiver.web.server.errors import CutReason, RequestCut

URIS = {
    "urn:callback-receiver:problem:invalid-request",
    "urn:callback-receiver:problem:unreadable-body",
    "urn:callback-receiver:problem:malformed-request",
    "urn:callback-receiver:problem:request-timeout",
    "urn:callback-receiver:problem:uri-too-long",
    "urn:callback-receiver:problem:expectation-failed",
    "urn:callback-receiver:problem:headers-too-large",
    "urn:callback-receiver:problem:unsupported-transfer-coding",
    "urn:callback-receiver:problem:overloaded",
    "urn:callback-receiver:problem:unreadable-callback",
    "urn:callback-receiver:problem:missing-api-key",
    "urn:callback-receiver:problem:invalid-api-key",
    "urn:callback-receiver:problem:invalid-signature",
    "urn:callback-receiver:problem:insufficient-scope",
    "urn:callback-receiver:problem:provider-not-allowed",
    "urn:callback-receiver:problem:not-found",
    "urn:callback-receiver:problem:unknown-callback-url",
    "urn:callback-receiver:problem:method-not-allowed",
    "urn:callback-receiver:problem:state-conflict",
    "urn:callback-receiver:problem:idempotency-key-reused",
    "urn:callback-receiver:problem:payload-too-large",
    "urn:callback-receiver:problem:unsupported-media-type",
    "urn:callback-receiver:problem:rate-limit-exceeded",
    "urn:callback-receiver:problem:too-many-invalid-keys",
    "urn:callback-receiver:problem:internal-error",
    "urn:callback-receiver:problem:store-unavailable",
    "urn:callback-receiver:problem:queue-full",
    "urn:callback-receiver:problem:key-documents-unavailable",
    "urn:callback-receiver:problem:confirmation-failed",
}
"""Written out, because clients depend on them."""
ERRORS: list[tuple[Exception, ProblemType]] = [
    (InvalidSubmission({"to": ["Missing data for required field."]}), ProblemType.INVALID_REQUEST),
    (BadRequest("The body is shorter than its Content-Length."), ProblemType.UNREADABLE_BODY),
    (InvalidHeader("CONTENT-LENGTH"), ProblemType.MALFORMED_REQUEST),
    (LimitRequestLine(9_000, 8_190), ProblemType.URI_TOO_LONG),
    (LimitRequestHeaders("max buffer headers"), ProblemType.HEADERS_TOO_LARGE),
    (ExpectationFailed("zzz"), ProblemType.EXPECTATION_FAILED),
    (UnsupportedTransferCoding("zzz"), ProblemType.UNSUPPORTED_TRANSFER_CODING),
    (RequestCut(CutReason.HEADER_TIMEOUT), ProblemType.REQUEST_TIMEOUT),
    (RequestCut(CutReason.BODY_TIMEOUT), ProblemType.REQUEST_TIMEOUT),
    (RequestCut(CutReason.OUT_OF_MEMORY), ProblemType.OVERLOADED),
    (RequestCut(CutReason.TOO_MANY), ProblemType.OVERLOADED),
    (RequestRedirect("http://evil.example/"), ProblemType.NOT_FOUND),
    (UnreadableCallback({"id": ["Missing data for required field."]}), ProblemType.UNREADABLE_CALLBACK),
    (MissingApiKey(), ProblemType.MISSING_API_KEY),
    (InvalidApiKey("Invalid API key: unknown, revoked or expired."), ProblemType.INVALID_API_KEY),
    (InvalidSignature("timestamp", "Signed 400 s ago; the tolerance is 300 s."), ProblemType.INVALID_SIGNATURE),
    (ProblemError(ProblemType.INSUFFICIENT_SCOPE, "The API key lacks the scope."), ProblemType.INSUFFICIENT_SCOPE),
    (ProblemError(ProblemType.PROVIDER_NOT_ALLOWED, "Not this provider."), ProblemType.PROVIDER_NOT_ALLOWED),
    (NotFound(), ProblemType.NOT_FOUND),
    (ProblemError(ProblemType.UNKNOWN_CALLBACK_URL, "No such provider."), ProblemType.UNKNOWN_CALLBACK_URL),
    (MethodNotAllowed(["GET", "HEAD", "OPTIONS", "POST"]), ProblemType.METHOD_NOT_ALLOWED),
    (StateConflict("The request is not queued."), ProblemType.STATE_CONFLICT),
    (ProblemError(ProblemType.IDEMPOTENCY_KEY_REUSED, "Used."), ProblemType.IDEMPOTENCY_KEY_REUSED),
    (RequestEntityTooLarge(), ProblemType.PAYLOAD_TOO_LARGE),
    (UnsupportedMediaType(), ProblemType.UNSUPPORTED_MEDIA_TYPE),
    (RateLimitExceeded(RateLimit(60, 0, 12.3)), ProblemType.RATE_LIMIT_EXCEEDED),
    (TooManyInvalidKeys(3), ProblemType.TOO_MANY_INVALID_KEYS),
    (ZeroDivisionError(), ProblemType.INTERNAL_ERROR),
    (BadGateway(), ProblemType.INTERNAL_ERROR),
    (StoreUnavailable("connection refused"), ProblemType.STORE_UNAVAILABLE),
    (StoreConflict("deadlock detected"), ProblemType.STORE_UNAVAILABLE),
    (QueueFull("2000 wait"), ProblemType.QUEUE_FULL),
    (DocumentUnavailable("timed out"), ProblemType.KEY_DOCUMENTS_UNAVAILABLE),
    (ConfirmationFailed("timed out"), ProblemType.CONFIRMATION_FAILED),
]


def test_uris_are_stable() -> None:
    assert {problem_type.uri for problem_type in ProblemType} == URIS


def test_types_have_title_and_occurrence() -> None:
    assert len({problem_type.title for problem_type in ProblemType}) == len(ProblemType)
    for problem_type in ProblemType:
        assert problem_type.title[0].isupper()
        assert not problem_type.title.endswith(".")
        assert problem_type.occurrence.endswith(".")


@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=lambda value: type(value).__name__)
def test_error_has_problem_type(error: Exception, expected: ProblemType) -> None:
    response = build_problem_response(error)
    document = response.get_json(force=True)
    assert response.content_type == "application/problem+json"
    assert (document["type"], document["title"]) == (expected.uri, expected.title)
    assert document["status"] == response.status_code == expected.status
    assert document["detail"].endswith(".")
    assert ("Retry-After" in response.headers) == (expected.status in {429, 503})
    assert ("WWW-Authenticate" in response.headers) == (
        expected in {ProblemType.MISSING_API_KEY, ProblemType.INVALID_API_KEY}
    )


def test_every_problem_type_occurs() -> None:
    assert {problem_type for _, problem_type in ERRORS} == set(ProblemType)


@pytest.mark.parametrize("error", [NotFound(), BadRequest(), RequestEntityTooLarge(), UnsupportedMediaType()])
def test_descriptions_of_werkzeug_are_replaced(error: HTTPException) -> None:
    document = build_problem_response(error).get_json(force=True)
    assert document["detail"] != error.description
    assert document["detail"] in DETAILS.values()


def test_wrong_method_names_allowed_methods() -> None:
    response = build_problem_response(MethodNotAllowed(["POST", "OPTIONS", "HEAD", "GET"]))
    assert response.get_json(force=True)["detail"] == "Method not allowed; use GET or POST."
    assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS", "HEAD", "GET"}


def test_unexpected_error_reveals_nothing() -> None:
    response = build_problem_response(ValueError("a secret"))
    assert "secret" not in response.get_data(as_text=True)


def test_lone_surrogate_in_field_name_is_escaped() -> None:
    response = build_problem_response(InvalidSubmission({"\ud800": ["Unknown field."]}))
    assert response.get_json(force=True)["errors"] == {"\ud800": ["Unknown field."]}
