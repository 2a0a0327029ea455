"""A provider that takes everything at once: 202 with a fresh reference, as fast as plain Python can.

A process of its own, so that it is not what limits those who send to it; its argument is the descriptor of a listening
socket that it inherits, and it has nothing to put in order when it is killed. It parses just enough, and remembers
which idempotency keys it saw: `GET /seen` tells how many requests and how many keys there were, and forgets them.
"""

import asyncio
import socket
import sys

_ANSWER = b"""\
HTTP/1.1 %b\r
Content-Type: application/json\r
Content-Length: %d\r
\r
%b"""
_ITEM = b'{"items":[{"id":"fast-%012d","to":"2348000000001","status":"ACK","code":1801}]}'


class Seen:
    """What the provider saw since it was last asked; the numbers of its references go on."""

    def __init__(self) -> None:
        self.references = 0
        self.requests = 0
        self.keys: set[bytes] = set()

    def take(self, head: bytes) -> bytes:
        """Give the answer to a request."""
        if head.startswith(b"GET "):
            return self._tell()
        self.references += 1
        self.requests += 1
        self.keys.add(header(head, b"idempotency-key"))
        return _answer(b"202 Accepted", _ITEM % self.references)

    def _tell(self) -> bytes:
        told = b'{"requests":%d,"keys":%d}' % (self.requests, len(self.keys))
        self.requests = 0
        self.keys.clear()
        return _answer(b"200 OK", told)


class Exchange(asyncio.Protocol):
    """One connection; its client waits for each answer before it sends the next request."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, rest = self._read.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(header(head, b"content-length") or 0)
        if len(rest) >= length:
            self._read = rest[length:]
            assert isinstance(self._transport, asyncio.WriteTransport)
            self._transport.write(self._seen.take(head))


def header(head: bytes, name: bytes) -> bytes:
    """Give a header's value, empty where it is missing; `name` is in lower case."""
    _, found, rest = head.lower().partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0] if found else b""


def _answer(status: bytes, body: bytes) -> bytes:
    return _ANSWER % (status, len(body), body)


async def _serve(listener: socket.socket) -> None:
    seen = Seen()
    server = await asyncio.get_running_loop().create_server(lambda: Exchange(seen), sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        asyncio.run(_serve(inherited))
