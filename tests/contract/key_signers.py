"""Signers of providers with public keys, by `cryptography` and PyJWT, and the documents with their keys.

A configured key is the "secret" that selects the private key; where the keys are fetched, it is the name of one.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Any
from zlib import crc32

import jwt
import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.signers import PUBLIC_URL, TARGET, SignedCallback, Signer
from tests.support.signing_keys import (
    build_certificate,
    build_jwks,
    encode_base64url,
    export_der,
    export_jwk,
    export_pem,
    get_ec_key,
    get_rsa_key,
)

NAMES = ("first", "second")
_CERTIFICATE_DATES = datetime(2020, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)
_PAYPAL_URL = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77"
_SNS_URL = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
_CERTIFICATE = build_certificate(get_rsa_key(), *_CERTIFICATE_DATES)


def _build_rsa_jwks(**members: Any) -> bytes:
    return build_jwks(*(export_jwk(get_rsa_key(number), kid=name, **members) for number, name in enumerate(NAMES)))


DOCUMENTS: Mapping[str, bytes] = {
    "https://api.shipengine.com/jwks": _build_rsa_jwks(),
    "https://www.googleapis.com/oauth2/v3/certs": _build_rsa_jwks(use="sig", alg="RS256"),
    "https://webhooks.truelayer.com/.well-known/jwks": build_jwks(
        *(export_jwk(get_ec_key(number, ec.SECP521R1), kid=name) for number, name in enumerate(NAMES))
    ),
    _PAYPAL_URL: _CERTIFICATE,
    _SNS_URL: _CERTIFICATE,
}


def _find_number(secret: str, export: Callable[[Any], str] | None = None) -> int:
    """Return the number of the private key of a configured key; that of an unknown key is 2."""
    keys = [export(get_ec_key(number)).strip() for number in (0, 1)] if export else list(NAMES)
    return keys.index(secret.strip()) if secret.strip() in keys else 2


def _sign_rsa(number: int, content: bytes) -> str:
    return b64encode(get_rsa_key(number).sign(content, padding.PKCS1v15(), hashes.SHA256())).decode()


def _sign_sendgrid(secret: str, body: bytes, now: int) -> SignedCallback:
    key = get_ec_key(_find_number(secret, export_der))
    signature = b64encode(key.sign(f"{now}".encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
    header = "x-twilio-email-event-webhook"
    return SignedCallback({f"{header}-signature": signature, f"{header}-timestamp": str(now)}, signature, body)


def _sign_wise(secret: str, body: bytes, _: int) -> SignedCallback:
    keys = [export_pem(get_rsa_key(number)).strip() for number in (0, 1)]
    number = keys.index(secret.strip()) if secret.strip() in keys else 2
    signature = _sign_rsa(number, body)
    return SignedCallback({"x-signature-sha256": signature}, signature, body)


def _sign_shipengine(secret: str, body: bytes, now: int) -> SignedCallback:
    timestamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = _sign_rsa(_find_number(secret), f"{timestamp}.".encode() + body)
    header = "x-shipengine-rsa-sha256"
    headers = {f"{header}-signature": signature, f"{header}-key-id": secret, "x-shipengine-timestamp": timestamp}
    return SignedCallback(headers, signature, body)


def _sign_truelayer(secret: str, body: bytes, now: int) -> SignedCallback:
    timestamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    header = {"alg": "ES512", "kid": secret, "tl_version": "2", "tl_headers": "X-Tl-Webhook-Timestamp,Content-Type"}
    payload = f"POST /callbacks/acme\nX-Tl-Webhook-Timestamp: {timestamp}\nContent-Type: application/json\n".encode()
    head = encode_base64url(orjson.dumps(header))
    content = f"{head}.{encode_base64url(payload + body)}".encode()
    der = get_ec_key(_find_number(secret), ec.SECP521R1).sign(content, ec.ECDSA(hashes.SHA512()))
    raw = b"".join(number.to_bytes(66, "big") for number in decode_dss_signature(der))
    token = f"{head}..{encode_base64url(raw)}"
    return SignedCallback({"tl-signature": token, "x-tl-webhook-timestamp": timestamp}, token, body)


def _sign_messagebird(secret: str, body: bytes, now: int) -> SignedCallback:
    claims = {
        "iss": "MessageBird",
        "jti": "jti-1",
        "iat": now,
        "nbf": now - 1,
        "exp": now + 301,
        "url_hash": sha256(f"{PUBLIC_URL}{TARGET}".encode()).hexdigest(),
        "payload_hash": sha256(body).hexdigest(),
    }
    token = jwt.encode(claims, secret.ljust(32), algorithm="HS256")
    return SignedCallback({"messagebird-signature-jwt": token}, token, body)


def _sign_plaid(secret: str, body: bytes, now: int) -> SignedCallback:
    kid = orjson.loads(secret)["kid"] if secret.startswith("{") else secret
    claims = {"iat": now, "request_body_sha256": sha256(body).hexdigest()}
    token = jwt.encode(claims, get_ec_key(_find_number(kid)), algorithm="ES256", headers={"kid": kid})
    return SignedCallback({"plaid-verification": token}, token, body)


def _sign_pubsub(secret: str, body: bytes, now: int) -> SignedCallback:
    claims = {
        "iss": "https://accounts.google.com",
        "aud": "https://callbacks.example/callbacks/pubsub",
        "email": "push@project.iam.gserviceaccount.com",
        "email_verified": True,
        "iat": now,
        "exp": now + 300,
    }
    token = jwt.encode(claims, get_rsa_key(_find_number(secret)), algorithm="RS256", headers={"kid": secret})
    return SignedCallback({"authorization": f"Bearer {token}"}, token, body)


def _sign_sns(secret: str, body: bytes, _: int) -> SignedCallback:
    message = orjson.loads(body)
    names = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    content = "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()
    hash_function = hashes.SHA1() if message["SignatureVersion"] == "1" else hashes.SHA256()
    signature = get_rsa_key(_find_number(secret)).sign(content, padding.PKCS1v15(), hash_function)
    text = b64encode(signature).decode()
    return SignedCallback({}, text, body.replace(b'"Signature":""', f'"Signature":"{text}"'.encode()))


def _sign_paypal(secret: str, body: bytes, now: int) -> SignedCallback:
    nonce = sha256(body).hexdigest()[:32]
    time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = _sign_rsa(_find_number(secret), f"{nonce}|{time}|1JE4291016473214C|{crc32(body)}".encode())
    headers = {
        "paypal-transmission-sig": signature,
        "paypal-transmission-id": nonce,
        "paypal-transmission-time": time,
        "paypal-cert-url": _PAYPAL_URL,
        "paypal-auth-algo": "SHA256withRSA",
    }
    return SignedCallback(headers, signature, body)


_build_time_signer = partial(Signer, signs_time=True)
KEY_SIGNERS: Mapping[str, Signer] = {
    "sendgrid": _build_time_signer(
        _sign_sendgrid,
        header="x-twilio-email-event-webhook-signature",
        signed_headers=("x-twilio-email-event-webhook-timestamp",),
    ),
    "wise": Signer(_sign_wise, header="x-signature-sha256"),
    "shipengine": _build_time_signer(
        _sign_shipengine,
        header="x-shipengine-rsa-sha256-signature",
        signed_headers=("x-shipengine-timestamp", "x-shipengine-rsa-sha256-key-id"),
    ),
    "truelayer": _build_time_signer(_sign_truelayer, header="tl-signature", signed_headers=("x-tl-webhook-timestamp",)),
    "messagebird": _build_time_signer(_sign_messagebird, header="messagebird-signature-jwt"),
    "plaid": _build_time_signer(_sign_plaid, header="plaid-verification"),
    "pubsub": _build_time_signer(_sign_pubsub, header="authorization", signs_body=False),
    "sns": Signer(_sign_sns, signs_body=False),
    "paypal": Signer(
        _sign_paypal,
        header="paypal-transmission-sig",
        signed_headers=("paypal-transmission-id", "paypal-transmission-time", "paypal-cert-url"),
    ),
}
NAMED_CERTIFICATES = frozenset({"sns", "paypal"})
"""The providers whose callbacks name the one certificate by which they are verified."""
