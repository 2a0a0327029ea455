"""The parts of the OpenAPI document that are the same whatever is configured: its introduction, headers and errors."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from receiver.domain.access import Scope
from receiver.schemas.api.common import MOST_ITEMS, UUIDString

KEY = "key"
"""The name of the security scheme."""

INTRODUCTION = f"""\
Sends requests to providers that finish later, takes their signed callbacks, keeps every job's final status.

**The way of a request.** `POST /v1/requests` answers 202 once the request is committed. It is sent as soon as its \
provider's limits allow, and gives one or several jobs, each with the provider's own `reference`. Ask \
`GET /v1/requests/{{request_id}}` for its jobs and `GET /v1/jobs/{{job_id}}` for one of them, with `Prefer: wait=30` \
to be answered when it is final.

**Keys.** All of `/v1` needs an API key as `Authorization: Bearer KEY`. A key has scopes: `submit`, `read`, `admin`; \
`admin` may do everything. One that is bound to providers sees and uses only these: whatever belongs to others is 404, \
and asking to use them 403.

**Allowances.** A key may make so many calls in a minute; each answer tells in `RateLimit-Policy` how many, and in \
`RateLimit` what is left (`r`) and in how many seconds it begins anew (`t`). Beyond that the answer is 429 with \
`Retry-After`.

**Sending again.** 429 and 503 have `Retry-After` in seconds. After a 429 nothing was done; after a 503 it \
may have been, if the database went away at that very moment. Give submissions an `Idempotency-Key`, and whatever \
happened to the answer they can be sent again: the first answer is given again.

**Bodies.** JSON in UTF-8. Unknown fields are refused, and so are NUL characters, lone surrogates, a name that stands \
twice in an object, and numbers that 64 bits cannot hold. Answers may gain fields.

**Times** are RFC 3339; answers give them in UTC. In a query `+` is written `%2B`.

**Lists** hold the newest first: `{{"items": [...], "next_cursor": "CURSOR"}}`. Pass `next_cursor` as `cursor` for the next \
page; at the end it is null. `limit` is {MOST_ITEMS} at most. An unknown or repeated parameter is refused. The first line of a \
call, which has the query, may be 8190 bytes long.

**Errors** are RFC 9457 `application/problem+json`; `errors` maps fields to messages, nested as the body is, `_body` \
and `_query` stand for what cannot be read at all. A path that does not exist is 404, a method that it does not have \
405 with `Allow`. `HEAD` is answered wherever `GET` is, `OPTIONS` with the methods. A fault of ours is 500.
"""

TAGS: Mapping[str, str] = {
    "requests": "What clients ask to have sent.",
    "jobs": "What providers do for us, and how it ended.",
    "callbacks": "What providers delivered, as it came, and what became of it.",
    "providers": "Who is sent to, and how they do.",
    "stats": "Counts and durations.",
    "keys": "Who may use the API.",
    "service": "The service itself; no key is needed.",
}

SECURITY_SCHEMES: Mapping[str, Any] = {
    KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": f"An API key with scopes: {', '.join(f'`{one}`' for one in Scope)}. `admin` may do everything.",
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
        "description": "What is left of the key's allowance (`r`), and in how many seconds it begins anew (`t`).",
        "required": True,
        "schema": {"type": "string", "pattern": '^"key";r=[0-9]+;t=[0-9]+$'},
        "example": '"key";r=59998;t=42',
    },
    "RateLimit-Policy": {
        "description": "How many calls the key may make (`q`) in how many seconds (`w`).",
        "required": True,
        "schema": {"type": "string", "pattern": '^"key";q=[0-9]+;w=60$'},
        "example": '"key";q=60000;w=60',
    },
    "Retry-After": {
        "description": "After how many seconds to send it again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "Location": {
        "description": "Where to ask for it.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
        "example": "/v1/requests/0197e6a5-7f0c-7c3e-9d43-5b8f3a1c2d4e",
    },
    "Preference-Applied": {
        "description": "For how many seconds the answer was held at most.",
        "schema": {"type": "string", "pattern": "^wait=[0-9]{1,2}$"},
        "example": "wait=30",
    },
    "Idempotent-Replayed": {
        "description": "`true` where this is the answer that was given before; absent in the first.",
        "schema": {"const": "true"},
        "example": "true",
    },
    "WWW-Authenticate": {
        "description": "The scheme of keys.",
        "required": True,
        "schema": {"type": "string"},
        "example": "Bearer",
    },
    "Allow": {
        "description": "The methods that there are.",
        "required": True,
        "schema": {"type": "string"},
        "example": "POST",
    },
}
RATE_LIMIT_HEADERS = ("RateLimit", "RateLimit-Policy")

PROBLEMS: Mapping[int, tuple[str, str, str, tuple[str, ...]]] = {
    400: (
        "BadRequest",
        "What was sent cannot be taken as it is; `errors` names the fields.",
        "what was sent cannot be taken as it is; see errors",
        RATE_LIMIT_HEADERS,
    ),
    401: (
        "Unauthorized",
        "The call has no key, or one that is unknown, revoked or expired.",
        "send an API key as Authorization: Bearer KEY",
        ("WWW-Authenticate",),
    ),
    403: (
        "Forbidden",
        "The key lacks the scope, or is not good for the provider.",
        "this key lacks the scope submit; it has read",
        RATE_LIMIT_HEADERS,
    ),
    404: ("NotFound", "There is none of this id or name.", "no request has this id", ()),
    405: ("MethodNotAllowed", "The path does not have this method.", "the method is not allowed", ("Allow",)),
    409: ("Conflict", "The state of things does not allow it.", "the request is accepted", RATE_LIMIT_HEADERS),
    413: (
        "TooLarge",
        "The body is too large.",
        "The data value transmitted exceeds the capacity limit.",
        RATE_LIMIT_HEADERS,
    ),
    415: ("UnsupportedMediaType", "The body is not JSON.", "send application/json", RATE_LIMIT_HEADERS),
    429: (
        "TooManyRequests",
        "The key's allowance of this minute is used up; nothing was done.",
        "the key may be used 60000 times in a minute; wait as Retry-After says",
        (*RATE_LIMIT_HEADERS, "Retry-After"),
    ),
    503: (
        "Unavailable",
        "The database is away or overloaded; nothing is known to be committed.",
        "the database is away or overloaded, so nothing is known to be committed; send it again after a while",
        ("Retry-After",),
    ),
}
"""The errors by status: the component's name, when it is answered, the example's `detail`, and its headers."""
COMMON_PROBLEMS = (400, 401, 403, 415, 429, 503)
"""Those that any operation may meet; 415 where it takes a body."""

_ERRORS = {"payload": {"to": ["Missing data for required field."]}}


def describe_problem(
    status: int, when: str | None = None, detail: str | None = None, *, headers: bool = True
) -> dict[str, Any]:
    """Give the response of an error.

    Args:
        status: of HTTP.
        when: it is answered, unless as ever.
        detail: of the example, unless as ever.
        headers: whether its usual headers are sure.
    """
    _, usually, usual, known = PROBLEMS[status]
    title = HTTPStatus(status).phrase
    example: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail or usual}
    if status == 400:
        example["errors"] = _ERRORS
    media = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    response: dict[str, Any] = {"description": when or usually, "content": {"application/problem+json": media}}
    if headers and known:
        response["headers"] = {name: describe_header(name) for name in known}
    return response


def describe_header(name: str) -> dict[str, str]:
    """Give the reference of an answer's header."""
    return {"$ref": f"#/components/headers/{name}"}


def _plain(name: str, summary: str, media_type: str, schema: Mapping[str, Any], *more: int) -> dict[str, Any]:
    responses = {"200": {"description": summary, "content": {media_type: {"schema": dict(schema)}}}}
    responses |= {str(status): {"$ref": f"#/components/responses/{PROBLEMS[status][0]}"} for status in more}
    told = {"operationId": name, "tags": ["service"], "summary": summary, "description": "Needs no key."}
    return {**told, "security": [], "responses": responses}


_TEXT = {"type": "string"}
PLAIN: Mapping[str, Mapping[str, Any]] = {
    "/healthz": _plain("healthz", "The process answers.", "text/plain", _TEXT),
    "/readyz": _plain("readyz", "The process can commit; 503 while Postgres is away.", "text/plain", _TEXT, 503),
    "/metrics": _plain("show_metrics", "What is measured, for Prometheus.", "text/plain", _TEXT),
    "/openapi.json": _plain("show_openapi", "This document.", "application/json", {"type": "object"}),
    "/docs": _plain("show_docs", "This document as a page for people.", "text/html", _TEXT),
}
"""What is served besides `/v1`, by path."""
