"""HTTP requests and responses as the worker passes them to the callback endpoint, without WSGI.

Building the environment of a WSGI app, and checking the headers that an app returns, takes longer than everything that
the endpoint itself does with a request.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol, Self

from receiver.domain.records import record
from receiver.web.server.request_ids import REQUEST_ID

_SERVER = "gunicorn"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class BodyStream(Protocol):
    """The body of a request."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes of the body; fewer only at its end.

        Raises:
            OSError, ParseException: the body ends early or is not framed as HTTP requires.
            RequestCut: the connection was cut.
        """


@record(frozen=True, slots=True)
class HttpRequest:
    """A request; `target` is that of the request line, and header names are lower-case.

    `path` is the decoded path. `peer` is the address at the other end of the connection, "" for a Unix socket.
    """

    method: str
    target: str
    path: str
    headers: dict[str, str]
    body: BodyStream
    peer: str = ""


@record(frozen=True, slots=True)
class HttpResponse:
    """A response with its whole body; `headers` include `Content-Length` where the status allows it."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = field(default=b"", repr=False)

    @classmethod
    def from_flask(cls, response: Any) -> Self:
        """Return a response of Flask, which must not be imported here, see `receiver.web.server`."""
        return cls(response.status_code, list(response.headers.items()), response.get_data())

    def encode(self, version: tuple[int, int], request_id: str, *, is_kept: bool, has_body: bool = True) -> bytes:
        """Return the bytes to send.

        Args:
            version: the HTTP version of the request.
            request_id: the id of the request.
            is_kept: whether the connection stays open.
            has_body: whether the body is sent; it is not in response to HEAD.
        """
        lines = [
            f"HTTP/{version[0]}.{version[1]} {self.status} {_PHRASES[self.status]}",
            f"Server: {_SERVER}",
            f"Date: {_format_date()}",
            f"Connection: {'keep-alive' if is_kept else 'close'}",
            f"{REQUEST_ID}: {request_id}",
            *[f"{name}: {value}" for name, value in self.headers],
            "\r\n",
        ]
        return "\r\n".join(lines).encode("latin-1") + (self.body if has_body else b"")


def join_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by their lower-case names; the values of a repeated header are joined by commas (RFC 9110)."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    return headers


_date: Any = (0, "")


def _format_date() -> str:
    """Return the value of `Date`, which changes once a second."""
    global _date  # noqa: PLW0603  # the last value, of the whole process
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return str(_date[1])
