"""How Meta, Slack and Zoom check that a callback URL is ours, and that nobody else learns an answer."""

import hmac
import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import SignatureRefused
from tests.contract import Case, secrets_of, sent, sign, signer_of
from tests.contract.cases import CASES

BY_VENDOR = {case.vendor: case for case in CASES}
META, SLACK, ZOOM = BY_VENDOR["meta"], BY_VENDOR["slack"], BY_VENDOR["zoom"]
CHECKS = [(SLACK, "url-verification.json"), (ZOOM, "url-validation.json")]
PLAIN_TOKEN = "qgg8vlvZRS6UYooatFL8Aw"
each = pytest.mark.parametrize(("case", "file"), CHECKS, ids=["slack", "zoom"])


def meta_asks(**query: str) -> IncomingCallback:
    parameters = urlencode({f"hub.{name}": value for name, value in query.items()})
    return META.incoming(b"", method="GET", headers={}, target=f"/callbacks/meta?{parameters}")


def test_meta_gets_its_challenge_back_unsigned() -> None:
    response = META.provider.handshake(
        meta_asks(mode="subscribe", verify_token="let-me-in-please", challenge="1158201444")
    )
    assert response is not None
    assert (response.status, response.body) == (200, b"1158201444")
    assert response.headers["content-type"].startswith("text/plain")
    assert "GET" in META.provider.callback_settings.methods


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"mode": "subscribe", "challenge": "1"},
        {"mode": "subscribe", "verify_token": "let-me-in-please"},
        {"mode": "subscribe", "verify_token": "", "challenge": "1"},
        {"mode": "subscribe", "verify_token": "let-me-in-pleasf", "challenge": "1"},
        {"mode": "subscribe", "verify_token": "é\x00", "challenge": "1"},
        {"mode": "subscribe", "verify_token": "a" * 10_000, "challenge": "1"},
    ],
)
def test_a_stranger_gets_no_challenge_back(query: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        META.provider.handshake(meta_asks(**query))


def test_slack_gets_its_challenge_back() -> None:
    response = SLACK.provider.handshake(sent(SLACK, sign(SLACK, "url-verification.json")))
    assert response is not None
    assert (response.status, response.body) == (200, b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P")


def test_zoom_gets_its_token_back_with_the_tokens_hmac() -> None:
    response = ZOOM.provider.handshake(sent(ZOOM, sign(ZOOM, "url-validation.json")))
    assert response is not None
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.body) == {
        "plainToken": PLAIN_TOKEN,
        "encryptedToken": hmac.new(secrets_of(ZOOM)[0].encode(), PLAIN_TOKEN.encode(), "sha256").hexdigest(),
    }


@each
def test_an_unsigned_or_forged_check_is_refused(case: Case, file: str) -> None:
    signed = sign(case, file)
    header = signer_of(case).header
    for headers in ({}, {header: signed.headers[header]}, signed.headers | {header: "v0=" + "0" * 64}):
        with pytest.raises(SignatureRefused):
            case.provider.handshake(sent(case, replace(signed, headers=headers)))
    with pytest.raises(SignatureRefused):
        case.provider.handshake(sent(case, sign(case, file, "a stranger's")))


@each
def test_a_secret_of_before_still_passes_the_check(case: Case, file: str) -> None:
    assert case.provider.handshake(sent(case, sign(case, file, secrets_of(case)[1]))) is not None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_no_check_is_left_to_be_read(case: Case) -> None:
    for body in [*map(case.payload, case.said), b"", b"{", b"[]", b"null", b'{"type": 1, "event": []}']:
        assert case.provider.handshake(case.incoming(body)) is None
