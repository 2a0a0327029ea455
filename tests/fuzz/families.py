"""One provider of each family of schemes: its settings, how it signs, and what its signature holds fast."""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import orjson

from receiver.signatures.fal import JWKS_URL
from tests.fuzz import signing
from tests.fuzz.deliveries import Sent, adyen_contents, form_names_a_job, item_names_a_job, json_names_a_job
from tests.fuzz.signing import PUBLIC, SECRET, TOKEN, Sign
from tests.signers import SIGNERS

JSON_BODY = (
    b'{"id":"job-1","status":"done","at":"2026-11-23T12:00:00Z","detail":{"code":7,"text":"J\xc3\xbcrgen"},"to":["2"]}'
)
FORM_BODY = b"MessageSid=SM1&MessageStatus=delivered&To=%2B2348030000000&Body=a+b%26c&Body=d"
_SAYS_JSON = {
    "reference": "id",
    "status": "status",
    "statuses": {"done": "succeeded"},
    "code": "detail.code",
    "detail": ["detail.text", "to"],
    "occurred_at": "at",
}
_SAYS_FORM = {
    "body": "form",
    "reference": "MessageSid",
    "status": "MessageStatus",
    "statuses": {"delivered": "succeeded"},
}
_SAYS_ADYEN = {
    "items": "notificationItems[].NotificationRequestItem",
    "reference": "additionalData.reference",
    "status": "eventCode",
    "statuses": {"AUTHORISATION": "succeeded"},
}
_JWK = {"kty": "OKP", "crv": "Ed25519", "x": urlsafe_b64encode(PUBLIC).rstrip(b"=").decode()}
DOCUMENTS = {JWKS_URL: orjson.dumps({"keys": [_JWK]})}

Held = tuple[frozenset[Any], object]


@dataclass(frozen=True, slots=True)
class Family:
    """One provider.

    Args:
        signature: its table.
        sign: see `tests.fuzz.signing.Sign`.
        holds: gives the proofs in a delivery, and all else that must stay as it was signed.
        headers: those that are mutated.
        says: the table `callback`.
        body: a good one.
        readable: whether plain code finds a job in a body; it only excuses an answer 200.
        signs_body: whether it is worth while to change a signed body.
        by_item: whether each item is signed for itself, so that one may be missing.
        signs_time: whether a wrong time is refused.
        signs_url: whether the URL is mutated too.
        forged: gives deliveries that are signed rightly, and not to be taken nevertheless.
        malformed: how much of all is signed rightly over a malformed body.
    """

    signature: Mapping[str, Any]
    sign: Sign
    holds: Callable[[Sent], Held]
    headers: Sequence[str]
    says: Mapping[str, Any] = field(default_factory=lambda: _SAYS_JSON)
    body: bytes = JSON_BODY
    readable: Callable[[bytes], bool] = json_names_a_job
    signs_body: bool = True
    by_item: bool = False
    signs_time: bool = False
    signs_url: bool = False
    forged: Callable[[bytes, int], Sequence[Sent]] | None = None
    malformed: float = 0.02

    def table(self) -> dict[str, Any]:
        """Give the provider's table."""
        base_url = "https://api.acme.example"
        return {"kind": "declared", "base_url": base_url, "signature": self.signature, "callback": self.says}

    def still_proves(self, signed: Sent, sent: Sent) -> bool:
        """Whether a mutated delivery has every proof of the signed one, and is the same in all that was signed."""
        (proofs, rest), (proofs_now, rest_now) = self.holds(signed), self.holds(sent)
        kept = proofs_now <= proofs if self.by_item else proofs <= proofs_now
        return kept and rest == rest_now


def _of_preset(name: str, holds: Callable[[Sent], Held] | None = None, *, folds: bool = False, **more: Any) -> Family:
    signer = SIGNERS[name]
    names = (signer.header, *signer.signed_headers)
    return Family(
        signature={"scheme": name, "secrets": [signer.secret], **signer.options},
        sign=signing.by_preset(name),
        holds=holds or partial(_in_headers, names, folds=folds, body=signer.signs_body),
        headers=names,
        signs_body=signer.signs_body or name == "adyen",
        signs_time=signer.signs_time,
        **more,
    )


def _of_form(scheme: str, sign: Sign, holds: Callable[[Sent], Held], headers: Sequence[str]) -> Family:
    signature = {"scheme": scheme, "secrets": [SECRET]}
    return Family(signature, sign, holds, headers, _SAYS_FORM, FORM_BODY, form_names_a_job, signs_url=True)


def _in_headers(names: Sequence[str], sent: Sent, *, folds: bool = False, body: bool = True, url: bool = False) -> Held:
    """Hold the signature in the first header, alone or as one of several, the other headers, body and URL."""
    signature, *others = (sent.headers.get(name, "").strip() for name in names)
    proofs = frozenset((signature.lower() if folds else signature).split(" "))
    return proofs, (others, sent.body if body else None, sent.target if url else None)


def _stripe(sent: Sent) -> Held:
    parts = sent.headers.get("stripe-signature", "").split(",")
    pairs = [tuple(part.strip().partition("=")[::2]) for part in parts]
    times = {value for key, value in pairs if key == "t"}
    return frozenset(value.lower() for key, value in pairs if key == "v1"), (times, sent.body)


def _twilio_form(sent: Sent) -> Held:
    return frozenset({sent.headers.get("x-twilio-signature")}), (sent.target, set(signing.pairs_of(sent.body)))


def _plivo_v2(sent: Sent) -> Held:
    rest = sent.target.partition("?")[0], sent.headers.get("x-plivo-signature-v2-nonce")
    return frozenset({sent.headers.get("x-plivo-signature-v2")}), rest


def _plivo_v3(sent: Sent) -> Held:
    path, _, query = sent.target.partition("?")
    params, nonce = sorted(parse_qsl(query, keep_blank_values=True)), sent.headers.get("x-plivo-signature-v3-nonce")
    proofs = frozenset(part.strip() for part in sent.headers.get("x-plivo-signature-v3", "").split(","))
    return proofs, (path, params, signing.pairs_of(sent.body), nonce)


def _basic(sent: Sent) -> Held:
    scheme, _, credentials = sent.headers.get("authorization", "").partition(" ")
    try:
        return frozenset({b64decode(credentials.strip(" "), validate=True)}), scheme.lower()
    except ValueError:
        return frozenset(), None


def _jwt(sent: Sent) -> Held:
    scheme, _, token = sent.headers.get("authorization", "").partition(" ")
    return frozenset({token}), (scheme.lower(), sent.body)


def _http_message(sent: Sent) -> Held:
    """Hold the members of both headers, of which other labels are of no account."""
    members = {
        part.strip() for name in ("signature", "signature-input") for part in sent.headers.get(name, "").split(",")
    }
    return frozenset(members), (sent.headers.get("content-digest", "").strip(), sent.target, sent.body)


def _adyen(sent: Sent) -> Held:
    """Hold each item by itself: one that was signed may come alone or again, but no other."""
    return adyen_contents(sent.body), None


_FAL = tuple(f"x-fal-webhook-{name}" for name in ("signature", "request-id", "user-id", "timestamp"))
_ED25519 = ("x-acme-signature", "x-acme-timestamp")

FAMILIES: Mapping[str, Family] = {
    "github": _of_preset("github", folds=True),
    "stripe": _of_preset("stripe", _stripe),
    "standard-webhooks": _of_preset("standard-webhooks"),
    "svix": _of_preset("svix"),
    "slack": _of_preset("slack", folds=True),
    "shopify": _of_preset("shopify"),
    "square": _of_preset("square", partial(_in_headers, ["x-square-hmacsha256-signature"], url=True), signs_url=True),
    "twilio-json": _of_preset("twilio", partial(_in_headers, ["x-twilio-signature"], url=True), signs_url=True),
    "twilio-form": _of_form("twilio", signing.twilio_form, _twilio_form, ["x-twilio-signature"]),
    "plivo-v2": _of_preset("plivo-v2", _plivo_v2, signs_url=True),
    "plivo-v3": _of_form(
        "plivo-v3", signing.plivo_v3, _plivo_v3, ["x-plivo-signature-v3", "x-plivo-signature-v3-nonce"]
    ),
    "equals": _of_preset("flutterwave"),
    "basic": Family(
        {"scheme": "basic", "secrets": [f"acme:{SECRET}"]}, signing.basic, _basic, ["authorization"], signs_body=False
    ),
    "ed25519": Family(
        {
            "scheme": "ed25519",
            "secrets": [PUBLIC.hex()],
            "header": "X-Acme-Signature",
            "encoding": "base64",
            "signed": "{timestamp}.{body}",
            "timestamp": "header:X-Acme-Timestamp",
        },
        signing.ed25519,
        partial(_in_headers, _ED25519),
        _ED25519,
        signs_time=True,
    ),
    "jwt": Family(
        {"scheme": "vonage", "secrets": [SECRET]},
        signing.jwt,
        _jwt,
        ["authorization"],
        signs_time=True,
        forged=signing.forged_jwts,
    ),
    "fal": Family({"scheme": "fal"}, signing.fal, partial(_in_headers, _FAL, folds=True), _FAL, signs_time=True),
    "rfc9421": Family(
        {"scheme": "rfc9421", "secrets": [SECRET]},
        signing.http_message,
        _http_message,
        ["signature", "signature-input", "content-digest"],
        signs_time=True,
        signs_url=True,
        forged=signing.forged_messages,
    ),
    "adyen": Family(
        {"scheme": "adyen", "secrets": [SIGNERS["adyen"].secret]},
        signing.by_preset("adyen"),
        _adyen,
        [],
        _SAYS_ADYEN,
        signing.adyen_body(),
        item_names_a_job,
        by_item=True,
    ),
    "token": Family(
        {"scheme": "token", "secrets": [TOKEN]},
        signing.by_token,
        lambda sent: (frozenset(), sent.target),
        [],
        malformed=1.0,
    ),
}
"""By the name that `--family` takes."""
