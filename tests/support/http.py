"""A plain HTTP client for tests, and callbacks that are signed by another library than ours."""

import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from uuid import uuid4

from standardwebhooks.webhooks import Webhook

from receiver.web.problems import MEDIA_TYPE, ProblemType
from tests.support.factories import SECRET

TIMEOUT_S = 20.0
PROBLEM_TYPES = {problem_type.uri: problem_type for problem_type in ProblemType}

Json = dict[str, Any]
Body = bytes | Iterable[bytes]


@dataclass(frozen=True)
class Response:
    """A response; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        document: Json = json.loads(self.body)
        return document


@dataclass(frozen=True)
class Server:
    """A server, and headers to send with every call."""

    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def connect(self) -> HTTPConnection:
        return HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)

    def call(self, method: str, path: str, body: Body = b"", headers: Mapping[str, str] | None = None) -> Response:
        """Make a call on a connection of its own; an iterable body is sent in chunks."""
        with closing(self.connect()) as connection:
            return exchange(connection, method, path, body, {**self.headers, **(headers or {})})

    def call_back(self, body: bytes, name: str = "sandbox", **signing: Any) -> Response:
        """Deliver a signed callback."""
        return self.call("POST", f"/callbacks/{name}", body, sign_callback(body, **signing))

    def try_call_back(self, body: bytes, **signing: Any) -> int | None:
        """Deliver a signed callback and return the status of the response, or None without a response."""
        try:
            return self.call_back(body, **signing).status
        except (OSError, HTTPException):
            return None


def exchange(
    connection: HTTPConnection, method: str, path: str, body: Body = b"", headers: Mapping[str, str] | None = None
) -> Response:
    """Make a call on a connection, which stays open if the server keeps it open."""
    connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, bytes))
    return read_response(connection.getresponse())


def read_response(response: HTTPResponse) -> Response:
    """Read a response to its end."""
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Response(response.status, headers, response.read())


def sign_callback(
    body: bytes, *, webhook_id: str | None = None, age: float = 0.0, secret: str = SECRET, media_type: str = ""
) -> dict[str, str]:
    """Build the headers of a callback signed `age` seconds ago, with the reference library of Standard Webhooks."""
    webhook_id = webhook_id or f"msg_{uuid4().hex}"
    signed_at = datetime.now(UTC) - timedelta(seconds=age)
    return {
        "content-type": media_type or "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(signed_at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, signed_at, body.decode()),
    }


def build_reports(*reports: Json) -> bytes:
    """Build the body of a callback with status reports."""
    return json.dumps({"results": reports}).encode()


def build_report(reference: str, state: str = "DELIVERED", **more: Any) -> bytes:
    """Build the body of a callback with the status report of one job."""
    return build_reports({"id": reference, "state": state, **more})


def parse_problem(response: Response, expected: ProblemType | None = None) -> Json:
    """Return the problem document of a response, which must be of one of the problem types, or of the expected one."""
    assert response.headers["content-type"] == MEDIA_TYPE, response
    document = response.json
    problem_type = PROBLEM_TYPES[document["type"]]
    assert expected in {None, problem_type}, response
    assert (document["title"], document["status"]) == (problem_type.title, problem_type.status)
    assert document["status"] == response.status
    assert isinstance(document["detail"], str)
    assert document["detail"]
    assert ("errors" in document) == (problem_type in {ProblemType.INVALID_REQUEST, ProblemType.UNREADABLE_CALLBACK})
    return document
