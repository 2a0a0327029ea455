"""Vendors' published examples, byte for byte: signed callbacks, and Cecula's responses."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.domain.sending import ItemStatus, Response
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.signatures.base import InvalidSignature
from tests.support.capabilities import callbacks_of, sender_of
from tests.support.factories import NOON

PUBLISHED = Path(__file__).parents[1] / "payloads" / "published"
CALLBACK = 'callback = { reference = "id", status = "state", statuses = { done = "succeeded" } }'
FORM_CALLBACK = CALLBACK.replace("{ ref", '{ body = "form", ref')
TWILIO_URL = "https://mycompany.com"


def build_declared_provider(signature: str, callback: str = CALLBACK) -> Provider:
    table = f'kind = "declared"\nbase_url = "https://vendor.example"\nsignature = {signature}\n{callback}'
    return build_provider("vendor", tomllib.loads(table))


def build_callback(
    name: str, headers: dict[str, str], received_at: int = 0, target: str = "/", public_url: str = ""
) -> IncomingCallback:
    body = (PUBLISHED / name).read_bytes()
    return IncomingCallback("POST", target, headers, body, datetime.fromtimestamp(received_at, UTC), public_url)


@pytest.mark.parametrize(
    ("provider", "callback"),
    [
        (
            build_declared_provider("""{ scheme = "github", secrets = ["It's a Secret to Everybody"] }"""),
            build_callback(
                "github.txt",
                {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
            ),
        ),
        (
            build_declared_provider(
                '{ scheme = "slack", secrets = ["8f742231b10e8888abcd99yyyzzz85a5"] }', FORM_CALLBACK
            ),
            build_callback(
                "slack.form",
                {
                    "content-type": FORM_MEDIA_TYPE,
                    "x-slack-request-timestamp": "1531420618",
                    "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
                },
                1_531_420_618,
            ),
        ),
        (
            build_declared_provider(
                '{ scheme = "standard-webhooks", secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] }'
            ),
            build_callback(
                "standard-webhooks.json",
                {
                    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                    "webhook-timestamp": "1614265330",
                    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
                },
                1_614_265_330,
            ),
        ),
        (
            build_declared_provider('{ scheme = "twilio", secrets = ["12345"] }'),
            build_callback(
                "twilio.json",
                {"content-type": "application/json", "x-twilio-signature": "a9nBmqA0ju/hNViExpshrM61xv4="},
                target="/myapp.php?foo=1&bar=2"
                "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620",
                public_url=TWILIO_URL,
            ),
        ),
    ],
    ids=["github", "slack", "standard-webhooks", "twilio"],
)
def test_published_callback_verifies_by_configuration(provider: Provider, callback: IncomingCallback) -> None:
    assert callbacks_of(provider).settings.auth.verify(callback) == 0
    changed = IncomingCallback("POST", callback.target, callback.headers, callback.body + b" ", callback.received_at)
    with pytest.raises(InvalidSignature):
        callbacks_of(provider).settings.auth.verify(changed)


def build_cecula_provider(kind: str) -> Provider:
    signature = {"scheme": "token", "secrets": ["an-unguessable-token"]}
    return build_provider("cecula", {"kind": kind, "auth": {"scheme": "bearer", "secret": "k"}, "signature": signature})


@pytest.mark.parametrize(
    ("kind", "name", "references"),
    [
        (
            "cecula",
            "cecula-send.json",
            ["b8bfb980-357a-4a39-863a-1b27c1f191d5", "5f019c1e-e2ae-4dc7-b52d-3c748e96c97e"],
        ),
        ("cecula-legacy", "cecula-legacy-p2p.json", ["5990", "5991"]),
        ("cecula-legacy", "cecula-legacy-a2p.json", ["4982953"]),
    ],
)
def test_published_cecula_responses_accept_each_recipient(kind: str, name: str, references: list[str]) -> None:
    parsed = sender_of(build_cecula_provider(kind)).interpret(Response(200, {}, (PUBLISHED / name).read_bytes()))
    assert [item.reference for item in parsed.items] == references
    assert {item.item_status for item in parsed.items} == {ItemStatus.ACCEPTED}


def test_published_cecula_error_accepts_nothing() -> None:
    parsed = sender_of(build_cecula_provider("cecula-legacy")).interpret(
        Response(200, {}, (PUBLISHED / "cecula-legacy-error.json").read_bytes())
    )
    assert ItemStatus.ACCEPTED not in {item.item_status for item in parsed.items}


def test_published_cecula_request_and_checks_are_parsed() -> None:
    payload: dict[str, Any] = orjson.loads((PUBLISHED / "cecula-request.json").read_bytes())
    assert build_cecula_provider("cecula").operations["send"].check_payload(payload, NOON) == {}
    results = [
        build_cecula_provider("cecula")
        .account_checks[name]
        .format_result(Response(200, {}, (PUBLISHED / file).read_bytes()))
        for name, file in (("balance", "cecula-balance.json"), ("sender names", "cecula-identities.json"))
    ]
    assert "118.00" in results[0]
    assert "DartPro" in results[1]
