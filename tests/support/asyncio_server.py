"""A minimal HTTP server for providers that run in a process of their own.

It parses as little as possible. The argument of the process is the descriptor of a listening socket that it inherits.
"""

import asyncio
import socket
import sys
from collections.abc import Callable

_RESPONSE = b"""\
HTTP/1.1 %b\r
Content-Type: application/json\r
Content-Length: %d\r
\r
%b"""

Respond = Callable[[bytes, bytes], tuple[float, bytes]]
"""Returns the delay in seconds and the bytes of the response to a request, from its head and its body."""


class _Connection(asyncio.Protocol):
    """One connection; its client waits for each response before it sends the next request."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or len(body) < int(find_header(head, b"content-length") or 0):
            return
        self._buffer = b""
        delay, response = self._respond(head, body)
        if delay:
            asyncio.get_running_loop().call_later(delay, self._write, response)
        else:
            self._write(response)

    def _write(self, response: bytes) -> None:
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(response)


def find_header(head: bytes, name: bytes) -> bytes:
    """Return a header's value in lower case, empty if the header is missing; `name` is in lower case."""
    _, separator, rest = head.lower().partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0] if separator else b""


def format_response(status: bytes, body: bytes) -> bytes:
    """Return the bytes of a response with a JSON body."""
    return _RESPONSE % (status, len(body), body)


def serve_inherited(respond: Respond) -> None:
    """Serve on the inherited socket until the process is killed."""

    async def serve(listener: socket.socket) -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(respond), sock=listener)
        await server.serve_forever()

    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        asyncio.run(serve(inherited))
