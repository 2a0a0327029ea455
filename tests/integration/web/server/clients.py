"""Clients that misbehave: plain sockets from any loopback address, and what they receive."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from receiver.web.problems import ProblemType
from tests.support.processes import Web

TIMEOUT_S = 15.0


class RawClient:
    """A socket to a web process."""

    def __init__(self, limited: Web, address: str = "127.0.0.1", *, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT_S)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.bind((address, 0))
        self.socket.connect((limited.host, limited.port))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_all(self) -> bytes:
        """Return all that arrives until the connection is closed or reset."""
        received = bytearray()
        try:
            while data := self.socket.recv(65_536):
                received += data
        except ConnectionError:
            pass
        return bytes(received)

    def is_open(self) -> bool:
        """Return whether nothing has arrived, not even the end."""
        self.socket.settimeout(0.0)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        finally:
            self.socket.settimeout(TIMEOUT_S)
        return False


@contextmanager
def open_clients(limited: Web, addresses: Iterator[str] | list[str], data: bytes) -> Iterator[list[RawClient]]:
    """Open a connection from each of the addresses in turn, and send data on it."""
    with ExitStack() as stack:
        clients = []
        for address in addresses:
            client = RawClient(limited, address)
            stack.callback(client.socket.close)
            client.send(data)
            clients.append(client)
            time.sleep(0.002)  # the server takes them in this order
        yield clients


def build_request(method: str, path: str, *headers: str, version: str = "1.1") -> bytes:
    """Return the head of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: receiver.example", *headers, "", ""]
    return "\r\n".join(lines).encode()


def parse_status(response: bytes) -> int:
    """Return the status of a response."""
    return int(response.split(b" ", 2)[1])


def assert_problem(response: bytes, expected: ProblemType) -> None:
    """Check that a response is a problem document, that it has the usual headers, and that the connection closes."""
    head, _, body = response.partition(b"\r\n\r\n")
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    }
    assert parse_status(response) == expected.status, response
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["connection"] == "close"
    assert int(headers["content-length"]) == len(body)
    assert json.loads(body)["type"] == expected.uri
    if expected.status == 503:
        assert int(headers["retry-after"]) > 0
