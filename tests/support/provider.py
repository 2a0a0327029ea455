"""A provider for tests: a real HTTP server that replies to each request as scripted and records it."""

import json
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Event, Lock, Thread
from typing import Any

MAX_WAIT_S = 30.0


@dataclass(frozen=True)
class Received:
    """One request as the provider received it; `connection` numbers the connections, `at` is a monotonic clock's."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    at: float

    @property
    def name(self) -> str:
        """The client reference of a message; the last part of the path of any other request."""
        message = json.loads(self.body) if self.method == "POST" else {}
        return str(message.get("client_reference") or self.path.rpartition("/")[2])


@dataclass(frozen=True)
class Reply:
    """A reply. With `raw` only these bytes are written, piece by piece, and the connection is closed or reset.

    With `closes` the connection is closed without announcing it.
    """

    status: int = 202
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: Iterable[bytes] | None = None
    reset: bool = False
    closes: bool = False


Script = Reply | Callable[[Received], Reply]

DROP = Reply(raw=())
RESET = Reply(raw=(), reset=True)


class Provider(ThreadingHTTPServer):
    """Replies to requests by name with the replies of their script in turn, then with the last one repeatedly."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.server_bind()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.received: list[Received] = []
        self.most_at_once: dict[str, int] = {}
        self.connections = count(1)
        self._scripts: dict[str, tuple[Script, ...]] = {}
        self._in_flight: Counter[str] = Counter()
        self._lock = Lock()
        self._thread: Thread | None = None

    def listen(self) -> None:
        """Begin to accept connections, which are refused until then."""
        self.server_activate()
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        """Stop accepting connections."""
        if self._thread:
            self.shutdown()
            self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that are gone: some tests kill them."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def script(self, name: str, *replies: Script) -> None:
        """Set the replies to requests of this name."""
        self._scripts[name] = replies

    def find_received(self, name: str) -> list[Received]:
        """Return the received requests of this name."""
        return [received for received in self.received if received.name == name]

    def response(self, received: Received) -> Reply:
        """Record a request and return its reply."""
        provider = received.path.split("/")[1]
        with self._lock:
            self.received.append(received)
            number = len(self.find_received(received.name))
            self._in_flight[provider] += 1
            self.most_at_once[provider] = max(self.most_at_once.get(provider, 0), self._in_flight[provider])
        replies = self._scripts.get(received.name, (Reply(404),))
        try:
            return play(replies[min(number, len(replies)) - 1], received)
        finally:
            with self._lock:
                self._in_flight[provider] -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Provider

    def setup(self) -> None:
        super().setup()
        self.number = next(self.server.connections)

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.response(Received(self.command, self.path, headers, body, self.number, time.monotonic()))
        with suppress(ConnectionError):
            if reply.raw is None:
                self.send_reply(reply)
            else:
                self.send_raw(reply.raw, reset=reply.reset)

    def send_reply(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = self.close_connection or reply.closes

    def send_raw(self, pieces: Iterable[bytes], *, reset: bool) -> None:
        for piece in pieces:
            self.wfile.write(piece)
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening() -> Iterator[Provider]:
    """A provider that listens until the context ends."""
    provider = Provider()
    try:
        provider.listen()
        yield provider
    finally:
        provider.close()


def items(*codes: tuple[int, str | None], status: int = 202, **headers: str) -> Script:
    """Reply with a code and a reference for each recipient; `-0` stands for reference 0 of the request."""

    def response(received: Received) -> Reply:
        documents = [
            {"id": _expand_reference(reference, received), "status": "ACK", "code": code} for code, reference in codes
        ]
        return Reply(status, json.dumps({"items": documents}).encode(), _build_headers(headers))

    return response


def accept_request(reference: str = "-0", **headers: str) -> Script:
    """Reply 202 with one job."""
    return items((1801, reference), status=202, **headers)


def state(status: str, **headers: str) -> Script:
    """Reply to a poll."""

    def response(received: Received) -> Reply:
        return Reply(200, json.dumps({"id": received.name, "state": status}).encode(), _build_headers(headers))

    return response


def reply_after(event: Event, script: Script) -> Script:
    """Reply after the event is set."""

    def response(received: Received) -> Reply:
        assert event.wait(MAX_WAIT_S)
        return play(script, received)

    return response


def play(script: Script, received: Received) -> Reply:
    """Return the reply of a script to a request."""
    return script if isinstance(script, Reply) else script(received)


def _expand_reference(reference: str | None, received: Received) -> str | None:
    return f"{received.name}{reference}" if reference and reference.startswith("-") else reference


def _build_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
