"""One provider of each family of schemes: its settings, its signer, and the parts that its signature covers."""

import json
from base64 import b64decode, urlsafe_b64encode
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import orjson

from receiver.signatures.fal import JWKS_URL
from tests.fuzz import key_signing, signing
from tests.fuzz.deliveries import FuzzRequest, extract_adyen_contents, form_names_job, item_names_job, json_names_job
from tests.fuzz.signing import PUBLIC_KEY, SECRET, TOKEN, SignFunction
from tests.support.signers import ADYEN_BODY, SIGNERS
from tests.support.signing_keys import export_pem, get_ec_key

JSON_BODY = (
    b'{"id":"job-1","status":"done","at":"2026-11-23T12:00:00Z","detail":{"code":7,"text":"J\xc3\xbcrgen"},"to":["2"]}'
)
FORM_BODY = b"MessageSid=SM1&MessageStatus=delivered&To=%2B2348030000000&Body=a+b%26c&Body=d"
_JSON_CALLBACK = {
    "reference": "id",
    "status": "status",
    "statuses": {"done": "succeeded"},
    "code": "detail.code",
    "detail": ["detail.text", "to"],
    "occurred_at": "at",
}
_FORM_CALLBACK = {
    "body": "form",
    "reference": "MessageSid",
    "status": "MessageStatus",
    "statuses": {"delivered": "succeeded"},
}
_ADYEN_CALLBACK = {
    "items": "notificationItems[].NotificationRequestItem",
    "reference": "pspReference",
    "status": "eventCode",
    "statuses": {"AUTHORISATION": "succeeded"},
}
_JWK = {"kty": "OKP", "crv": "Ed25519", "x": urlsafe_b64encode(PUBLIC_KEY).rstrip(b"=").decode()}
DOCUMENTS = {JWKS_URL: orjson.dumps({"keys": [_JWK]}), **key_signing.KEY_DOCUMENTS}

SignedParts = tuple[frozenset[Any], object]


@dataclass(frozen=True, slots=True)
class Family:
    """A provider of one family of schemes.

    Args:
        signature: the table `signature`.
        sign: see `tests.fuzz.signing.SignFunction`.
        extract_signed: returns the signatures of a request, and all other parts that they cover.
        headers: the headers to mutate.
        callback_table: the table `callback`.
        body: a valid body.
        names_job: whether an independent check finds a job in a body, which makes a response 200 acceptable.
        signs_body: whether signed bodies are mutated.
        by_item: whether each item has its own signature, so that items may be missing.
        signs_time: whether a wrong time is rejected.
        signs_url: whether the URL is mutated.
        build_forged: returns requests that must be rejected although their signature is right.
        malformed_share: the share of requests with a valid signature of a malformed body.
    """

    signature: Mapping[str, Any]
    sign: SignFunction
    extract_signed: Callable[[FuzzRequest], SignedParts]
    headers: Sequence[str]
    callback_table: Mapping[str, Any] = field(default_factory=lambda: _JSON_CALLBACK)
    body: bytes = JSON_BODY
    names_job: Callable[[bytes], bool] = json_names_job
    signs_body: bool = True
    by_item: bool = False
    signs_time: bool = False
    signs_url: bool = False
    build_forged: Callable[[bytes, int], Sequence[FuzzRequest]] | None = None
    malformed_share: float = 0.02

    def build_table(self) -> dict[str, Any]:
        """Return the provider's table."""
        base_url = "https://api.acme.example"
        return {"kind": "declared", "base_url": base_url, "signature": self.signature, "callback": self.callback_table}

    def is_still_signed(self, signed: FuzzRequest, request: FuzzRequest) -> bool:
        """Return whether a mutated request has all signatures of the signed one and equals it in all covered parts."""
        signatures, parts = self.extract_signed(signed)
        request_signatures, request_parts = self.extract_signed(request)
        signatures = frozenset(map(_normalize_base64, signatures))
        request_signatures = frozenset(map(_normalize_base64, request_signatures))
        if self.by_item:
            return request_signatures <= signatures and parts == request_parts
        return signatures <= request_signatures and parts == request_parts


def _normalize_base64(value: Any) -> Any:
    """Return a signature, or a tuple of texts, in one spelling: base64 may have either alphabet, and padding or not."""
    if isinstance(value, tuple):
        return tuple(map(_normalize_base64, value))
    return value.translate({45: "+", 95: "/"}).rstrip("=") if isinstance(value, str) else value


def _build_preset_family(
    name: str,
    extract_signed: Callable[[FuzzRequest], SignedParts] | None = None,
    *,
    ignore_case: bool = False,
    trust: str = "",
    **options: Any,
) -> Family:
    signer = SIGNERS[name]
    names = (signer.header, *signer.signed_headers)
    return Family(
        signature={"scheme": name, "secrets": [signer.secret], **signer.options} | ({"trust": trust} if trust else {}),
        sign=signing.build_preset_signer(name),
        extract_signed=extract_signed
        or partial(_extract_headers, names, ignore_case=ignore_case, body=signer.signs_body),
        headers=names,
        signs_body=signer.signs_body or name == "adyen",
        signs_time=signer.signs_time,
        **options,
    )


def _build_form_family(
    scheme: str, sign: SignFunction, extract_signed: Callable[[FuzzRequest], SignedParts], headers: Sequence[str]
) -> Family:
    signature = {"scheme": scheme, "secrets": [SECRET]}
    return Family(signature, sign, extract_signed, headers, _FORM_CALLBACK, FORM_BODY, form_names_job, signs_url=True)


def _extract_headers(
    names: Sequence[str], request: FuzzRequest, *, ignore_case: bool = False, body: bool = True, url: bool = False
) -> SignedParts:
    """Return the signatures in the first header, and the other headers, the body and the URL."""
    signature, *others = (request.headers.get(name, "").strip() for name in names)
    signatures = frozenset((signature.lower() if ignore_case else signature).split(" "))
    return signatures, (others, request.body if body else None, request.origin_form if url else None)


def _extract_stripe(request: FuzzRequest) -> SignedParts:
    parts = request.headers.get("stripe-signature", "").split(",")
    pairs = [tuple(part.strip().partition("=")[::2]) for part in parts]
    times = {value for key, value in pairs if key == "t"}
    return frozenset(value.lower() for key, value in pairs if key == "v1"), (times, request.body)


def _extract_persona(request: FuzzRequest) -> SignedParts:
    """Return each signature with the times of its set."""
    signatures = set()
    for text in request.headers.get("persona-signature", "").split(" "):
        pairs = [tuple(part.strip().partition("=")[::2]) for part in text.split(",")]
        times = tuple(value for key, value in pairs if key == "t")
        signatures |= {(*times, value.lower()) for key, value in pairs if key == "v1"}
    return frozenset(signatures), request.body


def _parse_raw_member(body: bytes) -> Any:
    try:
        # Odd bytes and line breaks beside the member do not matter.
        return json.loads(body.removeprefix(BOM_UTF8).decode("latin-1"), strict=False)["data"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _extract_raw_member(request: FuzzRequest) -> SignedParts:
    signature = request.headers.get("x-acme-signature", "").strip().lower()
    return frozenset({signature}), _parse_raw_member(request.body)


def _extract_parameters(request: FuzzRequest) -> SignedParts:
    params = signing.parse_sorted_form(request.body)
    signed = {(name, value) for name, value in params if value and name != "sign"}
    return frozenset(value.lower() for name, value in params if name == "sign"), signed


def _names_raw_job(body: bytes) -> bool:
    return json_names_job(json.dumps(_parse_raw_member(body)).encode())


def _extract_twilio_form(request: FuzzRequest) -> SignedParts:
    return frozenset({request.headers.get("x-twilio-signature")}), (
        request.origin_form,
        set(signing.parse_sorted_form(request.body)),
    )


def _extract_plivo_v2(request: FuzzRequest) -> SignedParts:
    parts = request.origin_form.partition("?")[0], request.headers.get("x-plivo-signature-v2-nonce")
    return frozenset({request.headers.get("x-plivo-signature-v2")}), parts


def _extract_plivo_v3(request: FuzzRequest) -> SignedParts:
    path, _, query = request.origin_form.partition("?")
    params, nonce = sorted(parse_qsl(query, keep_blank_values=True)), request.headers.get("x-plivo-signature-v3-nonce")
    signatures = frozenset(part.strip() for part in request.headers.get("x-plivo-signature-v3", "").split(","))
    return signatures, (path, params, signing.parse_sorted_form(request.body), nonce)


def _extract_basic(request: FuzzRequest) -> SignedParts:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    try:
        return frozenset({b64decode(credentials.strip(" "), validate=True)}), scheme.lower()
    except ValueError:
        return frozenset(), None


def _extract_jwt(request: FuzzRequest) -> SignedParts:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return frozenset({token}), (scheme.lower(), request.body)


def _extract_http_message(request: FuzzRequest) -> SignedParts:
    """Return the members of both signature headers; further labels are ignored."""
    members = {
        part.strip() for name in ("signature", "signature-input") for part in request.headers.get(name, "").split(",")
    }
    return frozenset(members), (request.headers.get("content-digest", "").strip(), request.origin_form, request.body)


def _extract_adyen(request: FuzzRequest) -> SignedParts:
    """Return each item with its signature: signed items may be missing or repeated, but not changed."""
    return extract_adyen_contents(request.body), None


def _extract_sns(request: FuzzRequest) -> SignedParts:
    """Return the signature, and the fields that it covers with the URL of the certificate."""
    try:
        message = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return frozenset(), None
    if not isinstance(message, dict):
        return frozenset(), None
    names = (*key_signing.SNS_FIELDS, "SigningCertURL", "SignatureVersion")
    return frozenset({str(message.get("Signature"))}), [message.get(name) for name in names]


_KEY_HEADERS = ("x-acme-signature", "x-acme-timestamp", "x-acme-key-id")
_PAYPAL_HEADERS = tuple(
    f"paypal-{name}" for name in ("transmission-sig", "transmission-id", "transmission-time", "cert-url")
)
_TIMED_CONTENT = {"signed": "{timestamp}.{body}", "timestamp": "header:X-Acme-Timestamp"}
_FAL_HEADERS = tuple(f"x-fal-webhook-{name}" for name in ("signature", "request-id", "user-id", "timestamp"))
_ED25519_HEADERS = ("x-acme-signature", "x-acme-timestamp")

FAMILIES: Mapping[str, Family] = {
    "github": _build_preset_family("github", ignore_case=True),
    "stripe": _build_preset_family("stripe", _extract_stripe),
    "standard-webhooks": _build_preset_family("standard-webhooks"),
    "svix": _build_preset_family("svix"),
    "slack": _build_preset_family("slack", ignore_case=True),
    "shopify": _build_preset_family("shopify"),
    "square": _build_preset_family(
        "square", partial(_extract_headers, ["x-square-hmacsha256-signature"], url=True), signs_url=True
    ),
    "twilio-json": _build_preset_family(
        "twilio", partial(_extract_headers, ["x-twilio-signature"], url=True), signs_url=True
    ),
    "twilio-form": _build_form_family("twilio", signing.sign_twilio_form, _extract_twilio_form, ["x-twilio-signature"]),
    "plivo-v2": _build_preset_family("plivo-v2", _extract_plivo_v2, signs_url=True, trust="sender"),
    "plivo-v3": _build_form_family(
        "plivo-v3", signing.sign_plivo_v3, _extract_plivo_v3, ["x-plivo-signature-v3", "x-plivo-signature-v3-nonce"]
    ),
    "equals": _build_preset_family("flutterwave"),
    "basic": Family(
        {"scheme": "basic", "secrets": [f"acme:{SECRET}"]},
        signing.sign_basic,
        _extract_basic,
        ["authorization"],
        signs_body=False,
    ),
    "ed25519": Family(
        {
            "scheme": "ed25519",
            "secrets": [PUBLIC_KEY.hex()],
            "header": "X-Acme-Signature",
            "encoding": "base64",
            "signed": "{timestamp}.{body}",
            "timestamp": "header:X-Acme-Timestamp",
        },
        signing.sign_ed25519,
        partial(_extract_headers, _ED25519_HEADERS),
        _ED25519_HEADERS,
        signs_time=True,
    ),
    "jwt": Family(
        {"scheme": "vonage", "secrets": [SECRET]},
        signing.sign_jwt,
        _extract_jwt,
        ["authorization"],
        signs_time=True,
        build_forged=signing.build_forged_jwts,
    ),
    "rsa": Family(
        {
            "scheme": "rsa",
            "header": "X-Acme-Signature",
            "jwks_url": key_signing.KEYS_URL,
            "key_id": "header:X-Acme-Key-Id",
            **_TIMED_CONTENT,
        },
        key_signing.sign_rsa,
        partial(_extract_headers, _KEY_HEADERS),
        _KEY_HEADERS,
        signs_time=True,
    ),
    "ecdsa": Family(
        {"scheme": "ecdsa", "header": "X-Acme-Signature", "keys": [export_pem(get_ec_key())], **_TIMED_CONTENT},
        key_signing.sign_ecdsa,
        partial(_extract_headers, _KEY_HEADERS[:2]),
        _KEY_HEADERS[:2],
        signs_time=True,
    ),
    "jws": Family(
        {"scheme": "jws", "header": "X-Acme-Jws", "jwks_url": key_signing.KEYS_URL, **_TIMED_CONTENT},
        key_signing.sign_jws,
        partial(_extract_headers, ["x-acme-jws", "x-acme-timestamp"]),
        ["x-acme-jws", "x-acme-timestamp"],
        signs_time=True,
    ),
    "jwt-keys": Family(
        {
            "scheme": "jwt",
            "jwks_url": key_signing.KEYS_URL,
            "audience": "us",
            "issuer": "acme",
            "body_hash": "digest",
        },
        key_signing.sign_key_jwt,
        _extract_jwt,
        ["authorization"],
        signs_time=True,
        build_forged=key_signing.build_forged_key_jwts,
    ),
    "sns": Family(
        {"scheme": "sns", "topic_arn": key_signing.TOPIC},
        key_signing.sign_sns,
        _extract_sns,
        [],
        {"reference": "Subject", "status": "Message", "statuses": {"done": "succeeded"}},
        key_signing.SNS_BODY,
        lambda body: b"job-1" in body,
    ),
    "paypal": Family(
        {"scheme": "paypal", "webhook_id": key_signing.WEBHOOK_ID, "trust": "sender", "tolerance": 300},
        key_signing.sign_paypal,
        partial(_extract_headers, _PAYPAL_HEADERS),
        _PAYPAL_HEADERS,
        signs_time=True,
    ),
    "fal": Family(
        {"scheme": "fal"},
        signing.sign_fal,
        partial(_extract_headers, _FAL_HEADERS, ignore_case=True),
        _FAL_HEADERS,
        signs_time=True,
    ),
    "rfc9421": Family(
        {"scheme": "rfc9421", "secrets": [SECRET]},
        signing.sign_http_message,
        _extract_http_message,
        ["signature", "signature-input", "content-digest"],
        signs_time=True,
        signs_url=True,
        build_forged=signing.build_forged_messages,
    ),
    "adyen": Family(
        {"scheme": "adyen", "secrets": [SIGNERS["adyen"].secret]},
        signing.build_preset_signer("adyen"),
        _extract_adyen,
        [],
        _ADYEN_CALLBACK,
        ADYEN_BODY,
        item_names_job,
        by_item=True,
    ),
    "cloudinary": _build_preset_family("cloudinary", ignore_case=True),
    "docusign": _build_preset_family("docusign"),
    "hubspot-v1": _build_preset_family("hubspot-v1", ignore_case=True),
    "hubspot-v3": _build_preset_family(
        "hubspot-v3",
        partial(_extract_headers, ["x-hubspot-signature-v3", "x-hubspot-request-timestamp"], url=True),
        signs_url=True,
    ),
    "persona": _build_preset_family("persona", _extract_persona),
    "sumsub": _build_preset_family("sumsub", ignore_case=True),
    "raw-member": Family(
        {"scheme": "hmac", "header": "X-Acme-Signature", "signed": "{raw:data}", "secrets": [SECRET]},
        signing.sign_raw_member,
        _extract_raw_member,
        ["x-acme-signature"],
        {"reference": "data.id", "status": "data.status", "statuses": {"done": "succeeded"}},
        names_job=_names_raw_job,
    ),
    "sorted-parameters": Family(
        {
            "scheme": "digest",
            "algorithm": "md5",
            "source": "sign",
            "signed": "{sorted_params}&key={secret}",
            "params": {"assignment": "=", "separator": "&", "exclude": ["sign"], "skip_empty": True},
            "secrets": [SECRET],
        },
        signing.sign_parameters,
        _extract_parameters,
        [],
        _FORM_CALLBACK,
        FORM_BODY,
        form_names_job,
    ),
    "token": Family(
        {"scheme": "token", "secrets": [TOKEN]},
        signing.sign_token_url,
        lambda request: (frozenset(), request.origin_form),
        [],
        malformed_share=1.0,
    ),
}
"""Families by the name for `--family`."""
