"""The checks of URLs that the guide lists by provider: each as its vendor documents it, and that no other is answered.

Signatures and hashes are computed here by `hashlib`, `hmac` and `cryptography` alone.
"""

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.providers.base import Provider
from receiver.providers.capabilities import MalformedCallback
from receiver.signatures.base import InvalidSignature
from tests.support.capabilities import answer_handshake, callbacks_of, parse_reports_of
from tests.support.factories import NOON
from tests.support.handshakes import GUIDE_ROWS, HMAC, SECRET, TOKEN, build_from_guide

DISCORD_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
TIME = str(int(NOON.timestamp()))
TWITCH = HMAC | {
    "header": "Twitch-Eventsub-Message-Signature",
    "prefix": "sha256=",
    "signed": "{id}{timestamp}{body}",
    "id": "header:Twitch-Eventsub-Message-Id",
    "timestamp": "header:Twitch-Eventsub-Message-Timestamp",
    "unit": "iso",
}
DISCORD = {
    "scheme": "ed25519",
    "header": "X-Signature-Ed25519",
    "signed": "{timestamp}{body}",
    "timestamp": "header:X-Signature-Timestamp",
    "secrets": [DISCORD_KEY.public_key().public_bytes_raw().hex()],
}
X_SIGNATURE = HMAC | {"header": "x-twitter-webhooks-signature", "prefix": "sha256=", "encoding": "base64"}
Signer = Callable[[bytes], Mapping[str, str]]


def sign_body(body: bytes) -> Mapping[str, str]:
    return {"x-sig": hmac.new(SECRET.encode(), body, sha256).hexdigest()}


def sign_twitch(body: bytes) -> Mapping[str, str]:
    message_id, time = "e76c6bd4-55c9-4987-8304-da1588d8988b", f"{NOON:%FT%T}.123456789Z"
    digest = hmac.new(SECRET.encode(), f"{message_id}{time}".encode() + body, sha256).hexdigest()
    return {
        "twitch-eventsub-message-id": message_id,
        "twitch-eventsub-message-timestamp": time,
        "twitch-eventsub-message-signature": f"sha256={digest}",
    }


def sign_discord(body: bytes) -> Mapping[str, str]:
    signature = DISCORD_KEY.sign(TIME.encode() + body)
    return {"x-signature-timestamp": TIME, "x-signature-ed25519": signature.hex()}


def sign_zoom(body: bytes) -> Mapping[str, str]:
    digest = hmac.new(SECRET.encode(), f"v0:{TIME}:".encode() + body, sha256).hexdigest()
    return {"x-zm-request-timestamp": TIME, "x-zm-signature": f"v0={digest}"}


def sign_slack(body: bytes) -> Mapping[str, str]:
    digest = hmac.new(SECRET.encode(), f"v0:{TIME}:".encode() + body, sha256).hexdigest()
    return {"x-slack-request-timestamp": TIME, "x-slack-signature": f"v0={digest}"}


def hash_by_key(text: str) -> bytes:
    return hmac.new(SECRET.encode(), text.encode(), sha256).digest()


@dataclass(frozen=True)
class Check:
    """A provider's check of our URL: the row of the guide, the delivery, and the response that its vendor expects."""

    row: str
    expected: bytes | dict[str, Any] = b""
    method: str = "POST"
    query: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    signature: Mapping[str, Any] = field(default_factory=lambda: HMAC)
    sign: Signer | None = None
    expected_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the response besides its media type."""
    callback: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the table `callback`."""

    def __str__(self) -> str:
        return self.row.lower().replace(" ", "-")

    @property
    def provider(self) -> Provider:
        return build_from_guide(self.row, self.signature, **self.callback)

    @property
    def delivery(self) -> IncomingCallback:
        headers = {"content-type": "application/json"} if self.body else {}
        signed = self.sign(self.body) if self.sign else {}
        target = f"/webhook{'?' if self.query else ''}{self.query}"
        return IncomingCallback(
            self.method, target, {**headers, **self.headers, **signed}, self.body, NOON, "http://www.testendpoint.com"
        )


CHALLENGE = "GcD-lWAI_5hZ29.~"
EBAY_CODE = "a8628072-3d33-45ee-9004-bee86830a22d"
EBAY_RESPONSE = "ca527df75caa230092d7e90484071e8f05d63068f1317973d6a3a42593734bbb"  # a test of eBay's Node.js SDK
HUB = f"hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={TOKEN}"
SNS = json.dumps({"Type": "SubscriptionConfirmation", "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Token=2"})
EVENT_GRID = [
    {"id": "1", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "5"}}
]
CHECKS = (
    Check("Meta", b"1158201444", "GET", HUB),
    Check("Strava", {"hub.challenge": "1158201444"}, "GET", HUB),
    Check("WebSub", b"a+b", "GET", "hub.mode=unsubscribe&hub.topic=t&hub.challenge=a%2Bb"),
    Check("Dropbox", b"x_<script>", "GET", "challenge=x_%3Cscript%3E"),
    Check("Okta", {"verification": CHALLENGE}, "GET", headers={"x-okta-verification-challenge": CHALLENGE}),
    Check(
        "X",
        {"response_token": f"sha256={b64encode(hash_by_key(CHALLENGE)).decode()}"},
        "GET",
        f"nonce=1&crc_token={CHALLENGE}",
    ),
    Check(
        "LinkedIn",
        {"challengeCode": CHALLENGE, "challengeResponse": hash_by_key(CHALLENGE).hex()},
        "GET",
        f"challengeCode={CHALLENGE}",
    ),
    Check("eBay", {"challengeResponse": EBAY_RESPONSE}, "GET", f"challenge_code={EBAY_CODE}"),
    Check(
        "Slack",
        CHALLENGE.encode(),
        body=json.dumps({"type": "url_verification", "challenge": CHALLENGE}).encode(),
        signature={"scheme": "slack", "secrets": [SECRET]},
        sign=sign_slack,
    ),
    Check(
        "Slack commands",
        body=b"ssl_check=1&token=t",
        headers={"content-type": FORM_MEDIA_TYPE},
        signature={"scheme": "slack", "secrets": [SECRET]},
    ),
    Check(
        "Zoom",
        {"plainToken": "qgg8", "encryptedToken": hash_by_key("qgg8").hex()},
        body=b'{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8"}}',
        signature={"scheme": "zoom", "secrets": [SECRET]},
        sign=sign_zoom,
    ),
    Check(
        "Twitch",
        b"pogchamp-kappa-360noscope-vohiyo",
        body=b'{"challenge":"pogchamp-kappa-360noscope-vohiyo","subscription":{"status":"enabled"}}',
        headers={"twitch-eventsub-message-type": "webhook_callback_verification"},
        signature=TWITCH,
        sign=sign_twitch,
    ),
    Check(
        "Azure Event Grid",
        {"validationResponse": "5"},
        query=f"code={SECRET}",
        body=json.dumps(EVENT_GRID).encode(),
        headers={"aeg-event-type": "SubscriptionValidation"},
        signature={"scheme": "equals", "source": "query:code", "secrets": [SECRET]},
    ),
    Check(
        "Microsoft Graph",
        b"Validation: Testing client",
        query="validationToken=Validation%3a+Testing%20client",
        headers={"content-type": "text/plain"},
        signature={"scheme": "equals", "source": "clientState", "items": "value", "secrets": [SECRET]},
    ),
    Check("monday", {"challenge": "3eZb"}, body=b'{"challenge":"3eZb"}'),
    Check("Discord", {"type": 1}, body=b'{"id":"1","type":1}', signature=DISCORD, sign=sign_discord),
    Check("BoldSign", body=b'{"event":{}}', headers={"x-boldsign-event": "Verification"}, sign=sign_body),
    Check("WooCommerce", body=b"webhook_id=5", headers={"content-type": FORM_MEDIA_TYPE}),
    Check(
        "Mandrill, by another key when it is added",
        body=b"mandrill_events=%5B%5D",
        headers={"content-type": FORM_MEDIA_TYPE},
        callback={"body": "form", "json_field": "mandrill_events"},
    ),
    Check("Notion", body=b'{"verification_token":"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}'),
    Check("Asana", headers={"x-hook-secret": CHALLENGE}, body=b"{}", expected_headers={"X-Hook-Secret": CHALLENGE}),
    Check("RingCentral", headers={"validation-token": TOKEN}, expected_headers={"Validation-Token": TOKEN}),
    Check(
        "Adobe Sign",
        method="GET",
        headers={"x-adobesign-clientid": SECRET},
        signature={"scheme": "equals", "header": "X-AdobeSign-ClientId", "secrets": [SECRET]},
        expected_headers={"X-AdobeSign-ClientId": SECRET},
    ),
    Check("Amazon SNS", body=SNS.encode(), sign=sign_body),
    Check("a browser", method="GET"),
)
SIGNED = [check for check in CHECKS if check.sign]
each_check = pytest.mark.parametrize("check", CHECKS, ids=str)


def test_every_row_of_guide_is_checked() -> None:
    assert {check.row for check in CHECKS} == GUIDE_ROWS.keys()


@each_check
def test_check_is_answered_as_documented(check: Check) -> None:
    ack = answer_handshake(check.provider, check.delivery)
    assert ack is not None
    assert ack.status == 200
    media_type = ack.headers.get("content-type", "")
    if isinstance(check.expected, dict):
        assert (json.loads(ack.body), media_type) == (check.expected, "application/json")
    else:
        assert ack.body == check.expected
        assert media_type == ("text/plain; charset=utf-8" if check.expected else "")
    assert {name: text for name, text in ack.headers.items() if name != "content-type"} == check.expected_headers


@pytest.mark.parametrize("check", SIGNED, ids=str)
def test_forged_check_is_refused(check: Check) -> None:
    assert check.sign
    other_body = check.body.replace(b"{", b"{ ", 1)
    for headers in (check.headers, {**check.headers, **check.sign(check.body)}):
        with pytest.raises(InvalidSignature):
            answer_handshake(check.provider, replace(check.delivery, headers=headers, body=other_body))


@each_check
def test_callback_is_no_check(check: Check) -> None:
    body = b'{"id":"1","status":"done","type":"event","object":"page","Type":"Notification"}'
    callback = IncomingCallback("POST", "/webhook", {"content-type": "application/json"}, body, NOON)
    signed = replace(callback, headers={**callback.headers, **(check.sign or sign_body)(body)})
    for delivery in (callback, signed):
        assert answer_handshake(check.provider, delivery) is None


@each_check
def test_check_by_other_method_is_none(check: Check) -> None:
    delivery = replace(check.delivery, method="GET")
    if check.method == "GET":
        delivery = replace(check.delivery, method="POST", body=b"{}")
    assert answer_handshake(check.provider, delivery) is None


def test_get_with_query_is_no_plain_check() -> None:
    for target, is_check in (("/webhook", True), ("/webhook?", True), ("/webhook?id=1", False)):
        delivery = IncomingCallback("GET", target, {}, b"", NOON)
        assert (answer_handshake(build_from_guide("a browser"), delivery) is not None) == is_check


@pytest.mark.parametrize("row", ["monday", "WooCommerce", "Microsoft Graph", "Notion", "Asana"])
def test_signed_callback_is_never_an_unsigned_check(row: str) -> None:
    body = b'{"id":"1","status":"done","challenge":"c","webhook_id":5,"verification_token":"t"}'
    headers = {"content-type": "application/json", "x-hook-secret": "s", **sign_body(body)}
    callback = IncomingCallback("POST", "/webhook?validationToken=v", headers, body, NOON)
    assert answer_handshake(build_from_guide(row), callback) is None
    unsigned = replace(callback, headers={"content-type": "application/json", "x-hook-secret": "s"})
    # Without `when`, nothing with a body is a check.
    assert (answer_handshake(build_from_guide(row), unsigned) is None) == (row == "Microsoft Graph")


@pytest.mark.parametrize("row", ["Dropbox", "Okta", "X", "LinkedIn", "eBay", "Microsoft Graph", "Asana", "Adobe Sign"])
def test_long_value_is_refused(row: str) -> None:
    check = next(check for check in CHECKS if check.row == row)
    query = re.sub("=[^=]*$", "=", check.query) + "x" * 2_000
    headers = dict.fromkeys(check.headers, "x" * 2_000)
    delivery = replace(check.delivery, target=f"/webhook?{query}", headers=headers)
    with pytest.raises(InvalidSignature):
        answer_handshake(check.provider, delivery)


@pytest.mark.parametrize("value", ["", "{}", '"a"', "a&b", "a+b/c", "é", "x" * 201, "a b", "a\x00"])
@pytest.mark.parametrize("row", ["X", "LinkedIn", "eBay"])
def test_odd_value_is_not_hashed(row: str, value: str) -> None:
    name = GUIDE_ROWS[row]["echo"].partition(":")[2]
    with pytest.raises(InvalidSignature):
        answer_handshake(build_from_guide(row), IncomingCallback("GET", f"/?{urlencode({name: value})}", {}, b"", NOON))


@pytest.mark.parametrize("value", ["", "a b", "a\r\nb", "é", "x" * 257])
def test_odd_header_is_not_returned(value: str) -> None:
    delivery = IncomingCallback("POST", "/", {"x-hook-secret": value}, b"", NOON)
    with pytest.raises(InvalidSignature):
        answer_handshake(build_from_guide("Asana"), delivery)


@pytest.mark.parametrize("body", ["", "1", "true", "null", "-1.5e-3", "id=1", "a.b:c", "NaN"])
def test_hash_is_never_signature_of_a_callback(body: str) -> None:
    """What X hashes and what X signs share a secret: no stranger may have a body stored as one that is verified."""
    signature = f"sha256={b64encode(hash_by_key(body)).decode()}"
    callback = IncomingCallback("POST", "/", {"x-twitter-webhooks-signature": signature}, body.encode(), NOON)
    provider = build_from_guide("X", X_SIGNATURE)
    assert callbacks_of(provider).settings.auth.verify(callback) == 0
    with pytest.raises(InvalidSignature):
        answer_handshake(provider, callback)
    with pytest.raises(MalformedCallback):
        parse_reports_of(provider, callback)
