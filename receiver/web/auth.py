"""Who may use `/v1`: bearers of the bootstrap key, which holds all scopes."""

import hmac
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from flask import Response, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from receiver.web.wiring import wiring

P = ParamSpec("P")


def authenticated(view: Callable[P, Response]) -> Callable[P, Response]:
    """Let a view be called only with `Authorization: Bearer KEY`; otherwise 401."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Response:
        _demand_key()
        return view(*args, **kwargs)

    return guarded


def _demand_key() -> None:
    wanted = wiring().settings.admin_key
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not wanted or scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), wanted.encode()):
        raise Unauthorized(
            "send a valid API key as Authorization: Bearer KEY", www_authenticate=WWWAuthenticate("bearer")
        )
