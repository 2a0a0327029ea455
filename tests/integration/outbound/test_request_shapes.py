"""Requests in the shapes that providers ask for, sent by a real worker and parsed by another library than ours."""

import json
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from werkzeug.formparser import parse_form_data

from receiver.store.connections import Connection
from receiver.store.requests import NewRequest, submit_requests
from tests.support.processes import running_worker, wait_for
from tests.support.provider import Provider, Received, Reply

CONFIG = """
[providers.shapes]
kind = "declared"
base_url = "{url}"
auth = {{ scheme = "oauth2", token_url = "{url}/token?grant_type=client_credentials", method = "GET", client_id = "id", client_secret = "s" }}
signature = {{ scheme = "token", secrets = ["an-unguessable-token"] }}
response = {{ reference = "id" }}
callback = {{ reference = "id", status = "code", statuses = {{ 0 = "succeeded", "*" = "failed" }} }}

[providers.shapes.operations.multipart]
path = "/multipart"
body = "multipart"
json_fields = ["config"]
callback_url = "config.notification_config[0].url"

[providers.shapes.operations.form]
path = "/form"
body = "form"
form_style = "brackets"
callback_url = "hooks[0]"

[providers.shapes.operations.list]
path = "/list?dataset={{dataset}}"
body_field = "inputs"
callback_url = "query:notify"

[providers.shapes.operations.push]
path = "/push"
callback_url = ["ResultURL", "QueueTimeOutURL"]
defaults = {{ BusinessShortCode = 174379 }}
[providers.shapes.operations.push.computed]
Password = {{ text = "{{BusinessShortCode}}{{secret}}{{Timestamp}}", secret = "passkey", encoding = "base64" }}
Timestamp = {{ text = "{{now:%Y%m%d%H%M%S}}", time_zone = "Africa/Nairobi" }}

[providers.shapes.poll]
method = "POST"
path = "/query"
body = {{ BusinessShortCode = 174379, CheckoutRequestID = "{{reference}}" }}
first_after = 0.1
[providers.shapes.poll.computed]
Password = {{ text = "{{BusinessShortCode}}{{secret}}{{Timestamp}}", secret = "passkey", encoding = "base64" }}
Timestamp = "{{now:%Y%m%d%H%M%S}}"
"""  # noqa: E501  # an inline table of TOML has one line
CALLBACK_URL = "https://receiver.example/callbacks/shapes/an-unguessable-token"


class ShapesProvider(Provider):
    """Accepts every request, and reports its job as done when it is polled with a password of its timestamp."""

    def response(self, received: Received) -> Reply:
        self.received.append(received)
        path = received.path.partition("?")[0]
        if path == "/token":
            return Reply(200, b'{"access_token": "t-1", "expires_in": "3599"}')
        if received.headers["authorization"] != "Bearer t-1":
            return Reply(401)
        if path != "/query":
            return Reply(200, json.dumps({"id": f"job{path.replace('/', '-')}"}).encode())
        document = json.loads(received.body)
        is_right = has_right_password(document)
        return Reply(200, json.dumps({"id": document["CheckoutRequestID"], "code": 0 if is_right else 1}).encode())


def has_right_password(document: dict[str, Any]) -> bool:
    return b64decode(document["Password"]) == f"174379passkey{document['Timestamp']}".encode()


@pytest.fixture
def shapes() -> Iterator[ShapesProvider]:
    provider = ShapesProvider()
    try:
        provider.listen()
        yield provider
    finally:
        provider.close()


def parse_form(received: Received) -> dict[str, list[str]]:
    """Return the fields of a form as werkzeug reads them."""
    environ = {
        "wsgi.input": BytesIO(received.body),
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": received.headers["content-type"],
        "CONTENT_LENGTH": received.headers["content-length"],
    }
    _, form, _ = parse_form_data(environ)
    return form.to_dict(flat=False)


def submit(connection: Connection, operation: str, payload: dict[str, Any]) -> None:
    request = NewRequest(
        id=uuid4(),
        provider="shapes",
        operation=operation,
        payload=payload,
        metadata={},
        due_at=None,
        deadline_at=None,
        deadline_after=60.0,
    )
    submit_requests(connection, [request])


def test_shapes_are_sent_by_a_worker(shapes: ShapesProvider, dsn: str, connection: Connection, tmp_path: Path) -> None:
    submit(connection, "multipart", {"config": {"type": "transcription", "é": "\r\n"}, "n": [1, "b"]})
    submit(connection, "form", {"items": [{"price": "p"}], "hooks[]": "https://elsewhere.example"})
    submit(connection, "list", {"dataset": "d&1", "inputs": [{"url": "a"}]})
    submit(connection, "push", {"Amount": 5})
    with running_worker(tmp_path, dsn, CONFIG.format(url=shapes.url)):
        count = "SELECT count(*) FROM jobs WHERE status = 'succeeded'"
        wait_for(lambda: connection.execute(count).fetchone() == (4,))
    received = {request.path.partition("?")[0]: request for request in shapes.received}
    assert len([request for request in shapes.received if request.path.startswith("/token")]) == 1
    fields = parse_form(received["/multipart"])
    config = {"type": "transcription", "é": "\r\n", "notification_config": [{"url": CALLBACK_URL}]}
    assert json.loads(fields.pop("config")[0]) == config
    assert fields == {"n": ["1", "b"]}
    assert parse_form(received["/form"]) == {"items[0][price]": ["p"], "hooks[]": [CALLBACK_URL]}
    assert json.loads(received["/list"].body) == [{"url": "a"}]
    assert received["/list"].path.startswith("/list?dataset=d%261&notify=https%3A%2F%2Freceiver.example")
    document = json.loads(received["/push"].body)
    assert has_right_password(document)
    assert (document["ResultURL"], document["QueueTimeOutURL"]) == (CALLBACK_URL, CALLBACK_URL)
