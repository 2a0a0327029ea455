"""Calls of the sandbox that are refused, over HTTP."""

import pytest

from tests.support.sandbox import Sandbox


def test_wrong_api_key_is_401(sandbox: Sandbox) -> None:
    assert sandbox.call("POST", "/v1/messages", "{}", authorization="Bearer wrong").status == 401
    assert sandbox.call("GET", "/v1/messages/any", authorization="").status == 401


@pytest.mark.parametrize("body", ["", "[]", "no json", '{"client_reference": "x-1", "to": []}'])
def test_invalid_message_is_400(sandbox: Sandbox, body: str) -> None:
    response = sandbox.call("POST", "/v1/messages", body)
    assert response.status == 400
    assert response.body["error"]


def test_unknown_message_is_404(sandbox: Sandbox) -> None:
    assert sandbox.call("GET", "/v1/messages/unknown").status == 404


def test_healthz_is_200(sandbox: Sandbox) -> None:
    assert sandbox.call("GET", "/healthz").status == 200
