"""Signers of the families with public keys, the documents with their keys, and forged tokens with valid signatures."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from zlib import crc32

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.fuzz.deliveries import JSON, FuzzRequest
from tests.fuzz.signing import Timestamp
from tests.support.signers import TARGET
from tests.support.signing_keys import (
    build_certificate,
    build_jwks,
    encode_base64url,
    export_jwk,
    get_ec_key,
    get_rsa_key,
)

KEYS_URL = "https://acme.example/jwks.json"
PAYPAL_URL = "https://api.paypal.com/v1/notifications/certs/CERT-1"
SNS_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem"
TOPIC = "arn:aws:sns:us-east-1:123456789012:jobs"
WEBHOOK_ID = "WH-1"
SNS_FIELDS = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
SNS_BODY = orjson.dumps(
    {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": TOPIC,
        "Subject": "job-1",
        "Message": "done",
        "Timestamp": "2026-11-29T12:00:00.000Z",
        "SignatureVersion": "2",
        "SigningCertURL": SNS_URL,
    }
)
_CERTIFICATE = build_certificate(get_rsa_key(), datetime(2020, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC))
KEY_DOCUMENTS: Mapping[str, bytes] = {
    KEYS_URL: build_jwks(
        export_jwk(get_rsa_key(), kid="rsa"),
        export_jwk(get_ec_key(), kid="ec"),
        {"kty": "oct", "kid": "oct", "k": encode_base64url(b"a shared secret")},
    ),
    PAYPAL_URL: _CERTIFICATE,
    SNS_URL: _CERTIFICATE,
}


def _sign_rsa(content: bytes, *, valid: bool = True) -> bytes:
    return get_rsa_key(0 if valid else 1).sign(content, padding.PKCS1v15(), hashes.SHA256())


def sign_rsa(valid: bool, body: bytes, at: Timestamp) -> FuzzRequest:
    """Sign timestamp and body by the RSA key of the JWKS."""
    signature = b64encode(_sign_rsa(f"{at}.".encode() + body, valid=valid)).decode()
    headers = {"x-acme-signature": signature, "x-acme-timestamp": str(at), "x-acme-key-id": "rsa"}
    return FuzzRequest(TARGET, {"content-type": JSON} | headers, body)


def sign_ecdsa(valid: bool, body: bytes, at: Timestamp) -> FuzzRequest:
    """Sign timestamp and body by ECDSA."""
    der = get_ec_key(0 if valid else 1).sign(f"{at}.".encode() + body, ec.ECDSA(hashes.SHA256()))
    headers = {"x-acme-signature": b64encode(der).decode(), "x-acme-timestamp": str(at)}
    return FuzzRequest(TARGET, {"content-type": JSON} | headers, body)


def _sign_es256(head: bytes, payload: bytes, *, valid: bool = True) -> tuple[str, str]:
    """Return the header and the signature of a token, both encoded."""
    encoded_head = encode_base64url(head)
    content = f"{encoded_head}.{encode_base64url(payload)}".encode()
    der = get_ec_key(0 if valid else 1).sign(content, ec.ECDSA(hashes.SHA256()))
    return encoded_head, encode_base64url(b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(der)))


def sign_jws(valid: bool, body: bytes, at: Timestamp) -> FuzzRequest:
    """Sign timestamp and body by a detached JWS."""
    head, signature = _sign_es256(b'{"alg":"ES256","kid":"ec"}', f"{at}.".encode() + body, valid=valid)
    headers = {"x-acme-jws": f"{head}..{signature}", "x-acme-timestamp": str(at)}
    return FuzzRequest(TARGET, {"content-type": JSON} | headers, body)


def _build_token_request(head: bytes, claims: bytes, body: bytes, *, valid: bool = True) -> FuzzRequest:
    content = f"{encode_base64url(head)}.{encode_base64url(claims)}"
    token = f"{content}.{encode_base64url(_sign_rsa(content.encode(), valid=valid))}"
    return FuzzRequest(TARGET, {"content-type": JSON, "authorization": f"Bearer {token}"}, body)


def sign_key_jwt(valid: bool, body: bytes, at: Timestamp) -> FuzzRequest:
    """Sign claims for our audience with the body's hash, by RS256."""
    claims = {"iat": at, "aud": "us", "iss": "acme", "digest": sha256(body).hexdigest()}
    return _build_token_request(b'{"alg":"RS256","kid":"rsa"}', orjson.dumps(claims), body, valid=valid)


def build_forged_key_jwts(body: bytes, now: int) -> Sequence[FuzzRequest]:
    """Return tokens with valid signatures whose header or claims must be rejected."""
    valid_head = b'{"alg":"RS256","kid":"rsa"}'
    valid_claims: dict[str, Any] = {"iat": now, "aud": "us", "iss": "acme", "digest": sha256(body).hexdigest()}
    heads = [
        *(b'{"alg":%b,"kid":"rsa"}' % name for name in (b'"none"', b'"HS256"', b'"PS256"', b'"ES256"', b"null", b"[]")),
        *(b'{"alg":"RS256","kid":%b}' % name for name in (b'"ec"', b'"oct"', b'"x"')),
        *(
            b'{"alg":"RS256","alg":"RS256"}',
            b'{"alg":"RS256","crit":["b64"],"b64":false}',
            b'{"alg":"RS256","b64":true}',
        ),
        *(b'{"alg":"RS256","crit":[]}', b'{"alg":"RS256","crit":{}}', b"[" * 4_000, b"\xff", b"", b'{"alg":"RS256"}x'),
    ]
    values: dict[str, Sequence[Any]] = {
        "aud": ("them", ["them"], None, {}, 3, ["us", 3][1:]),
        "iss": ("other", ["acme"], None, 1),
        "digest": ("", None, ["x"], sha256(body).hexdigest().upper()),
        "iat": (now - 400, now + 400, str(now), None, True, [], 2**70, -(2**70)),
        "exp": (now, now - 1, None, "never", []),
        "nbf": (now + 400, "now", None, {}),
    }
    claim_sets = [valid_claims | {name: value} for name, choices in values.items() for value in choices]
    raw = [*map(_dump, claim_sets), b'{"iat":%d,"iat":%d}' % (now, now), b"[]", b"null", b"", b"{" * 4_000]
    return [_build_token_request(head, _dump(valid_claims), body) for head in heads] + [
        _build_token_request(valid_head, claims, body) for claims in raw
    ]


def _dump(claims: Mapping[str, Any]) -> bytes:
    return json.dumps(claims).encode()


def sign_sns(valid: bool, body: bytes, _: Timestamp) -> FuzzRequest:
    """Sign a message of SNS; a body of another kind becomes the text of a message without a subject."""
    message = orjson.loads(SNS_BODY)
    if body != SNS_BODY:
        message |= {"Subject": "", "Message": body.decode("latin-1")}
    content = "".join(f"{name}\n{message[name]}\n" for name in SNS_FIELDS).encode()
    message["Signature"] = b64encode(_sign_rsa(content, valid=valid)).decode()
    return FuzzRequest(TARGET, {"content-type": "text/plain; charset=UTF-8"}, orjson.dumps(message))


def sign_paypal(valid: bool, body: bytes, at: Timestamp) -> FuzzRequest:
    """Sign the checksum of the body with the id and the time of the transmission."""
    nonce = sha256(body).hexdigest()
    is_time = isinstance(at, int) and 0 <= at < 2**34
    time = datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if is_time else at
    signature = _sign_rsa(f"{nonce}|{time}|{WEBHOOK_ID}|{crc32(body)}".encode(), valid=valid)
    headers = {
        "paypal-transmission-sig": b64encode(signature).decode(),
        "paypal-transmission-id": nonce,
        "paypal-transmission-time": str(time),
        "paypal-cert-url": PAYPAL_URL,
    }
    return FuzzRequest(TARGET, {"content-type": JSON} | headers, body)
