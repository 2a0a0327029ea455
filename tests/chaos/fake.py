"""A provider that counts: it takes everything, answers slowly now and then, and remembers when what arrived.

A process of its own, so that its clock is read when a request arrives and not when the trial has time; its argument is
the descriptor of a listening socket that it inherits. A repeated idempotency key gets the first reference again. A job
is asked about by its reference: `slow-…` is still in progress the first time, `never-…` each time. `GET /arrivals/N`
tells what arrived after the first N, and is not counted itself.
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
from tests.processes import running, wait_for

_ANSWER = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_ARRIVALS = "/arrivals/"
_POLL_TAKES = 0.02
_SLOW, _SLOWLY = 0.1, (0.02, 0.3)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that arrived whole, at `at` of the machine's monotonic clock.

    Its `name` is the client's reference, or of a poll the job's; `key` is the idempotency key, "" without one.
    """

    at: float
    lane: str
    method: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Fake:
    """The provider as the trial sees it."""

    url: str

    def arrivals(self, after: int = 0) -> list[Arrival]:
        """Give what arrived, in order, without the first so many."""
        with urllib.request.urlopen(f"{self.url}{_ARRIVALS}{after}", timeout=30.0) as response:
            return [Arrival(*each) for each in json.loads(response.read())]


@contextmanager
def counting(directory: Path) -> Iterator[Fake]:
    """Run the provider until the context ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        fake = Fake(f"http://127.0.0.1:{listener.getsockname()[1]}")
        arguments = ("-m", "tests.chaos.fake", str(listener.fileno()))
        with running(arguments, directory / "fake.log", {}, pass_fds=[listener.fileno()]):
            wait_for(lambda: fake.arrivals() == [])
            yield fake


def request_to(lane: str, name: str) -> NewRequest:
    """Give a request to the provider of this name; its own name is how it arrives."""
    return NewRequest(
        id=uuid4(),
        provider=lane,
        operation="send",
        payload={"client_reference": name, "to": ["2348030000000"], "text": "hello"},
        metadata={},
        due_at=None,
        deadline_at=None,
        deadline_after=86_400.0,
    )


class _Ledger:
    """What arrived, and how it is answered."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self._references: dict[str, str] = {}
        self._polls: Counter[str] = Counter()
        self._chance = Random(1)

    def take(self, method: str, path: str, key: str, body: bytes) -> tuple[float, bytes]:
        """Give the answer to a request, and after how many seconds."""
        if path.startswith(_ARRIVALS):
            told = [[a.at, a.lane, a.method, a.name, a.key] for a in self.arrivals[int(path.removeprefix(_ARRIVALS)) :]]
            return 0.0, _answer(b"200 OK", told)
        name = path.rpartition("/")[2] if method == "GET" else json.loads(body)["client_reference"]
        self.arrivals.append(Arrival(time.monotonic(), path.split("/")[1], method, name, key))
        if method == "GET":
            return _POLL_TAKES, _answer(b"200 OK", {"id": name, "state": self._state(name)})
        reference = self._references.setdefault(key or name, f"{name}-{len(self.arrivals)}")
        wait = self._chance.uniform(*_SLOWLY) if self._chance.random() < _SLOW else 0.0
        return wait, _answer(b"202 Accepted", {"items": [{"id": reference, "status": "ACK", "code": 1801}]})

    def _state(self, name: str) -> str:
        self._polls[name] += 1
        goes_on = name.startswith("never-") or (name.startswith("slow-") and self._polls[name] == 1)
        return "SENT" if goes_on else "DELIVERED"


class _Exchange(asyncio.Protocol):
    """One connection; its client waits for each answer before it sends the next request."""

    def __init__(self, ledger: _Ledger) -> None:
        self._ledger = ledger
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, rest = self._read.partition(b"\r\n\r\n")
        if not end or len(rest) < int(_header(head, b"content-length") or 0):
            return
        self._read = b""
        method, path, _ = head.decode("latin-1").split(" ", 2)
        wait, response = self._ledger.take(method, path, _header(head, b"idempotency-key").decode(), rest)
        asyncio.get_running_loop().call_later(wait, self._write, response)

    def _write(self, response: bytes) -> None:
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(response)


def _header(head: bytes, name: bytes) -> bytes:
    _, found, rest = head.lower().partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0] if found else b""


def _answer(status: bytes, document: Any) -> bytes:
    body = json.dumps(document).encode()
    return _ANSWER % (status, len(body), body)


async def _serve(listener: socket.socket) -> None:
    ledger = _Ledger()
    server = await asyncio.get_running_loop().create_server(lambda: _Exchange(ledger), sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        asyncio.run(_serve(inherited))
