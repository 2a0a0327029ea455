"""Callback URL handshakes of Meta, Slack and Zoom, and that unauthenticated senders get no response."""

import hmac
import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSignature
from tests.contract import Case, build_incoming, get_secrets, get_signer, sign_payload
from tests.contract.cases import CASES
from tests.support.capabilities import answer_handshake, callbacks_of

BY_VENDOR = {case.vendor: case for case in CASES}
META, SLACK, ZOOM = BY_VENDOR["meta"], BY_VENDOR["slack"], BY_VENDOR["zoom"]
HANDSHAKES = [(SLACK, "url-verification.json"), (ZOOM, "url-validation.json")]
PLAIN_TOKEN = "qgg8vlvZRS6UYooatFL8Aw"
each_case = pytest.mark.parametrize(("case", "file"), HANDSHAKES, ids=["slack", "zoom"])


def build_meta_check(**query: str) -> IncomingCallback:
    parameters = urlencode({f"hub.{name}": value for name, value in query.items()})
    return META.build_callback(b"", method="GET", headers={}, target=f"/callbacks/meta?{parameters}")


def test_meta_challenge_is_echoed_unsigned() -> None:
    response = answer_handshake(
        META.provider, build_meta_check(mode="subscribe", verify_token="let-me-in-please", challenge="1158201444")
    )
    assert response is not None
    assert (response.status, response.body) == (200, b"1158201444")
    assert response.headers["content-type"].startswith("text/plain")
    assert "GET" in callbacks_of(META.provider).settings.handshake_methods


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
def test_unauthenticated_challenge_is_rejected(query: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature):
        answer_handshake(META.provider, build_meta_check(**query))


def test_slack_challenge_is_echoed() -> None:
    response = answer_handshake(SLACK.provider, build_incoming(SLACK, sign_payload(SLACK, "url-verification.json")))
    assert response is not None
    assert (response.status, response.body) == (200, b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P")


def test_zoom_token_is_returned_with_hmac() -> None:
    response = answer_handshake(ZOOM.provider, build_incoming(ZOOM, sign_payload(ZOOM, "url-validation.json")))
    assert response is not None
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.body) == {
        "plainToken": PLAIN_TOKEN,
        "encryptedToken": hmac.new(get_secrets(ZOOM)[0].encode(), PLAIN_TOKEN.encode(), "sha256").hexdigest(),
    }


@each_case
def test_unsigned_or_forged_handshake_is_rejected(case: Case, file: str) -> None:
    signed = sign_payload(case, file)
    header = get_signer(case).header
    for headers in ({}, {header: signed.headers[header]}, signed.headers | {header: "v0=" + "0" * 64}):
        with pytest.raises(InvalidSignature):
            answer_handshake(case.provider, build_incoming(case, replace(signed, headers=headers)))
    with pytest.raises(InvalidSignature):
        answer_handshake(case.provider, build_incoming(case, sign_payload(case, file, "an unknown secret")))


@each_case
def test_old_secret_still_passes_handshake(case: Case, file: str) -> None:
    assert (
        answer_handshake(case.provider, build_incoming(case, sign_payload(case, file, get_secrets(case)[1])))
        is not None
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_other_callbacks_are_not_handshakes(case: Case) -> None:
    for body in [*map(case.payload, case.reports_by_file), b"", b"{", b"[]", b"null", b'{"type": 1, "event": []}']:
        assert answer_handshake(case.provider, case.build_callback(body)) is None
