"""A provider that accepts everything, responds slowly now and then, and records when each request arrived.

It runs in a process of its own, see `tests.support.asyncio_server`, so that arrival times do not depend on the trial's
load. A repeated idempotency key gets the first reference again. A poll asks for a job by its reference: `slow-…` is in
progress at the first poll, `never-…` at every poll. `GET /arrivals/N` returns the arrivals after the first N, and is
not counted itself.
"""

import json
import socket
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
from tests.support.asyncio_server import find_header, format_response, serve_inherited
from tests.support.processes import running, wait_for

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

    def respond(self, head: bytes, body: bytes) -> tuple[float, bytes]:
        """Return the delay in seconds and the response to a request."""
        method, path, _ = head.decode("latin-1").split(" ", 2)
        key = find_header(head, b"idempotency-key").decode()
        if path.startswith(_ARRIVALS_PATH):
            arrivals = self._arrivals[int(path.removeprefix(_ARRIVALS_PATH)) :]
            return 0.0, _format(b"200 OK", [[a.at, a.provider, a.method, a.name, a.key] for a in arrivals])
        name = path.rpartition("/")[2] if method == "GET" else json.loads(body)["client_reference"]
        self._arrivals.append(Arrival(time.monotonic(), path.split("/")[1], method, name, key))
        if method == "GET":
            return _POLL_DELAY_S, _format(b"200 OK", {"id": name, "state": self._choose_state(name)})
        reference = self._references.setdefault(key or name, f"{name}-{len(self._arrivals)}")
        delay = self._random.uniform(*_SLOW_DELAY_S) if self._random.random() < _SLOW_SHARE else 0.0
        return delay, _format(b"202 Accepted", {"items": [{"id": reference, "status": "ACK", "code": 1801}]})

    def _choose_state(self, name: str) -> str:
        self._polls[name] += 1
        is_open = name.startswith("never-") or (name.startswith("slow-") and self._polls[name] == 1)
        return "SENT" if is_open else "DELIVERED"


def _format(status: bytes, document: Any) -> bytes:
    return format_response(status, json.dumps(document).encode())


if __name__ == "__main__":
    serve_inherited(_Responder().respond)
