"""One way to report an error: RFC 9457 `application/problem+json`."""

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from receiver.domain.errors import StateConflict
from receiver.inbound.key_documents import DocumentUnavailable
from receiver.inbound.receive import UnreadableCallback
from receiver.outbound.submit import InvalidSubmission
from receiver.signatures.base import SignatureRefused
from receiver.store.database import StoreConflict, StoreUnavailable
from receiver.store.group_commit import QueueFull
from receiver.web.api_keys import RateLimitExceeded, ScopeMissing

_RETRY_AFTER = "1"

_log = structlog.get_logger(__name__)


def build_problem(
    status: int,
    detail: str,
    *,
    errors: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Give a problem document; `errors` maps fields to messages, `detail` tells the remedy."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors is not None:
        document["errors"] = errors
    return Response(_written(document), status, dict(headers or {}), content_type="application/problem+json")


def _written(document: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:  # a client's name of a field may hold a lone surrogate; it is told as it was written
        return json.dumps(document).encode()


def register_error_handlers(app: Flask) -> None:
    """Answer every error of the app with a problem document."""
    app.register_error_handler(Exception, build_problem_response)


def build_problem_response(error: Exception) -> Response:
    """Give the answer to whoever caused, or met, an error."""
    match error:
        case HTTPException():
            headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
            return build_problem(error.code or 500, error.description or "", headers=headers)
        case SignatureRefused():
            return build_problem(401, f"the signature was refused: {error}")
        case UnreadableCallback():
            return build_problem(400, "the callback was kept but cannot be read; see errors", errors=error.errors)
        case ScopeMissing():
            return build_problem(403, str(error))
        case StateConflict():
            return build_problem(409, str(error))
        case RateLimitExceeded():
            return build_problem(429, str(error), headers={"Retry-After": str(math.ceil(error.allowance.resets_in))})
        case InvalidSubmission():
            return build_problem(400, "what was sent cannot be taken as it is; see errors", errors=error.errors)
        case StoreUnavailable() | StoreConflict() | QueueFull() | DocumentUnavailable():
            _log.warning("answer.unavailable", error=str(error))
            detail = (
                "the database is away or overloaded, so nothing is known to be committed; send it again after a while"
            )
            return build_problem(503, detail, headers={"Retry-After": _RETRY_AFTER})
    _log.error("answer.broken", exc_info=error)
    return build_problem(500, "the fault is ours and has been logged; send it again later")
