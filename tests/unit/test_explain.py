"""Explanations of refusals: the cause that is found is the one that was made."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.schemas.signatures import SCHEMES, SignatureSchema
from receiver.signatures.base import CallbackAuth, Scheme
from receiver.signatures.explain import explain_signature
from tests.factories import NOON
from tests.signers import ADYEN_BODY, SIGNERS

BODY = json.dumps({"id": "ref-1", "state": "DONE", "name": "Zoë", "list": [1, 2]}).encode()


def scheme(name: str, **more: Any) -> Scheme:
    signer = SIGNERS[name]
    auth: CallbackAuth = SignatureSchema().load({"scheme": name, "secrets": [signer.secret], **more})
    assert auth.scheme is not None
    return auth.scheme


def incoming(name: str, secret: str | None = None, body: bytes = BODY) -> IncomingCallback:
    signer = SIGNERS[name]
    now = int(NOON.timestamp())
    return signer.sign(secret or signer.secret, ADYEN_BODY if name == "adyen" else body, now).incoming(now)


def cause(of: Scheme, given: IncomingCallback) -> str:
    [told] = explain_signature(of, given).causes
    return told


@pytest.mark.parametrize("name", ["github", "stripe", "slack", "shopify", "standard-webhooks", "svix"])
def test_a_wrong_secret_is_told_as_that_or_a_changed_body(name: str) -> None:
    told = explain_signature(scheme(name), incoming(name, SIGNERS[name].other))
    assert told.part
    assert "another secret" in told.causes[0]


@pytest.mark.parametrize(
    "encoded",
    [
        json.dumps(json.loads(BODY), separators=(",", ":")).encode(),
        json.dumps(json.loads(BODY), ensure_ascii=False).encode(),
        BODY + b"\n",
    ],
)
@pytest.mark.parametrize("name", ["github", "stripe", "standard-webhooks"])
def test_a_body_that_was_encoded_anew_is_told_as_that(name: str, encoded: bytes) -> None:
    assert "body was changed on its way" in cause(scheme(name), replace(incoming(name), body=encoded))


@pytest.mark.parametrize("seconds", [-4_000, 4_000])
@pytest.mark.parametrize("name", ["stripe", "slack", "standard-webhooks"])
def test_a_clock_that_is_off_is_told_with_by_how_much(name: str, seconds: int) -> None:
    late = replace(incoming(name), received_at=NOON + timedelta(seconds=seconds))
    told = explain_signature(scheme(name), late)
    assert "4000 s" in (told.message or "")
    assert "clock" in told.causes[0]


@pytest.mark.parametrize("public_url", ["http://receiver.example", "https://inside.local:8000"])
@pytest.mark.parametrize("name", ["square", "twilio", "plivo-v2"])
def test_a_public_url_that_differs_is_told_with_the_right_one(name: str, public_url: str) -> None:
    signed = incoming(name)
    host = signed.public_url.partition("://")[2]
    seen = replace(signed, public_url=public_url, headers={**signed.headers, "host": host})
    assert f"signed for {signed.public_url}" in cause(scheme(name), seen)


def test_a_prefix_that_is_missing_is_told() -> None:
    signed = incoming("github")
    value = signed.headers["x-hub-signature-256"].removeprefix("sha256=")
    assert "lacks its prefix" in cause(scheme("github"), replace(signed, headers={"x-hub-signature-256": value}))


def test_a_secret_used_as_text_instead_of_base64_is_told() -> None:
    secret = SIGNERS["standard-webhooks"].secret
    auth: CallbackAuth = SignatureSchema().load(
        {"scheme": "hmac", "header": "webhook-signature", "prefix": "v1,", "encoding": "base64", "secrets": [secret]}
        | {"signed": "{id}.{timestamp}.{body}", "id": "header:webhook-id", "timestamp": "header:webhook-timestamp"}
    )
    assert auth.scheme is not None
    assert "read as base64" in cause(auth.scheme, incoming("standard-webhooks"))


def test_a_header_that_is_missing_is_told_with_who_may_have_dropped_it() -> None:
    told = explain_signature(scheme("github"), replace(incoming("github"), headers={}))
    assert told.part == "x-hub-signature-256"
    assert "drops the header" in told.causes[0]


def test_what_would_pass_by_now_is_told_so() -> None:
    told = explain_signature(scheme("github"), incoming("github"))
    assert (told.part, told.message) == (None, None)
    assert "sent again" in told.causes[0]


@settings(max_examples=20)
@given(body=st.binary(), value=st.text(st.characters(max_codepoint=255)))
@pytest.mark.parametrize("name", sorted(SIGNERS.keys() & set(SCHEMES)))
def test_whatever_was_delivered_can_be_explained(name: str, body: bytes, value: str) -> None:
    signed = incoming(name)
    headers = dict.fromkeys(signed.headers, value)
    told = explain_signature(scheme(name), replace(signed, body=body, headers=headers))
    assert SIGNERS[name].secret not in str(told)
