"""RFC 9457 problem documents: the table of problem types, and the response to every error.

Every error of the API, of the callback endpoint and of HTTP itself is answered with `application/problem+json` and the
`type` of one of the `ProblemType`s.
"""

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import orjson
import structlog
from flask import Flask, Response
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect

from receiver.domain.errors import ReceiverError, StateConflict
from receiver.exchange.confirmations import ConfirmationFailed
from receiver.exchange.key_documents import DocumentUnavailable
from receiver.inbound.receive import UnreadableCallback
from receiver.outbound.submit import InvalidSubmission
from receiver.signatures.base import InvalidSignature
from receiver.store.errors import StoreConflict, StoreUnavailable
from receiver.store.group_commit import QueueFull
from receiver.web.auth.api_keys import InvalidApiKey
from receiver.web.auth.failures import TooManyInvalidKeys
from receiver.web.auth.rate_limit import RateLimitExceeded
from receiver.web.security_headers import SECURITY_HEADERS
from receiver.web.server.errors import RequestCut

MEDIA_TYPE = "application/problem+json"
_URI_PREFIX = "urn:callback-receiver:problem:"
_RETRY_AFTER = {"Retry-After": "1"}
_AUTHENTICATE = {"WWW-Authenticate": "Bearer"}

_log = structlog.get_logger(__name__)


class ProblemType(Enum):
    """A kind of problem: its slug, its HTTP status, its title, and when it occurs.

    Clients tell problems apart by `uri`, which never changes: it is a URN, so it does not depend on the host that a
    service is deployed at. An `https` URI would need a domain that serves the documentation for as long as any release
    is in use, and RFC 9457 advises against a locator that cannot be dereferenced. The API guide documents the types.
    """

    INVALID_REQUEST = (
        "invalid-request",
        400,
        "Invalid request",
        "A field, a query parameter or a header is missing, unknown or invalid; `errors` names each of them.",
    )
    UNREADABLE_BODY = (
        "unreadable-body",
        400,
        "Unreadable body",
        "The body ended early, or is not framed as HTTP requires.",
    )
    MALFORMED_REQUEST = (
        "malformed-request",
        400,
        "Malformed request",
        "The request line or a header is not as HTTP requires.",
    )
    UNREADABLE_CALLBACK = (
        "unreadable-callback",
        400,
        "Unreadable callback",
        "A callback's signature is valid, but its content cannot be parsed; it is stored and can be replayed.",
    )
    MISSING_API_KEY = (
        "missing-api-key",
        401,
        "Missing API key",
        "The call has no `Authorization: Bearer KEY` header.",
    )
    INVALID_API_KEY = (
        "invalid-api-key",
        401,
        "Invalid API key",
        "The API key is unknown, revoked or expired.",
    )
    INVALID_SIGNATURE = (
        "invalid-signature",
        401,
        "Invalid signature",
        "A callback's signature is missing, wrong or too old, or the caller's address is not allowed.",
    )
    INSUFFICIENT_SCOPE = (
        "insufficient-scope",
        403,
        "Insufficient scope",
        "The API key lacks the scope that the operation requires.",
    )
    PROVIDER_NOT_ALLOWED = (
        "provider-not-allowed",
        403,
        "Provider not allowed",
        "The API key is restricted to other providers.",
    )
    NOT_FOUND = (
        "not-found",
        404,
        "Not found",
        "Nothing has this id, name or path, or the API key may not see its provider.",
    )
    UNKNOWN_CALLBACK_URL = (
        "unknown-callback-url",
        404,
        "Unknown callback URL",
        "No provider with this name is configured, or the token in the callback URL is wrong.",
    )
    METHOD_NOT_ALLOWED = (
        "method-not-allowed",
        405,
        "Method not allowed",
        "The path does not support this method; `Allow` lists those that it supports.",
    )
    REQUEST_TIMEOUT = (
        "request-timeout",
        408,
        "Request timeout",
        "The headers or the body did not arrive in time.",
    )
    STATE_CONFLICT = (
        "state-conflict",
        409,
        "State conflict",
        "The current state does not allow the operation.",
    )
    IDEMPOTENCY_KEY_REUSED = (
        "idempotency-key-reused",
        409,
        "Idempotency key reused",
        "The `Idempotency-Key` was used for another call.",
    )
    PAYLOAD_TOO_LARGE = (
        "payload-too-large",
        413,
        "Payload too large",
        "The body exceeds the size limit.",
    )
    URI_TOO_LONG = (
        "uri-too-long",
        414,
        "URI too long",
        "The request line exceeds 8,190 bytes.",
    )
    UNSUPPORTED_MEDIA_TYPE = (
        "unsupported-media-type",
        415,
        "Unsupported media type",
        "The body has a media type that the operation or the provider does not accept.",
    )
    EXPECTATION_FAILED = (
        "expectation-failed",
        417,
        "Expectation failed",
        "The header `Expect` has another value than `100-continue`.",
    )
    RATE_LIMIT_EXCEEDED = (
        "rate-limit-exceeded",
        429,
        "Rate limit exceeded",
        "The API key has used all its calls of this minute; the call had no effect.",
    )
    TOO_MANY_INVALID_KEYS = (
        "too-many-invalid-keys",
        429,
        "Too many invalid keys",
        "Too many calls from the caller's address had an invalid API key; a valid key works.",
    )
    HEADERS_TOO_LARGE = (
        "headers-too-large",
        431,
        "Headers too large",
        "A header exceeds 8,190 bytes, all together exceed 65,536 bytes, or there are more than 100.",
    )
    INTERNAL_ERROR = (
        "internal-error",
        500,
        "Internal error",
        "The service failed; the error is logged.",
    )
    UNSUPPORTED_TRANSFER_CODING = (
        "unsupported-transfer-coding",
        501,
        "Unsupported transfer coding",
        "The header `Transfer-Encoding` has another value than `chunked`.",
    )
    OVERLOADED = (
        "overloaded",
        503,
        "Overloaded",
        "Too many requests are incomplete, or they hold too much memory; this one was given up before it was complete.",
    )
    STORE_UNAVAILABLE = (
        "store-unavailable",
        503,
        "Store unavailable",
        "The database is unavailable or overloaded; the call may or may not have been committed.",
    )
    QUEUE_FULL = (
        "queue-full",
        503,
        "Queue full",
        "Too many callbacks or submissions are waiting to be committed; this one was not stored.",
    )
    KEY_DOCUMENTS_UNAVAILABLE = (
        "key-documents-unavailable",
        503,
        "Key documents unavailable",
        "The public keys that verify a callback's signature cannot be fetched.",
    )
    CONFIRMATION_FAILED = (
        "confirmation-failed",
        503,
        "Confirmation failed",
        "The URL by which a provider wants the callback URL confirmed did not respond with 2xx.",
    )

    def __init__(self, slug: str, status: int, title: str, occurrence: str) -> None:
        self.slug = slug
        self.status = status
        self.title = title
        self.occurrence = occurrence

    @property
    def uri(self) -> str:
        """The `type` of the problem documents."""
        return _URI_PREFIX + self.slug


class ProblemError(ReceiverError):
    """A call fails with a problem of a given type; `headers` are added to the response."""

    def __init__(self, problem_type: ProblemType, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.problem_type = problem_type
        self.headers = headers or {}


class MissingApiKey(ProblemError):
    """A call of the API has no API key."""

    def __init__(self) -> None:
        detail = "Missing API key. Send it as `Authorization: Bearer KEY`."
        super().__init__(ProblemType.MISSING_API_KEY, detail, _AUTHENTICATE)


_HTTP_PROBLEMS: Mapping[int, ProblemType] = {
    400: ProblemType.UNREADABLE_BODY,
    404: ProblemType.NOT_FOUND,
    405: ProblemType.METHOD_NOT_ALLOWED,
    413: ProblemType.PAYLOAD_TOO_LARGE,
    415: ProblemType.UNSUPPORTED_MEDIA_TYPE,
}
"""The problem types of werkzeug's exceptions, by status."""

_PARSE_PROBLEMS: Mapping[type[ParseException], ProblemType] = {
    LimitRequestLine: ProblemType.URI_TOO_LONG,
    LimitRequestHeaders: ProblemType.HEADERS_TOO_LARGE,
    ExpectationFailed: ProblemType.EXPECTATION_FAILED,
    UnsupportedTransferCoding: ProblemType.UNSUPPORTED_TRANSFER_CODING,
}
"""The problem types of gunicorn's exceptions; all others are `MALFORMED_REQUEST`."""

DETAILS: Mapping[ProblemType, str] = {
    ProblemType.UNREADABLE_BODY: "The body cannot be read.",
    ProblemType.MALFORMED_REQUEST: "The request line or a header is not as HTTP requires.",
    ProblemType.REQUEST_TIMEOUT: "The request did not arrive in time.",
    ProblemType.URI_TOO_LONG: "The request line is too long.",
    ProblemType.EXPECTATION_FAILED: "The only supported expectation is 100-continue.",
    ProblemType.HEADERS_TOO_LARGE: "The headers are too large or too many.",
    ProblemType.UNSUPPORTED_TRANSFER_CODING: "The only supported transfer coding is chunked.",
    ProblemType.OVERLOADED: "The service is overloaded. Try again after `Retry-After` seconds.",
    ProblemType.NOT_FOUND: "No such resource.",
    ProblemType.PAYLOAD_TOO_LARGE: "The body is too large.",
    ProblemType.UNSUPPORTED_MEDIA_TYPE: "Unsupported media type.",
    ProblemType.INTERNAL_ERROR: "Internal error; it has been logged. Try again later.",
    ProblemType.STORE_UNAVAILABLE: "The database is unavailable or overloaded, so nothing is known to be committed. "
    "Try again after `Retry-After` seconds.",
    ProblemType.QUEUE_FULL: "Too many others are waiting to be committed. Try again after `Retry-After` seconds.",
    ProblemType.KEY_DOCUMENTS_UNAVAILABLE: "The provider's public keys cannot be fetched. "
    "Try again after `Retry-After` seconds.",
    ProblemType.CONFIRMATION_FAILED: "The callback URL cannot be confirmed. Try again after `Retry-After` seconds.",
}
"""The details of problems whose exception has none that is meant for a caller."""


def build_problem(
    problem_type: ProblemType,
    detail: str | None = None,
    *,
    errors: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the response with a problem document.

    Args:
        problem_type: the kind of problem, which decides the status.
        detail: what is wrong and the remedy; by default the usual text of the type.
        errors: messages by field, nested like the body.
        headers: further response headers.
    """
    document: dict[str, Any] = {
        "type": problem_type.uri,
        "title": problem_type.title,
        "status": problem_type.status,
        "detail": detail or DETAILS[problem_type],
    }
    if errors is not None:
        document["errors"] = errors
    all_headers = {**dict(SECURITY_HEADERS), **(headers or {})}
    return Response(_serialize(document), problem_type.status, all_headers, content_type=MEDIA_TYPE)


def register_error_handlers(app: Flask) -> None:
    """Answer every error of the app with a problem document."""
    app.register_error_handler(Exception, build_problem_response)


def build_problem_response(error: Exception) -> Response:
    """Build the response to an error; errors of the service itself are logged."""
    match error:
        case ProblemError():
            return build_problem(error.problem_type, str(error), headers=error.headers)
        case HTTPException() | RequestCut() | ParseException():
            return _build_refusal(error)
        case InvalidSignature():
            return build_problem(ProblemType.INVALID_SIGNATURE, str(error))
        case UnreadableCallback():
            detail = "The callback was stored but cannot be parsed; see `errors`."
            return build_problem(ProblemType.UNREADABLE_CALLBACK, detail, errors=error.errors)
        case InvalidApiKey():
            return build_problem(ProblemType.INVALID_API_KEY, str(error), headers=_AUTHENTICATE)
        case StateConflict():
            return build_problem(ProblemType.STATE_CONFLICT, str(error))
        case RateLimitExceeded() | TooManyInvalidKeys():
            return _build_throttled(error)
        case InvalidSubmission():
            detail = "The request is invalid; see `errors`."
            return build_problem(ProblemType.INVALID_REQUEST, detail, errors=error.errors)
        case StoreUnavailable() | StoreConflict() | QueueFull() | DocumentUnavailable() | ConfirmationFailed():
            return _build_unavailable(error)
    _log.error("http_request.failed", exc_info=error)
    return build_problem(ProblemType.INTERNAL_ERROR)


def _build_throttled(error: RateLimitExceeded | TooManyInvalidKeys) -> Response:
    if isinstance(error, TooManyInvalidKeys):
        headers = {"Retry-After": str(error.retry_after)}
        return build_problem(ProblemType.TOO_MANY_INVALID_KEYS, str(error), headers=headers)
    headers = {"Retry-After": str(math.ceil(error.rate_limit.resets_in))}
    return build_problem(ProblemType.RATE_LIMIT_EXCEEDED, str(error), headers=headers)


def _build_unavailable(error: Exception) -> Response:
    """Build the response to an error that will pass: 503, so that the caller tries again."""
    match error:
        case QueueFull():
            problem_type = ProblemType.QUEUE_FULL
        case DocumentUnavailable():
            problem_type = ProblemType.KEY_DOCUMENTS_UNAVAILABLE
        case ConfirmationFailed():
            problem_type = ProblemType.CONFIRMATION_FAILED
        case _:
            problem_type = ProblemType.STORE_UNAVAILABLE
    # The health of the store logs once that it fails, and once that it works again.
    log = _log.debug if problem_type is ProblemType.STORE_UNAVAILABLE else _log.warning
    log("http_request.refused", problem=problem_type.slug, error=str(error))
    return build_problem(problem_type, headers=_RETRY_AFTER)


def _build_refusal(error: HTTPException | RequestCut | ParseException) -> Response:
    """Build the response to what is no request of ours; for requests that are not read, see `receiver.web.server`."""
    if isinstance(error, HTTPException):
        return _build_http_problem(error)
    if isinstance(error, ParseException):
        return build_problem(_PARSE_PROBLEMS.get(type(error), ProblemType.MALFORMED_REQUEST))
    if error.reason.is_timeout:
        return build_problem(ProblemType.REQUEST_TIMEOUT)
    return build_problem(ProblemType.OVERLOADED, headers=_RETRY_AFTER)


def _build_http_problem(error: HTTPException) -> Response:
    """Build the response to an exception of werkzeug, which our own code raises as well.

    werkzeug's own descriptions are written for people with a browser, so they are replaced.
    """
    if isinstance(error, RequestRedirect):  # werkzeug's, to the host that the caller has named
        return build_problem(ProblemType.NOT_FOUND)
    problem_type = _HTTP_PROBLEMS.get(error.code or 500, ProblemType.INTERNAL_ERROR)
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    if isinstance(error, MethodNotAllowed):
        detail: str | None = f"Method not allowed; use {_format_methods(error)}."
    else:
        detail = error.description if error.description != type(error).description else None
    return build_problem(problem_type, detail, headers=headers)


def _format_methods(error: MethodNotAllowed) -> str:
    # Flask answers HEAD and OPTIONS by itself, on every path.
    methods = sorted(set(error.valid_methods or ()) - {"HEAD", "OPTIONS"})
    return " or ".join(methods)


def _serialize(document: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:  # a field name sent by a client may hold a lone surrogate, which json escapes
        return json.dumps(document).encode()
