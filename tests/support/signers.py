"""Signers of callbacks: a plain signer for each preset, written from its vendor's documentation."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5, sha256
from hashlib import new as new_hash
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from receiver.domain.callbacks import IncomingCallback

FORM = "application/x-www-form-urlencoded"
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
class SignedCallback:
    """A signed callback; `signature` is the text in it that authenticates the sender."""

    headers: dict[str, str]
    signature: str
    body: bytes
    target: str = TARGET

    def to_callback(self, received_at: float, **overrides: Any) -> IncomingCallback:
        """Return the callback as received at a time (Unix seconds)."""
        fields: dict[str, Any] = {
            "method": "POST",
            "target": self.target,
            "headers": {"content-type": "application/json"} | self.headers,
            "body": self.body,
            "received_at": datetime.fromtimestamp(received_at, UTC),
            "public_url": PUBLIC_URL,
        }
        return IncomingCallback(**fields | overrides)


SignFunction = Callable[[str, bytes, int], SignedCallback]


@dataclass(frozen=True, slots=True)
class Signer:
    """How a preset's provider signs.

    Args:
        sign: signs a body with a secret at a time (Unix seconds).
        secret: the secret that signs.
        other_secret: a valid secret that does not sign.
        header: name of the signature's header, or "" if the signature is in the body.
        prefix: prefix of the signature in its header.
        signed_headers: other headers that the signature covers.
        signs_body: whether the signature covers the whole body.
        signs_time: whether the signature covers a timestamp.
        options: settings that are required to check the age.
        body: the default body.
    """

    sign: SignFunction
    secret: str = "a secret of söme length"
    other_secret: str = "another secret"
    header: str = ""
    prefix: str = ""
    signed_headers: tuple[str, ...] = ()
    signs_body: bool = True
    signs_time: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = BODY


def _compute_mac(key: bytes, content: bytes, algorithm: str = "sha256") -> str:
    return b64encode(hmac.digest(key, content, algorithm)).decode()


def _build_body_signer(
    header: str, prefix: str = "", algorithm: str = "sha256", *, base64: bool = False
) -> SignFunction:
    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        digest = hmac.digest(secret.encode(), body, algorithm)
        signature = b64encode(digest).decode() if base64 else digest.hex()
        return SignedCallback({header: prefix + signature}, signature, body)

    return sign


def _build_pairs_signer(header: str) -> SignFunction:
    def sign(secret: str, body: bytes, now: int) -> SignedCallback:
        signature = hmac.new(secret.encode(), f"{now}.".encode() + body, "sha256").hexdigest()
        return SignedCallback({header: f"t={now},v1={signature}"}, signature, body)

    return sign


def _build_v0_signer(header: str, timestamp: str) -> SignFunction:
    def sign(secret: str, body: bytes, now: int) -> SignedCallback:
        signature = hmac.new(secret.encode(), f"v0:{now}:".encode() + body, "sha256").hexdigest()
        return SignedCallback({header: f"v0={signature}", timestamp: str(now)}, signature, body)

    return sign


def _build_standard_webhooks_sign_function(prefix: str) -> SignFunction:
    def sign(secret: str, body: bytes, now: int) -> SignedCallback:
        signature = _compute_mac(b64decode(secret.removeprefix("whsec_")), f"msg_1.{now}.".encode() + body)
        values = {"id": "msg_1", "timestamp": str(now), "signature": f"v1,{signature}"}
        return SignedCallback({f"{prefix}-{name}": value for name, value in values.items()}, signature, body)

    return sign


def _sign_twilio(secret: str, body: bytes, _: int) -> SignedCallback:
    target = f"{TARGET}&bodySHA256={sha256(body).hexdigest()}"
    signature = _compute_mac(secret.encode(), f"{PUBLIC_URL}{target}".encode(), "sha1")
    return SignedCallback({"x-twilio-signature": signature}, signature, body, target)


def _sign_square(secret: str, body: bytes, _: int) -> SignedCallback:
    signature = _compute_mac(secret.encode(), f"{PUBLIC_URL}{TARGET}".encode() + body)
    return SignedCallback({"x-square-hmacsha256-signature": signature}, signature, body)


def _sign_flutterwave(secret: str, body: bytes, _: int) -> SignedCallback:
    return SignedCallback({"verif-hash": secret}, secret, body)


def _sign_zendesk(secret: str, body: bytes, now: int) -> SignedCallback:
    signature = _compute_mac(secret.encode(), str(now).encode() + body)
    header = "x-zendesk-webhook-signature"
    return SignedCallback({header: signature, f"{header}-timestamp": str(now)}, signature, body)


def _sign_sinch(secret: str, body: bytes, now: int) -> SignedCallback:
    signature = _compute_mac(secret.encode(), body + f".nonce-1.{now}".encode())
    header = "x-sinch-webhook-signature"
    headers = {header: signature, f"{header}-nonce": "nonce-1", f"{header}-timestamp": str(now)}
    return SignedCallback(headers | {f"{header}-algorithm": "HmacSHA256"}, signature, body)


def _sign_sinch_voice(secret: str, body: bytes, now: int) -> SignedCallback:
    digest = b64encode(md5(body).digest()).decode()
    content = f"POST\n{digest}\napplication/json\nx-timestamp:{now}\n/callbacks/acme"
    signature = _compute_mac(b64decode(secret), content.encode())
    return SignedCallback({"authorization": f"application KEY:{signature}", "x-timestamp": str(now)}, signature, body)


def _sign_plivo_v2(secret: str, body: bytes, _: int) -> SignedCallback:
    nonce = sha256(body).hexdigest()[:20]
    signature = _compute_mac(secret.encode(), f"{PUBLIC_URL}/callbacks/acme{nonce}".encode())
    return SignedCallback({"x-plivo-signature-v2": signature, "x-plivo-signature-v2-nonce": nonce}, signature, body)


def _sign_box(secret: str, body: bytes, now: int) -> SignedCallback:
    timestamp = datetime.fromtimestamp(now, UTC).isoformat()
    signature = _compute_mac(secret.encode(), body + timestamp.encode())
    headers = {"box-signature-primary": signature, "box-delivery-timestamp": timestamp}
    return SignedCallback(headers, signature, body)


def _build_cloudinary_signer(algorithm: str) -> SignFunction:
    def sign(secret: str, body: bytes, now: int) -> SignedCallback:
        signature = new_hash(algorithm, body + f"{now}{secret}".encode()).hexdigest()
        return SignedCallback({"x-cld-signature": signature, "x-cld-timestamp": str(now)}, signature, body)

    return sign


def _build_hubspot_signer(request: str) -> SignFunction:
    def sign(secret: str, body: bytes, _: int) -> SignedCallback:
        signature = sha256(f"{secret}{request}".encode() + body).hexdigest()
        return SignedCallback({"x-hubspot-signature": signature}, signature, body)

    return sign


def _sign_hubspot_v3(secret: str, body: bytes, now: int) -> SignedCallback:
    content = f"POST{PUBLIC_URL}{TARGET}".encode() + body + f"{now}000".encode()
    signature = _compute_mac(secret.encode(), content)
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": f"{now}000"}
    return SignedCallback(headers, signature, body)


def _sign_mandrill(secret: str, body: bytes, _: int) -> SignedCallback:
    params = "".join(f"{name}{value}" for name, value in sorted(parse_qsl(body.decode(), keep_blank_values=True)))
    signature = _compute_mac(secret.encode(), f"{PUBLIC_URL}{TARGET}{params}".encode(), "sha1")
    return SignedCallback({"x-mandrill-signature": signature, "content-type": FORM}, signature, body)


def _sign_sumsub(secret: str, body: bytes, _: int) -> SignedCallback:
    signature = hmac.digest(secret.encode(), body, "sha512").hex()
    return SignedCallback({"x-payload-digest": signature, "x-payload-digest-alg": "HMAC_SHA512_HEX"}, signature, body)


def _sign_transloadit(secret: str, body: bytes, _: int) -> SignedCallback:
    signature = hmac.digest(secret.encode(), body, "sha384").hex()
    form = urlencode({"transloadit": body, "signature": f"sha384:{signature}"})
    return SignedCallback({"content-type": FORM}, signature, form.encode())


def _sign_adyen(secret: str, body: bytes, _: int) -> SignedCallback:
    document, signature = orjson.loads(body), ""
    for wrapped in document["notificationItems"]:
        item = wrapped["NotificationRequestItem"]
        names = ["pspReference", "originalReference", "merchantAccountCode", "merchantReference"]
        values = [item.get(name, "") for name in names]
        values += [str(item["amount"]["value"]), item["amount"]["currency"], item["eventCode"], item["success"]]
        signature = _compute_mac(bytes.fromhex(secret), ":".join(values).encode())
        item["additionalData"]["hmacSignature"] = signature
    return SignedCallback({}, signature, orjson.dumps(document))


_HUB_SIGNER = Signer(
    _build_body_signer("x-hub-signature-256", "sha256="), header="x-hub-signature-256", prefix="sha256="
)
_AGE_OPTIONS = {"unit": "s", "tolerance": 300.0}


def _build_standard_webhooks_signer(prefix: str) -> Signer:
    signed_headers = (f"{prefix}-id", f"{prefix}-timestamp")
    return Signer(
        _build_standard_webhooks_sign_function(prefix),
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        other_secret="whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZQ==",
        header=f"{prefix}-signature",
        prefix="v1,",
        signed_headers=signed_headers,
        signs_time=True,
    )


SIGNERS: Mapping[str, Signer] = {
    "standard-webhooks": _build_standard_webhooks_signer("webhook"),
    "svix": _build_standard_webhooks_signer("svix"),
    "openai": _build_standard_webhooks_signer("webhook"),
    "replicate": _build_standard_webhooks_signer("webhook"),
    "github": _HUB_SIGNER,
    "meta": _HUB_SIGNER,
    "stripe": Signer(_build_pairs_signer("stripe-signature"), header="stripe-signature", signs_time=True),
    "mux": Signer(_build_pairs_signer("mux-signature"), header="mux-signature", signs_time=True),
    "slack": Signer(
        _build_v0_signer("x-slack-signature", "x-slack-request-timestamp"),
        header="x-slack-signature",
        prefix="v0=",
        signed_headers=("x-slack-request-timestamp",),
        signs_time=True,
    ),
    "zoom": Signer(
        _build_v0_signer("x-zm-signature", "x-zm-request-timestamp"),
        header="x-zm-signature",
        prefix="v0=",
        signed_headers=("x-zm-request-timestamp",),
        signs_time=True,
        options=_AGE_OPTIONS,
    ),
    "shopify": Signer(_build_body_signer("x-shopify-hmac-sha256", base64=True), header="x-shopify-hmac-sha256"),
    "twilio": Signer(_sign_twilio, header="x-twilio-signature"),
    "square": Signer(_sign_square, header="x-square-hmacsha256-signature"),
    "paystack": Signer(_build_body_signer("x-paystack-signature", algorithm="sha512"), header="x-paystack-signature"),
    "flutterwave": Signer(_sign_flutterwave, "a-secret-hash", header="verif-hash", signs_body=False),
    "flutterwave-v4": Signer(_build_body_signer("flutterwave-signature", base64=True), header="flutterwave-signature"),
    "zendesk": Signer(
        _sign_zendesk,
        header="x-zendesk-webhook-signature",
        signed_headers=("x-zendesk-webhook-signature-timestamp",),
        signs_time=True,
        options=_AGE_OPTIONS,
    ),
    "sinch": Signer(
        _sign_sinch,
        header="x-sinch-webhook-signature",
        signed_headers=("x-sinch-webhook-signature-nonce", "x-sinch-webhook-signature-timestamp"),
        signs_time=True,
        options=_AGE_OPTIONS,
    ),
    "sinch-voice": Signer(
        _sign_sinch_voice,
        secret="dm9pY2Ugc2VjcmV0",
        other_secret="YW5vdGhlcg==",
        header="authorization",
        signed_headers=("content-type", "x-timestamp"),
        signs_time=True,
        options=_AGE_OPTIONS,
    ),
    "plivo-v2": Signer(
        _sign_plivo_v2,
        header="x-plivo-signature-v2",
        signed_headers=("x-plivo-signature-v2-nonce",),
        signs_body=False,
    ),
    "box": Signer(
        _sign_box,
        header="box-signature-primary",
        signed_headers=("box-delivery-timestamp",),
        signs_time=True,
        options={"tolerance": 300.0},
    ),
    **{
        name: Signer(
            _build_cloudinary_signer(algorithm),
            header="x-cld-signature",
            signed_headers=("x-cld-timestamp",),
            signs_time=True,
            options={"tolerance": 300.0},
        )
        for name, algorithm in (("cloudinary", "sha1"), ("cloudinary-sha256", "sha256"))
    },
    "docusign": Signer(_build_body_signer("x-docusign-signature-1", base64=True), header="x-docusign-signature-1"),
    "hookdeck": Signer(_build_body_signer("x-hookdeck-signature", base64=True), header="x-hookdeck-signature"),
    "hubspot-v1": Signer(_build_hubspot_signer(""), header="x-hubspot-signature"),
    "hubspot-v2": Signer(_build_hubspot_signer(f"POST{PUBLIC_URL}{TARGET}"), header="x-hubspot-signature"),
    "hubspot-v3": Signer(
        _sign_hubspot_v3,
        header="x-hubspot-signature-v3",
        signed_headers=("x-hubspot-request-timestamp",),
        signs_time=True,
    ),
    "mandrill": Signer(
        _sign_mandrill, header="x-mandrill-signature", signs_body=False, body=b"mandrill_events=%5B%7B%7D%5D&b=a+1"
    ),
    "persona": Signer(
        _build_pairs_signer("persona-signature"),
        header="persona-signature",
        signs_time=True,
        options={"tolerance": 300.0},
    ),
    "sumsub": Signer(_sign_sumsub, header="x-payload-digest", signed_headers=("x-payload-digest-alg",)),
    "transloadit": Signer(_sign_transloadit, signs_body=False),
    "xero": Signer(_build_body_signer("x-xero-signature", base64=True), header="x-xero-signature"),
    "adyen": Signer(_sign_adyen, secret="44782DEF", other_secret="00FF", signs_body=False, body=ADYEN_BODY),
    "termii": Signer(_build_body_signer("x-termii-signature", algorithm="sha512"), header="x-termii-signature"),
}
"""Signers by scheme. A new preset is tested once it has an entry here."""
