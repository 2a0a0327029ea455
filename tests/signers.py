"""Signs callbacks as providers do: one plain signer for each preset, written from what its vendor tells."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5, sha256
from typing import Any

import orjson

from receiver.domain.callbacks import IncomingCallback

PUBLIC_URL = "https://callbacks.example"
TARGET = "/callbacks/acme?channel=1"
BODY = b'{"event_id": "evt-1", "status": "done", "name": "J\xc3\xbcrgen"}'
ADYEN_BODY = orjson.dumps(
    {
        "live": "false",
        "notificationItems": [
            {
                "NotificationRequestItem": {
                    "additionalData": {},
                    "pspReference": f"psp-{number}",
                    "merchantAccountCode": "Acme:EU",
                    "merchantReference": "order\\7",
                    "amount": {"value": 1_130, "currency": "EUR"},
                    "eventCode": "AUTHORISATION",
                    "success": "true",
                }
            }
            for number in range(3)
        ],
    }
)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed callback; `signature` is the text in it that proves the sender."""

    headers: dict[str, str]
    signature: str
    body: bytes
    target: str = TARGET

    def incoming(self, received_at: float, **overrides: Any) -> IncomingCallback:
        """Give it as received at a time (Unix seconds)."""
        given: dict[str, Any] = {
            "method": "POST",
            "target": self.target,
            "headers": {"content-type": "application/json"} | self.headers,
            "body": self.body,
            "received_at": datetime.fromtimestamp(received_at, UTC),
            "public_url": PUBLIC_URL,
        }
        return IncomingCallback(**given | overrides)


Sign = Callable[[str, bytes, int], Signed]


@dataclass(frozen=True, slots=True)
class Signer:
    """How a preset's provider signs.

    `sign` takes a secret, a body and a time (Unix seconds); `other` is a secret that did not sign; `signed_headers`
    are those beside the signature that it covers; `options` are the keys without which no time is compared.
    """

    sign: Sign
    secret: str = "a secret of söme length"
    other: str = "another secret"
    header: str = ""
    prefix: str = ""
    signed_headers: tuple[str, ...] = ()
    signs_body: bool = True
    signs_time: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = BODY


def _b64(key: bytes, content: bytes, algorithm: str = "sha256") -> str:
    return b64encode(hmac.digest(key, content, algorithm)).decode()


def _of_body(header: str, prefix: str = "", algorithm: str = "sha256", *, base64: bool = False) -> Sign:
    def sign(secret: str, body: bytes, _: int) -> Signed:
        digest = hmac.digest(secret.encode(), body, algorithm)
        signature = b64encode(digest).decode() if base64 else digest.hex()
        return Signed({header: prefix + signature}, signature, body)

    return sign


def _in_pairs(header: str) -> Sign:
    def sign(secret: str, body: bytes, now: int) -> Signed:
        signature = hmac.new(secret.encode(), f"{now}.".encode() + body, "sha256").hexdigest()
        return Signed({header: f"t={now},v1={signature}"}, signature, body)

    return sign


def _v0(header: str, timestamp: str) -> Sign:
    def sign(secret: str, body: bytes, now: int) -> Signed:
        signature = hmac.new(secret.encode(), f"v0:{now}:".encode() + body, "sha256").hexdigest()
        return Signed({header: f"v0={signature}", timestamp: str(now)}, signature, body)

    return sign


def _standard(prefix: str) -> Sign:
    def sign(secret: str, body: bytes, now: int) -> Signed:
        signature = _b64(b64decode(secret.removeprefix("whsec_")), f"msg_1.{now}.".encode() + body)
        values = {"id": "msg_1", "timestamp": str(now), "signature": f"v1,{signature}"}
        return Signed({f"{prefix}-{name}": value for name, value in values.items()}, signature, body)

    return sign


def _twilio(secret: str, body: bytes, _: int) -> Signed:
    target = f"{TARGET}&bodySHA256={sha256(body).hexdigest()}"
    signature = _b64(secret.encode(), f"{PUBLIC_URL}{target}".encode(), "sha1")
    return Signed({"x-twilio-signature": signature}, signature, body, target)


def _square(secret: str, body: bytes, _: int) -> Signed:
    signature = _b64(secret.encode(), f"{PUBLIC_URL}{TARGET}".encode() + body)
    return Signed({"x-square-hmacsha256-signature": signature}, signature, body)


def _flutterwave(secret: str, body: bytes, _: int) -> Signed:
    return Signed({"verif-hash": secret}, secret, body)


def _zendesk(secret: str, body: bytes, now: int) -> Signed:
    signature = _b64(secret.encode(), str(now).encode() + body)
    header = "x-zendesk-webhook-signature"
    return Signed({header: signature, f"{header}-timestamp": str(now)}, signature, body)


def _sinch(secret: str, body: bytes, now: int) -> Signed:
    signature = _b64(secret.encode(), body + f".nonce-1.{now}".encode())
    header = "x-sinch-webhook-signature"
    headers = {header: signature, f"{header}-nonce": "nonce-1", f"{header}-timestamp": str(now)}
    return Signed(headers | {f"{header}-algorithm": "HmacSHA256"}, signature, body)


def _sinch_voice(secret: str, body: bytes, now: int) -> Signed:
    digest = b64encode(md5(body).digest()).decode()
    content = f"POST\n{digest}\napplication/json\nx-timestamp:{now}\n/callbacks/acme"
    signature = _b64(b64decode(secret), content.encode())
    return Signed({"authorization": f"application KEY:{signature}", "x-timestamp": str(now)}, signature, body)


def _plivo_v2(secret: str, body: bytes, _: int) -> Signed:
    signature = _b64(secret.encode(), f"{PUBLIC_URL}/callbacks/acme12345".encode())
    return Signed({"x-plivo-signature-v2": signature, "x-plivo-signature-v2-nonce": "12345"}, signature, body)


def _adyen(secret: str, body: bytes, _: int) -> Signed:
    document, signature = orjson.loads(body), ""
    for wrapped in document["notificationItems"]:
        item = wrapped["NotificationRequestItem"]
        names = ["pspReference", "originalReference", "merchantAccountCode", "merchantReference"]
        values = [item.get(name, "") for name in names]
        values += [str(item["amount"]["value"]), item["amount"]["currency"], item["eventCode"], item["success"]]
        signature = _b64(bytes.fromhex(secret), ":".join(values).encode())
        item["additionalData"]["hmacSignature"] = signature
    return Signed({}, signature, orjson.dumps(document))


_HUB = Signer(_of_body("x-hub-signature-256", "sha256="), header="x-hub-signature-256", prefix="sha256=")
_IN_SECONDS = {"unit": "s", "tolerance": 300.0}


def _standard_signer(prefix: str) -> Signer:
    signed_headers = (f"{prefix}-id", f"{prefix}-timestamp")
    return Signer(
        _standard(prefix),
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        other="whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZQ==",
        header=f"{prefix}-signature",
        prefix="v1,",
        signed_headers=signed_headers,
        signs_time=True,
    )


SIGNERS: Mapping[str, Signer] = {
    "standard-webhooks": _standard_signer("webhook"),
    "svix": _standard_signer("svix"),
    "openai": _standard_signer("webhook"),
    "replicate": _standard_signer("webhook"),
    "github": _HUB,
    "meta": _HUB,
    "stripe": Signer(_in_pairs("stripe-signature"), header="stripe-signature", signs_time=True),
    "mux": Signer(_in_pairs("mux-signature"), header="mux-signature", signs_time=True),
    "slack": Signer(
        _v0("x-slack-signature", "x-slack-request-timestamp"),
        header="x-slack-signature",
        prefix="v0=",
        signed_headers=("x-slack-request-timestamp",),
        signs_time=True,
    ),
    "zoom": Signer(
        _v0("x-zm-signature", "x-zm-request-timestamp"),
        header="x-zm-signature",
        prefix="v0=",
        signed_headers=("x-zm-request-timestamp",),
        signs_time=True,
        options=_IN_SECONDS,
    ),
    "shopify": Signer(_of_body("x-shopify-hmac-sha256", base64=True), header="x-shopify-hmac-sha256"),
    "twilio": Signer(_twilio, header="x-twilio-signature"),
    "square": Signer(_square, header="x-square-hmacsha256-signature"),
    "paystack": Signer(_of_body("x-paystack-signature", algorithm="sha512"), header="x-paystack-signature"),
    "flutterwave": Signer(_flutterwave, "a-secret-hash", header="verif-hash", signs_body=False),
    "flutterwave-v4": Signer(_of_body("flutterwave-signature", base64=True), header="flutterwave-signature"),
    "zendesk": Signer(
        _zendesk,
        header="x-zendesk-webhook-signature",
        signed_headers=("x-zendesk-webhook-signature-timestamp",),
        signs_time=True,
        options=_IN_SECONDS,
    ),
    "sinch": Signer(
        _sinch,
        header="x-sinch-webhook-signature",
        signed_headers=("x-sinch-webhook-signature-nonce", "x-sinch-webhook-signature-timestamp"),
        signs_time=True,
        options=_IN_SECONDS,
    ),
    "sinch-voice": Signer(
        _sinch_voice,
        secret="dm9pY2Ugc2VjcmV0",
        other="YW5vdGhlcg==",
        header="authorization",
        signed_headers=("content-type", "x-timestamp"),
        signs_time=True,
        options=_IN_SECONDS,
    ),
    "plivo-v2": Signer(
        _plivo_v2,
        header="x-plivo-signature-v2",
        signed_headers=("x-plivo-signature-v2-nonce",),
        signs_body=False,
    ),
    "adyen": Signer(_adyen, secret="44782DEF", other="00FF", signs_body=False, body=ADYEN_BODY),
    "termii": Signer(_of_body("x-termii-signature", algorithm="sha512"), header="x-termii-signature"),
}
"""By the preset's name; a new preset gets its tests by a line here."""
