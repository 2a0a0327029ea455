"""A provider that accepts everything, responds slowly now and then, and records when each request arrived.

It runs in a process of its own, so that arrival times do not depend on the trial's load; its argument is the descriptor
of a listening socket that it inherits. A repeated idempotency key gets the first reference again. A poll asks for a job
by its reference: `slow-…` is in progress at the first poll, `never-…` at every poll. `GET /arrivals/N` returns the
arrivals after the first N, and is not counted itself.
"""

import asyncio
import json
import socket
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

from receiver.store.requests import NewRequest
from tests.support.processes import running, wait_for

_RESPONSE = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_ARRIVALS_PATH = "/arrivals/"
_POLL_DELAY_S = 0.02
_SLOW_SHARE, _SLOW_DELAY_S = 0.1, (0.02, 0.3)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A complete request that arrived.

    Args:
        at: seconds of the machine's monotonic clock.
        provider: the first part of the path, the provider's name in the trial.
        method: the HTTP method; GET is a poll.
        name: the client's reference, of a poll the job's.
        key: the idempotency key, "" without one.
    """

    at: float
    provider: str
    method: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class CountingProvider:
    """The provider as the trial sees it."""

    url: str

    def find_arrivals(self, after: int = 0) -> list[Arrival]:
        """Return the arrivals in order, without the first `after`."""
        with urllib.request.urlopen(f"{self.url}{_ARRIVALS_PATH}{after}", timeout=30.0) as response:
            return [Arrival(*fields) for fields in json.loads(response.read())]


@contextmanager
def run_counting_provider(directory: Path) -> Iterator[CountingProvider]:
    """Run the provider until the context ends; its log is written to the directory."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        provider = CountingProvider(f"http://127.0.0.1:{listener.getsockname()[1]}")
        arguments = ("-m", "tests.chaos.counting_provider", str(listener.fileno()))
        with running(arguments, directory / "provider.log", {}, pass_fds=[listener.fileno()]):
            wait_for(lambda: provider.find_arrivals() == [])
            yield provider


def build_request(provider: str, name: str) -> NewRequest:
    """Return a request to a provider; `name` is the client's reference."""
    return NewRequest(
        id=uuid4(),
        provider=provider,
        operation="send",
        payload={"client_reference": name, "to": ["2348030000000"], "text": "hello"},
        metadata={},
        due_at=None,
        deadline_at=None,
        deadline_after=86_400.0,
    )


class _Responder:
    """Records arrivals and chooses the response to each."""

    def __init__(self) -> None:
        self._arrivals: list[Arrival] = []
        self._references: dict[str, str] = {}
        self._polls: Counter[str] = Counter()
        self._random = Random(1)

    def respond(self, method: str, path: str, key: str, body: bytes) -> tuple[float, bytes]:
        """Return the response to a request and its delay in seconds."""
        if path.startswith(_ARRIVALS_PATH):
            arrivals = self._arrivals[int(path.removeprefix(_ARRIVALS_PATH)) :]
            return 0.0, _format_response(b"200 OK", [[a.at, a.provider, a.method, a.name, a.key] for a in arrivals])
        name = path.rpartition("/")[2] if method == "GET" else json.loads(body)["client_reference"]
        self._arrivals.append(Arrival(time.monotonic(), path.split("/")[1], method, name, key))
        if method == "GET":
            return _POLL_DELAY_S, _format_response(b"200 OK", {"id": name, "state": self._choose_state(name)})
        reference = self._references.setdefault(key or name, f"{name}-{len(self._arrivals)}")
        delay = self._random.uniform(*_SLOW_DELAY_S) if self._random.random() < _SLOW_SHARE else 0.0
        return delay, _format_response(b"202 Accepted", {"items": [{"id": reference, "status": "ACK", "code": 1801}]})

    def _choose_state(self, name: str) -> str:
        self._polls[name] += 1
        is_open = name.startswith("never-") or (name.startswith("slow-") and self._polls[name] == 1)
        return "SENT" if is_open else "DELIVERED"


class _Connection(asyncio.Protocol):
    """One connection; its client waits for each response before it sends the next request."""

    def __init__(self, responder: _Responder) -> None:
        self._responder = responder
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end or len(rest) < int(_find_header(head, b"content-length") or 0):
            return
        self._buffer = b""
        method, path, _ = head.decode("latin-1").split(" ", 2)
        delay, response = self._responder.respond(method, path, _find_header(head, b"idempotency-key").decode(), rest)
        asyncio.get_running_loop().call_later(delay, self._write, response)

    def _write(self, response: bytes) -> None:
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(response)


def _find_header(head: bytes, name: bytes) -> bytes:
    _, separator, rest = head.lower().partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0] if separator else b""


def _format_response(status: bytes, document: Any) -> bytes:
    body = json.dumps(document).encode()
    return _RESPONSE % (status, len(body), body)


async def _serve(listener: socket.socket) -> None:
    responder = _Responder()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(responder), sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        asyncio.run(_serve(inherited))
