"""A provider that accepts everything at once: 202 with a new reference, as fast as plain Python can.

It runs in a process of its own, so that it does not slow down its clients; its argument is the descriptor of a
listening socket that it inherits, and it may be killed at any time. It parses as little as possible and counts requests
and idempotency keys: `GET /seen` returns both counts and resets them.
"""

import asyncio
import socket
import sys

_RESPONSE = b"""\
HTTP/1.1 %b\r
Content-Type: application/json\r
Content-Length: %d\r
\r
%b"""
_ITEM = b'{"items":[{"id":"fast-%012d","to":"2348000000001","status":"ACK","code":1801}]}'


class RequestCounter:
    """Requests and idempotency keys since the counts were last read; references are never reset."""

    def __init__(self) -> None:
        self.references = 0
        self.requests = 0
        self.keys: set[bytes] = set()

    def respond(self, head: bytes) -> bytes:
        """Count a request, or read the counts, and return the response."""
        if head.startswith(b"GET "):
            return self._report_counts()
        self.references += 1
        self.requests += 1
        self.keys.add(find_header(head, b"idempotency-key"))
        return _format_response(b"202 Accepted", _ITEM % self.references)

    def _report_counts(self) -> bytes:
        counts = b'{"requests":%d,"keys":%d}' % (self.requests, len(self.keys))
        self.requests = 0
        self.keys.clear()
        return _format_response(b"200 OK", counts)


class Connection(asyncio.Protocol):
    """One connection; its client waits for each response before it sends the next request."""

    def __init__(self, counter: RequestCounter) -> None:
        self._counter = counter
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(find_header(head, b"content-length") or 0)
        if len(rest) >= length:
            self._buffer = rest[length:]
            assert isinstance(self._transport, asyncio.WriteTransport)
            self._transport.write(self._counter.respond(head))


def find_header(head: bytes, name: bytes) -> bytes:
    """Return a header's value in lower case, empty if the header is missing; `name` is in lower case."""
    _, separator, rest = head.lower().partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0] if separator else b""


def _format_response(status: bytes, body: bytes) -> bytes:
    return _RESPONSE % (status, len(body), body)


async def _serve(listener: socket.socket) -> None:
    counter = RequestCounter()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counter), sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        asyncio.run(_serve(inherited))
