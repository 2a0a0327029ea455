"""Published examples of signatures by public keys and JWTs, byte for byte, from the tests of vendors' own libraries."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.schemas.signatures import SignatureSchema
from receiver.signatures.base import InvalidSignature, Scheme

PUBLISHED = Path(__file__).parents[1] / "payloads" / "published"
SENDGRID_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6w"
    "EA3F+g=="
)
SENDGRID_HEADER = "x-twilio-email-event-webhook"
MESSAGEBIRD_KEY = "36efdd1aace2e26cd490f0d951138253bef2f7c6d34d18981da781555cc4cebb"
MESSAGEBIRD_CASES = orjson.loads((PUBLISHED / "messagebird-tokens.json").read_bytes())


def load(**settings: Any) -> Scheme:
    scheme = SignatureSchema().load(settings).scheme
    assert isinstance(scheme, Scheme)
    return scheme


def test_published_callback_of_sendgrid_verifies() -> None:
    scheme = load(
        scheme="ecdsa",
        header=f"{SENDGRID_HEADER}-signature",
        signed="{timestamp}{body}",
        timestamp=f"header:{SENDGRID_HEADER}-timestamp",
        keys=[SENDGRID_KEY],
    )
    signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
    headers = {f"{SENDGRID_HEADER}-signature": signature, f"{SENDGRID_HEADER}-timestamp": "1600112502"}
    body, at = (PUBLISHED / "sendgrid.txt").read_bytes(), datetime.fromisoformat("2020-09-14T19:41:42+00:00")
    callback = IncomingCallback("POST", "/", headers, body, at)
    assert scheme.verify(callback) == 0
    with pytest.raises(InvalidSignature):
        scheme.verify(replace(callback, body=body.rstrip()))


def build_messagebird(case: dict[str, Any]) -> IncomingCallback:
    at, headers = datetime.fromisoformat("2021-07-05T12:00:00+02:00"), {"messagebird-signature-jwt": case["token"]}
    return IncomingCallback("POST", case["target"], headers, case["body"].encode(), at, "https://example.com")


@pytest.mark.parametrize("case", [case for case in MESSAGEBIRD_CASES if not case["rejected"]])
def test_published_token_of_messagebird_verifies(case: dict[str, Any]) -> None:
    scheme, callback = load(scheme="messagebird", secrets=[MESSAGEBIRD_KEY]), build_messagebird(case)
    assert scheme.verify(callback) == 0
    for changed in (replace(callback, body=callback.body + b"x"), replace(callback, target="/path?foo=2&bar=1")):
        with pytest.raises(InvalidSignature):
            scheme.verify(changed)


@pytest.mark.parametrize("case", [case for case in MESSAGEBIRD_CASES if case["rejected"]])
def test_published_invalid_token_of_messagebird_is_rejected(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignature) as caught:
        load(scheme="messagebird", secrets=[MESSAGEBIRD_KEY]).verify(build_messagebird(case))
    assert caught.value.part == case["rejected"]
