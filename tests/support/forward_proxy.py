"""A forward proxy that reaches every host on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import gevent
import gevent.socket
from gevent.server import StreamServer
from gevent.socket import socket as Socket  # noqa: N812  # a class

_BUFFER_BYTES = 65_536


@dataclass
class ForwardProxy:
    """Forwards requests and opens tunnels, whatever their host, to the same port of 127.0.0.1.

    Attributes:
        port: where it listens.
        refusal: what it replies to everything instead, if not empty.
        delay_s: for how long it does not answer, in seconds.
        received: the heads of the requests to the proxy itself, as text.
    """

    port: int = 0
    refusal: bytes = b""
    delay_s: float = 0.0
    received: list[str] = field(default_factory=list)

    def serve(self, client: Socket) -> None:
        """Serve one connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            received = client.recv(_BUFFER_BYTES)
            if not received:
                return
            data += received
        head = data.partition(b"\r\n\r\n")[0].decode()
        self.received.append(head)
        gevent.sleep(self.delay_s)
        if self.refusal:
            client.sendall(self.refusal)
            return
        method, target = head.split(" ")[:2]
        authority = target if method == "CONNECT" else target.split("/")[2]
        with gevent.socket.create_connection(("127.0.0.1", int(authority.rpartition(":")[2]))) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = target.split(authority, 1)[1]
                server.sendall(data.replace(target.encode(), path.encode(), 1))
            pumps = [gevent.spawn(_pump, client, server), gevent.spawn(_pump, server, client)]
            gevent.joinall(pumps)


@contextmanager
def running_forward_proxy() -> Iterator[ForwardProxy]:
    """Run a forward proxy on this machine."""
    proxy = ForwardProxy()
    server = StreamServer(("127.0.0.1", 0), lambda client, _: proxy.serve(client))
    server.start()
    proxy.port = int(server.address[1])
    try:
        yield proxy
    finally:
        server.stop(timeout=0.1)


def _pump(source: Socket, target: Socket) -> None:
    with suppress(OSError):
        while data := source.recv(_BUFFER_BYTES):
            target.sendall(data)
        target.shutdown(gevent.socket.SHUT_WR)
