"""Signers of catalog entries: SMS, voice and chat. Written from the documentation of their vendors."""

import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.contract.entry_signer import EntrySigner
from tests.support.signers import PUBLIC_URL, TARGET, SignedCallback, Signer
from tests.support.signing_keys import get_rsa_key

_TELNYX = EntrySigner("telnyx", "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=")
_TWILIO = EntrySigner("twilio-form")


def _encode_base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _sign_messagebird_query(secret: str, query: bytes, now: int) -> SignedCallback:
    """Sign a GET: the token has the hash of the URL with its query, and none of a body."""
    target = f"{TARGET.partition('?')[0]}?{query.decode()}"
    url_hash = sha256(f"{PUBLIC_URL}{target}".encode()).hexdigest()
    claims = {"iss": "MessageBird", "jti": "jti-1", "nbf": now - 1, "exp": now + 301, "url_hash": url_hash}
    parts = ({"alg": "HS256", "typ": "JWT"}, claims)
    content = ".".join(_encode_base64url(json.dumps(part).encode()) for part in parts)
    token = f"{content}.{_encode_base64url(hmac.digest(secret.encode(), content.encode(), 'sha256'))}"
    return SignedCallback({"messagebird-signature-jwt": token}, token, b"", target)


def _sign_plivo_v3(secret: str, body: bytes, _: int) -> SignedCallback:
    """Sign a POST: the URL with its query, the sorted parameters of the form and the nonce, joined by dots."""
    form = "".join(f"{name}{value}" for name, value in sorted(parse_qsl(body.decode())))
    nonce = "nonce-1"
    content = f"{PUBLIC_URL}{TARGET}.{form}.{nonce}"
    signature = b64encode(hmac.digest(secret.encode(), content.encode(), "sha256")).decode()
    return SignedCallback({"x-plivo-signature-v3": signature, "x-plivo-signature-v3-nonce": nonce}, signature, body)


def _sign_prelude(_: str, body: bytes, __: int) -> SignedCallback:
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    signature = _encode_base64url(get_rsa_key(0).sign(body, scheme, hashes.SHA256()))
    return SignedCallback({"x-webhook-signature": f"rsassa-pss-sha256={signature}"}, signature, body)


def _sign_ycloud(secret: str, body: bytes, now: int) -> SignedCallback:
    signature = hmac.digest(secret.encode(), f"{now}.".encode() + body, "sha256").hex()
    return SignedCallback({"ycloud-signature": f"t={now},s={signature}"}, signature, body)


SIGNERS: Mapping[str, Signer] = {
    "messagebird-query": Signer(
        _sign_messagebird_query, header="messagebird-signature-jwt", signs_body=False, signs_time=True
    ),
    "plivo-v3": Signer(_sign_plivo_v3, header="x-plivo-signature-v3", signed_headers=("x-plivo-signature-v3-nonce",)),
    "prelude": Signer(_sign_prelude, header="x-webhook-signature", prefix="rsassa-pss-sha256="),
    "ycloud": Signer(_sign_ycloud, header="ycloud-signature", signs_time=True),
}
ENTRY_SIGNERS: Mapping[str, EntrySigner] = {
    "govuk-notify": EntrySigner("bright-data"),  # the same header with a bearer token
    "messagebird": EntrySigner("messagebird-query"),
    "prelude": EntrySigner("prelude", "the private key of the example"),
    "signalwire": _TWILIO,
    "telnyx": _TELNYX,
    "telnyx-call-control": _TELNYX,
    "telnyx-fax": _TELNYX,
    "twilio": _TWILIO,
    "twilio-voice": _TWILIO,
    "ycloud": EntrySigner("ycloud"),
}
