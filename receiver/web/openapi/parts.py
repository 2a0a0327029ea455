"""The parts of the OpenAPI document that do not depend on the configuration: introduction, headers and problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.domain.access import Scope
from receiver.schemas.api.common import MAX_PAGE_SIZE, UUIDString
from receiver.web.problems import DETAILS, MEDIA_TYPE, ProblemType

KEY = "key"
"""The name of the security scheme."""

INTRODUCTION = f"""\
Sends requests to providers that finish them later, receives their signed callbacks, and stores every job's final \
status.

**Requests and jobs.** `POST /v1/requests` responds with 202 once the request is committed. The request is sent as \
soon as its provider's limits allow, and results in one or more jobs, each with the provider's own `reference`. \
`GET /v1/requests/{{request_id}}` shows the jobs; `GET /v1/jobs/{{job_id}}` with `Prefer: wait=30` responds when the \
job is final.

**API keys.** All of `/v1` requires an API key as `Authorization: Bearer KEY`. A key has scopes: `submit`, `read`, \
`admin`; `admin` includes the others. A key that is restricted to providers sees and uses only these: everything of \
other providers is 404, and submitting to them is 403. A key belongs to a client, and so do requests and idempotency \
keys.

**Rate limits.** A key has a number of calls per minute, which every response shows in `RateLimit-Policy`; `RateLimit` \
has the calls that remain (`r`) and the seconds until all are available again (`t`). Beyond the limit the response is \
429 with `Retry-After`.

**Request ids.** Every response has an `X-Request-Id`, which the log of the service has too. A call may choose it \
by the same header: 1 to 128 characters of `[A-Za-z0-9._-]`.

**Retries.** 429 and 503 have `Retry-After` in seconds. A call answered with 429 had no effect; a call answered with \
503 may have been committed, if the database failed at that moment. Submit with an `Idempotency-Key`, and the same \
submission can be repeated after any failure: it gets the first response again.

**Bodies** are JSON in UTF-8. Refused are unknown fields, NUL characters, lone surrogates, repeated names in an \
object, and numbers that exceed 64 bits. Responses may gain fields.

**Times** are RFC 3339; responses are in UTC. In a query, `+` must be written as `%2B`.

**Lists** are newest first, except for the events of a callback, which are in the order of its body: \
`{{"items": [...], "next_cursor": "CURSOR"}}`. Pass `next_cursor` as `cursor` to get the next page; it is null on the \
last page. The maximum of `limit` is {MAX_PAGE_SIZE}. Unknown and repeated parameters are \
refused. The request line, which contains the query, may have 8190 bytes.

**Errors** are RFC 9457 `application/problem+json`; `type` identifies the kind of problem and never changes. `errors` \
maps fields to messages, nested like the body; `_body` and `_query` stand for a body or query that cannot be parsed. \
An unknown path is 404, an unsupported method 405 with `Allow`. `HEAD` is supported wherever `GET` is; `OPTIONS` lists \
the methods. A failure of the service is 500, `{ProblemType.INTERNAL_ERROR.uri}`.
"""

WEBHOOKS_TAG = "webhooks"
"""The tag of what no client calls. Some generators take webhooks for operations: a tag that operations have too would
mix them, in one module for each tag."""
TAGS: Mapping[str, str] = {
    "requests": "Requests that clients submit.",
    "jobs": "Jobs that providers accepted, and their statuses.",
    "callbacks": "Callbacks that providers delivered, as they were received, and their verdicts.",
    "notifications": "Webhook notifications to clients, their attempts and failures.",
    "providers": "Configured providers and their state.",
    "stats": "Counts and durations.",
    "tail": "Changes as they happen.",
    "keys": "API keys.",
    "service": "The service itself; no key is required.",
    WEBHOOKS_TAG: "Callbacks of providers to this service, and webhook notifications of this service to clients.",
}

SECURITY_SCHEMES: Mapping[str, Any] = {
    KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": f"An API key with scopes: {', '.join(f'`{scope}`' for scope in Scope)}. `admin` includes the "
        "other scopes.",
    }
}

IDENTIFIER: Mapping[str, Any] = {
    "type": "string",
    "format": "uuid",
    "pattern": UUIDString().metadata["pattern"],
}

REQUEST_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "Idempotency-Key": {
        "schema": {
            "type": "string",
            "pattern": r'^("[ !#-\[\]-~]{1,255}"|[!#-\[\]-~]([ !#-\[\]-~]{0,253}[!#-\[\]-~])?)$',
        },
        "example": "order-7",
    },
    "Prefer": {"schema": {"type": "string"}, "example": "wait=30"},
}

RESPONSE_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "RateLimit": {
        "description": "Calls that remain for the key (`r`), and seconds until all are available again (`t`).",
        "required": True,
        "schema": {"type": "string", "pattern": '^"key";r=[0-9]+;t=[0-9]+$'},
        "example": '"key";r=59998;t=42',
    },
    "RateLimit-Policy": {
        "description": "Number of calls (`q`) that the key may make in a period of seconds (`w`).",
        "required": True,
        "schema": {"type": "string", "pattern": '^"key";q=[0-9]+;w=60$'},
        "example": '"key";q=60000;w=60',
    },
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "Location": {
        "description": "The URL of the object.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
        "example": "/v1/requests/0197e6a5-7f0c-7c3e-9d43-5b8f3a1c2d4e",
    },
    "Preference-Applied": {
        "description": "Maximum seconds that the response was delayed.",
        "schema": {"type": "string", "pattern": "^wait=[0-9]{1,2}$"},
        "example": "wait=30",
    },
    "Idempotent-Replayed": {
        "description": "`true` if this is the response to an earlier call with the same key; absent otherwise.",
        "schema": {"const": "true"},
        "example": "true",
    },
    "WWW-Authenticate": {
        "description": "The authentication scheme.",
        "required": True,
        "schema": {"type": "string"},
        "example": "Bearer",
    },
    "Allow": {
        "description": "The supported methods.",
        "required": True,
        "schema": {"type": "string"},
        "example": "POST",
    },
}
RATE_LIMIT_HEADERS = ("RateLimit", "RateLimit-Policy")

PROBLEM_TYPE: Mapping[str, Any] = {
    "type": "string",
    "enum": [problem_type.uri for problem_type in ProblemType],
    "x-enum-varnames": [problem_type.name for problem_type in ProblemType],
    "description": "identifies the kind of problem; stable",
}
"""The schema of the `type` of a problem document, with names for generators of clients, which know none of a URI."""


@dataclass(frozen=True, slots=True)
class ProblemResponse:
    """The response of one error status.

    Args:
        name: the name of the component.
        types: the problem types that any operation may respond with, the one in the example first.
        detail: the `detail` of the example.
        headers: the names of the response headers.
    """

    name: str
    types: Sequence[ProblemType]
    detail: str
    headers: Sequence[str] = RATE_LIMIT_HEADERS


PROBLEM_RESPONSES: Mapping[int, ProblemResponse] = {
    400: ProblemResponse(
        "BadRequest",
        (ProblemType.INVALID_REQUEST, ProblemType.UNREADABLE_BODY, ProblemType.MALFORMED_REQUEST),
        "The request is invalid; see `errors`.",
    ),
    401: ProblemResponse(
        "Unauthorized",
        (ProblemType.INVALID_API_KEY, ProblemType.MISSING_API_KEY),
        "Invalid API key: unknown, revoked or expired.",
        ("WWW-Authenticate",),
    ),
    403: ProblemResponse(
        "Forbidden",
        (ProblemType.INSUFFICIENT_SCOPE, ProblemType.PROVIDER_NOT_ALLOWED),
        "The API key lacks the scope `submit`; it has `read`.",
    ),
    404: ProblemResponse("NotFound", (ProblemType.NOT_FOUND,), DETAILS[ProblemType.NOT_FOUND], ()),
    405: ProblemResponse(
        "MethodNotAllowed", (ProblemType.METHOD_NOT_ALLOWED,), "Method not allowed; use GET or POST.", ("Allow",)
    ),
    408: ProblemResponse(
        "RequestTimeout", (ProblemType.REQUEST_TIMEOUT,), DETAILS[ProblemType.REQUEST_TIMEOUT], headers=()
    ),
    409: ProblemResponse("Conflict", (ProblemType.STATE_CONFLICT,), "The request is not queued."),
    413: ProblemResponse(
        "PayloadTooLarge", (ProblemType.PAYLOAD_TOO_LARGE,), "The body must not exceed 1048576 bytes."
    ),
    415: ProblemResponse(
        "UnsupportedMediaType",
        (ProblemType.UNSUPPORTED_MEDIA_TYPE,),
        "Unsupported media type; send application/json.",
    ),
    429: ProblemResponse(
        "TooManyRequests",
        (ProblemType.RATE_LIMIT_EXCEEDED, ProblemType.TOO_MANY_INVALID_KEYS),
        "Rate limit exceeded: 60000 calls per minute. Try again after `Retry-After` seconds.",
        (*RATE_LIMIT_HEADERS, "Retry-After"),
    ),
    503: ProblemResponse(
        "Unavailable",
        (ProblemType.STORE_UNAVAILABLE, ProblemType.OVERLOADED),
        DETAILS[ProblemType.STORE_UNAVAILABLE],
        ("Retry-After",),
    ),
}
"""The error responses by status."""
COMMON_PROBLEMS = (400, 401, 403, 408, 415, 429, 503)
"""The error statuses that any operation may respond with; 415 only with a body."""

_ERRORS = {"payload": {"to": ["Missing data for required field."]}}


def describe_common_problem(status: int) -> dict[str, Any]:
    """Build the OpenAPI response of an error status that any operation may respond with."""
    response = PROBLEM_RESPONSES[status]
    return _describe(response.types, response.detail, response.headers)


def describe_problem(
    types: Sequence[ProblemType], detail: str, *, description: str | None = None, headers: bool = True
) -> dict[str, Any]:
    """Build the OpenAPI response of problem types that have one status.

    Args:
        types: the problem types, the one in the example first.
        detail: the `detail` of the example.
        description: when the response occurs; by default as the types say.
        headers: whether the response has the usual headers of its status.
    """
    names = PROBLEM_RESPONSES[types[0].status].headers if headers else ()
    response = _describe(types, detail, names)
    return response | {"description": description} if description else response


def describe_header(name: str) -> dict[str, str]:
    """Build the reference to a response header."""
    return {"$ref": f"#/components/headers/{name}"}


def _describe(types: Sequence[ProblemType], detail: str, headers: Sequence[str]) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": types[0].uri,
        "title": types[0].title,
        "status": types[0].status,
        "detail": detail,
    }
    if types[0] is ProblemType.INVALID_REQUEST:
        example["errors"] = _ERRORS
    media = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    response: dict[str, Any] = {
        "description": " ".join(f"`{item.slug}`: {item.occurrence}" for item in types),
        "content": {MEDIA_TYPE: media},
    }
    if headers:
        response["headers"] = {name: describe_header(name) for name in headers}
    return response


def _describe_plain(
    name: str, summary: str, media_type: str, schema: Mapping[str, Any], *error_statuses: int
) -> dict[str, Any]:
    responses = {"200": {"description": summary, "content": {media_type: {"schema": dict(schema)}}}}
    responses |= {
        str(status): {"$ref": f"#/components/responses/{PROBLEM_RESPONSES[status].name}"} for status in error_statuses
    }
    operation = {"operationId": name, "tags": ["service"], "summary": summary, "description": "Requires no key."}
    return {**operation, "security": [], "responses": responses}


_TEXT = {"type": "string"}
_DOCUMENT = {
    **_describe_plain("show_openapi", "This document.", "application/json", {"type": "object"}),
    "parameters": [
        {
            "in": "query",
            "name": "webhooks",
            "description": "`false` for the operations that clients call only, without the callbacks of providers and "
            "the webhook notifications, which some generators of clients mistake for operations",
            "schema": {"type": "boolean", "default": True},
        }
    ],
}
_DOCUMENT["responses"]["400"] = describe_problem(
    [ProblemType.INVALID_REQUEST], PROBLEM_RESPONSES[400].detail, headers=False
)
PLAIN: Mapping[str, Mapping[str, Any]] = {
    "/healthz": _describe_plain("healthz", "200 while the process responds.", "text/plain", _TEXT),
    "/readyz": _describe_plain("readyz", "200 while the database can be read, else 503.", "text/plain", _TEXT, 503),
    "/metrics": _describe_plain("show_metrics", "Metrics for Prometheus.", "text/plain", _TEXT),
    "/openapi.json": _DOCUMENT,
    "/docs": _describe_plain("show_docs", "This document as a page for people.", "text/html", _TEXT),
}
"""The operations beside `/v1`, by path."""
