"""A plain HTTP client for tests, and callbacks signed by another library than ours."""

import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from uuid import uuid4

from standardwebhooks.webhooks import Webhook

from tests.factories import SECRET

PATIENCE = 20.0

Json = dict[str, Any]
Body = bytes | Iterable[bytes]


@dataclass(frozen=True)
class Answer:
    """What a server answered; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        document: Json = json.loads(self.body)
        return document


@dataclass(frozen=True)
class Server:
    """A server to talk to."""

    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def connect(self) -> HTTPConnection:
        return HTTPConnection(self.host, self.port, timeout=PATIENCE)

    def call(self, method: str, path: str, body: Body = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Exchange once, on a connection of its own; an iterable body goes in chunks."""
        with closing(self.connect()) as connection:
            return exchange(connection, method, path, body, {**self.headers, **(headers or {})})

    def call_back(self, body: bytes, name: str = "sandbox", **signing: Any) -> Answer:
        """Deliver a signed callback."""
        return self.call("POST", f"/callbacks/{name}", body, signed(body, **signing))

    def try_call_back(self, body: bytes, **signing: Any) -> int | None:
        """Deliver a signed callback and give the status of its answer, None when there was none."""
        try:
            return self.call_back(body, **signing).status
        except (OSError, HTTPException):
            return None


def exchange(
    connection: HTTPConnection, method: str, path: str, body: Body = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """Exchange once on a connection, which stays open if the server wants so."""
    connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, bytes))
    return read(connection.getresponse())


def read(response: HTTPResponse) -> Answer:
    """Read an answer to its end."""
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def signed(
    body: bytes, *, webhook_id: str | None = None, age: float = 0.0, secret: str = SECRET, media_type: str = ""
) -> dict[str, str]:
    """Give the headers of a callback signed `age` seconds ago, as the reference library of Standard Webhooks does."""
    webhook_id = webhook_id or f"msg_{uuid4().hex}"
    at = datetime.now(UTC) - timedelta(seconds=age)
    return {
        "content-type": media_type or "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, at, body.decode()),
    }


def results(*reports: Json) -> bytes:
    """Give the body of a callback."""
    return json.dumps({"results": reports}).encode()


def says(reference: str, state: str = "DELIVERED", **more: Any) -> bytes:
    """Give the body of a callback that tells the state of one job."""
    return results({"id": reference, "state": state, **more})


def problem_of(response: Answer) -> Json:
    """Give the problem document of an answer, which must be a proper one."""
    assert response.headers["content-type"] == "application/problem+json", response
    document = response.json
    assert {"type", "title", "status", "detail"} <= document.keys()
    assert document["status"] == response.status
    assert all(isinstance(document[name], str) and document[name] for name in ("type", "title", "detail"))
    return document
