"""Vonage's signed webhooks: a JWT (HS256) in the header ``authorization`` with the body's hash in ``payload_hash``.

The rule is that of https://developer.vonage.com/en/getting-started/concepts/webhooks. Only the part of JWT (RFC 7519)
that Vonage uses is supported: one algorithm and canonical base64url. Claims are parsed only after the signature is
verified.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import NO_DOCUMENTS, InvalidSignature, Scheme, format_age_error
from receiver.signatures.coverage import Coverage
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE, encode_key

_HEADER = "authorization"


@dataclass(frozen=True, slots=True)
class VonageJWT(Scheme):
    """Vonage's signed JWT.

    Args:
        secrets: signature secrets as text. All of them are tried, whatever the claim ``api_key`` says.
        tolerance: seconds that the claim ``iat`` may differ from the receive time on either side, and the claim
            ``nbf`` may be after it.

    Raises:
        InvalidSecret: a secret is empty or not valid Unicode.
    """

    secrets: Sequence[str] = field(repr=False)
    tolerance: float = DEFAULT_TOLERANCE
    _keys: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", tuple(map(encode_key, self.secrets)))

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        head, payload, signature = _split_token(callback)
        _check_head(_parse_object(head, "alg"))
        index = self._match_secret(b"%b.%b" % (head, payload), _decode_base64url(signature, "signature"))
        claims = _parse_object(payload, "claims")
        self._check_times(claims, callback.received_at.timestamp())
        if claims.get("payload_hash") != sha256(callback.body).hexdigest():
            raise InvalidSignature("payload_hash", "The claim payload_hash is not the hash of the body.")
        return index

    @property
    def coverage(self) -> Coverage:
        return Coverage(body=True)

    @property
    def signature_headers(self) -> Sequence[str]:
        return (_HEADER,)

    def message_id(self, callback: IncomingCallback) -> str:
        try:
            jti = _parse_object(_split_token(callback)[1], "claims").get("jti")
        except InvalidSignature:
            return ""
        return jti if isinstance(jti, str) else ""

    def _match_secret(self, content: bytes, signature: bytes) -> int:
        for index, key in enumerate(self._keys):
            if hmac.compare_digest(hmac.digest(key, content, "sha256"), signature):
                return index
        raise InvalidSignature("signature", "The token's signature does not match any configured secret.")

    def _check_times(self, claims: Mapping[str, Any], now: float) -> None:
        age = now - _get_seconds(claims, "iat")
        if abs(age) > self.tolerance:
            raise InvalidSignature("iat", format_age_error(age, self.tolerance))
        if "exp" in claims and now >= _get_seconds(claims, "exp"):
            raise InvalidSignature("exp", "The token has expired.")
        # The tolerance is for clocks that differ, here as for `iat`.
        if "nbf" in claims and now + self.tolerance < _get_seconds(claims, "nbf"):
            raise InvalidSignature("nbf", "The token is not valid yet.")


def _split_token(callback: IncomingCallback) -> tuple[bytes, bytes, bytes]:
    scheme, _, token = callback.headers.get(_HEADER, "").partition(" ")
    parts = token.encode("latin-1", "replace").split(b".")
    if scheme.lower() != "bearer" or len(parts) != 3:
        raise InvalidSignature(_HEADER, "The header authorization is not Bearer with a signed JWT.")
    return parts[0], parts[1], parts[2]


def _check_head(head: Mapping[str, Any]) -> None:
    if head.get("alg") != "HS256":
        raise InvalidSignature("alg", "The token is not signed with HS256.")
    if "crit" in head:
        raise InvalidSignature("crit", "The token has critical extensions, which are not supported.")


def _get_seconds(claims: Mapping[str, Any], name: str) -> float:
    """Return a claim's Unix seconds.

    The number is finite: JSON has no infinities, and orjson rejects numbers beyond a float.
    """
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidSignature(name, f"The claim {name} is not a number of seconds.")
    return value


def _parse_object(text: bytes, part: str) -> dict[str, Any]:
    try:
        document = orjson.loads(_decode_base64url(text, part))
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise InvalidSignature(part, "A part of the token is not a JSON object.")
    return document


def _decode_base64url(text: bytes, part: str) -> bytes:
    try:
        decoded = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        decoded = b""
    if urlsafe_b64encode(decoded).rstrip(b"=") != text:
        raise InvalidSignature(part, "The token is not canonical base64url.")
    return decoded
