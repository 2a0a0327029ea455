"""The id of each HTTP request, which its response has as `X-Request-Id`, and every line of the log about it."""

import os
import re
import secrets
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any

from receiver.logs import set_request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = "X-Request-Id"
_PREFIX_BYTES = 6
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_prefix, _numbers = "", count(1)


def begin_request(own: str | None) -> str:
    """Return the id of a request, and add it to the lines of this greenlet: the caller's own if there is a valid one.

    A generated id consists of a random part, which is that of the process, and a number.
    """
    request_id = own if own and _ID.fullmatch(own) else f"{_prefix}-{next(_numbers)}"
    set_request_id(request_id)
    return request_id


class IdentifyRequests:
    """WSGI middleware that adds the id of a request to its response; `next_app` answers the request."""

    def __init__(self, next_app: "WSGIApplication") -> None:
        self._next_app = next_app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request_id = begin_request(environ.get("HTTP_X_REQUEST_ID"))

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, (REQUEST_ID, request_id)], *error)

        return self._next_app(environ, start)


def _renew_prefix() -> None:
    global _prefix  # noqa: PLW0603  # of the whole process
    _prefix = secrets.token_hex(_PREFIX_BYTES)


_renew_prefix()
os.register_at_fork(after_in_child=_renew_prefix)
