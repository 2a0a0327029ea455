"""Requests for access tokens as providers document them, and their responses."""

from base64 import b64encode
from typing import Any

import orjson
import pytest

from receiver.domain.access_tokens import IssuedToken, TokenFailure
from receiver.domain.sending import Response
from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.token_requests import TokenRequest
from receiver.schemas.oauth2 import OAuth2Schema
from tests.support.factories import NOON

FORM = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
BASIC = f"Basic {b64encode(b'our-id:sec+ret/=').decode()}"


def build(**table: Any) -> TokenRequest:
    credentials = {
        "scheme": "oauth2",
        "token_url": "https://auth.acme.example/token",
        "client_id": "our-id",
        "client_secret": "sec+ret/=",
    }
    return TokenRequest.from_table(OAuth2Schema().load({**credentials, **table}))


def respond(document: object, status: int = 200) -> Response:
    return Response(status, {}, document if isinstance(document, bytes) else orjson.dumps(document))


def test_credentials_are_sent_by_basic_authentication() -> None:
    token_request = build(scope="read write", params={"resource": "x&y"})
    assert token_request.origin == "https://auth.acme.example"
    assert token_request.outgoing == OutgoingRequest(
        "POST",
        "/token",
        {**FORM, "authorization": BASIC},
        b"grant_type=client_credentials&scope=read+write&resource=x%26y",
    )


def test_credentials_are_sent_in_a_form() -> None:
    token_request = build(client_auth="body", audience="https://api")
    body = b"grant_type=client_credentials&audience=https%3A%2F%2Fapi&client_id=our-id&client_secret=sec%2Bret%2F%3D"
    assert token_request.outgoing == OutgoingRequest("POST", "/token", FORM, body)


def test_credentials_are_sent_as_json() -> None:
    outgoing = build(client_auth="body", body="json").outgoing
    assert outgoing.headers["content-type"] == "application/json"
    expected = {"grant_type": "client_credentials", "client_id": "our-id", "client_secret": "sec+ret/="}
    assert orjson.loads(outgoing.body) == expected


@pytest.mark.parametrize("query", ["", "?grant_type=client_credentials"])
def test_token_is_requested_by_get(query: str) -> None:
    outgoing = build(token_url=f"https://api.safaricom.example/oauth/v1/generate{query}", method="GET").outgoing
    target = "/oauth/v1/generate?grant_type=client_credentials"
    assert outgoing == OutgoingRequest("GET", target, {"accept": "application/json", "authorization": BASIC})


def test_token_request_has_headers_of_its_own() -> None:
    headers = build(headers={"Ocp-Apim-Subscription-Key": "key"}, grant_type="").outgoing.headers
    assert headers == {**FORM, "authorization": BASIC, "ocp-apim-subscription-key": "key"}


@pytest.mark.parametrize(
    ("table", "header"),
    [
        ({}, ("authorization", "Bearer t-1")),
        ({"prefix": ""}, ("authorization", "t-1")),
        ({"prefix": "Token token=", "name": "X-Auth"}, ("x-auth", "Token token=t-1")),
    ],
)
def test_token_is_sent_in_a_header(table: dict[str, Any], header: tuple[str, str]) -> None:
    outgoing = build(**table).authorize(OutgoingRequest("GET", "/", {"accept": "*/*"}), "t-1")
    assert outgoing.headers == {"accept": "*/*", header[0]: header[1]}


def test_token_and_its_lifetime_are_found() -> None:
    assert build().parse(respond({"access_token": "t-1", "expires_in": "3599"}), NOON) == IssuedToken("t-1", 3599.0)
    nested = {"responseBody": {"accessToken": "t-2", "expiresIn": 60}}
    token_request = build(token_path="responseBody.accessToken", expires_path="responseBody.expiresIn")
    assert token_request.parse(respond(nested, 201), NOON) == IssuedToken("t-2", 60.0)


@pytest.mark.parametrize(
    ("document", "status", "failure"),
    [
        ({"error": "invalid_client"}, 401, TokenFailure("responded with 401: invalid_client", is_refusal=True)),
        ({"errorMessage": "Bad\n credentials"}, 400, TokenFailure("responded with 400: Bad credentials", True)),
        (b"<html>", 404, TokenFailure("responded with 404", is_refusal=True)),
        (b"", 302, TokenFailure("responded with 302", is_refusal=True)),
        ({"message": "down"}, 503, TokenFailure("responded with 503: down")),
        (b"", 429, TokenFailure("responded with 429")),
    ],
)
def test_refusal_differs_from_failure(document: object, status: int, failure: TokenFailure) -> None:
    expected = TokenFailure(f"the token endpoint {failure.error}", failure.is_refusal)
    assert build().parse(respond(document, status), NOON) == expected


@pytest.mark.parametrize(
    ("document", "failure"),
    [
        ({"error": "access_denied"}, TokenFailure("access_denied", is_refusal=True)),
        ([], TokenFailure("no access token at `access_token` in the response")),
        (b"<html>", TokenFailure("no access token at `access_token` in the response")),
        ({"access_token": ""}, TokenFailure("no access token at `access_token` in the response")),
        (
            {"access_token": "a\r\nb"},
            TokenFailure("the access token in the response cannot be sent in a header", is_refusal=True),
        ),
    ],
)
def test_response_without_token_is_a_failure(document: object, failure: TokenFailure) -> None:
    assert build().parse(respond(document), NOON) == failure


def test_failure_has_the_time_to_wait() -> None:
    response = Response(503, {"retry-after": "120"}, b"")
    failure = build().parse(response, NOON)
    assert failure == TokenFailure("the token endpoint responded with 503", retry_after=120.0)
    assert isinstance(failure, TokenFailure)
    assert [failure.compute_retry_delay(failures, 0.0) for failures in (1, 99)] == [120.0, 120.0]


def test_unreadable_response_is_a_failure() -> None:
    failure = build().parse(Response(200, {}, b"", problem="it is encoded in br"), NOON)
    assert failure == TokenFailure("the response of the token endpoint cannot be read: it is encoded in br")
    refusal = build().parse(Response(401, {}, b"", problem="it is encoded in br"), NOON)
    assert refusal == TokenFailure("the token endpoint responded with 401", is_refusal=True)


def test_error_shows_no_secret() -> None:
    text = f"client our-id with sec+ret/= sent {BASIC}"
    failure = build().parse(respond({"error_description": text}, 400), NOON)
    assert failure == TokenFailure(
        "the token endpoint responded with 400: client our-id with [redacted] sent Basic [redacted]", is_refusal=True
    )
    assert "sec+ret" not in repr(build())


def test_credentials_decide_which_token_is_issued() -> None:
    others = [build(), build(client_secret="x"), build(scope="s"), build(token_url="https://b.example/token")]
    assert len({other.credentials() for other in others}) == 4
