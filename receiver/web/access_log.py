"""One event for each call of the API and, if `LOG_CALLBACKS` asks for it, for a share of the callbacks."""

import re
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from flask import Flask, Response, g, request

from receiver.domain.access import Caller
from receiver.domain.addresses import find_caller

if TYPE_CHECKING:
    from receiver.web.context import AppContext

API_PREFIX = "/v1/"
_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
_OBJECTS = {"request_id": "request", "job_id": "job", "callback_id": "callback", "notification_id": "notification"}
"""The fields of objects' ids in a path, by the variable of the path."""
_CREATED_OBJECTS = {"requests": "request", "jobs": "job"}
"""The fields of the ids of created objects, by the segment of their URL."""

_log = structlog.get_logger(__name__)


def log_api_call(
    started_at: float,
    *,
    method: str,
    route: str | None,
    status: int,
    location: str | None,
    caller: Caller | None,
    address: str,
    **ids: str,
) -> None:
    """Log a call of the API.

    Args:
        started_at: when the call arrived, by `time.perf_counter`.
        method: the HTTP method.
        route: the path with the names of its variables; None for a path that does not exist.
        status: the status of the response.
        location: its header `Location`, if any.
        caller: the API key; None without a valid one.
        address: the caller's address.
        ids: the ids of objects in the path.
    """
    if location is not None:
        kind, _, created_id = location.removeprefix(API_PREFIX).partition("/")
        if kind in _CREATED_OBJECTS:
            ids[_CREATED_OBJECTS[kind]] = created_id
    _log.info(
        "api_call.completed",
        method=method,
        route=route,
        status=status,
        duration_ms=_measure_ms(started_at),
        client=caller.client if caller else None,
        key=caller.name if caller else None,
        caller=address,
        **ids,
    )


def log_callback(
    started_at: float, *, method: str, provider: str | None, status: int, callback_id: UUID | None, address: str
) -> None:
    """Log a callback.

    Args:
        started_at: when the callback arrived, by `time.perf_counter`.
        method: the HTTP method.
        provider: the provider's name; None for one that is not configured.
        status: the status of the response.
        callback_id: the id of the stored callback; None if it was refused, or is a check of the URL.
        address: the caller's address.
    """
    _log.info(
        "callback.completed",
        method=method,
        provider=provider,
        status=status,
        duration_ms=_measure_ms(started_at),
        callback=str(callback_id) if callback_id else None,
        caller=address,
    )


def install_access_log(app: Flask, context: "AppContext") -> None:
    """Log the calls of the API that Flask answers."""

    def start() -> None:
        g.started_at = perf_counter()

    def finish(response: Response) -> Response:
        if request.path.startswith(API_PREFIX):
            forwarded = request.environ.get("HTTP_X_FORWARDED_FOR", "")
            address = find_caller(request.environ.get("REMOTE_ADDR", ""), forwarded, context.settings.trusted_proxies)
            variables = request.view_args or {}
            log_api_call(
                g.started_at,
                method=request.method,
                route=_format_route(request.url_rule.rule) if request.url_rule else None,
                status=response.status_code,
                location=response.headers.get("Location"),
                caller=g.get("caller"),
                address=address,
                **{_OBJECTS[name]: str(value) for name, value in variables.items() if name in _OBJECTS},
            )
        return response

    app.before_request(start)
    app.after_request(finish)


@cache
def _format_route(rule: str) -> str:
    """Return a rule of Flask's as the OpenAPI document writes it."""
    return _VARIABLE.sub(r"{\1}", rule)


def _measure_ms(started_at: float) -> float:
    return round((perf_counter() - started_at) * 1_000, 2)
