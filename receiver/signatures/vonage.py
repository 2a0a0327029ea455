"""Vonage's signed webhooks: a JWT (HS256) in the header ``authorization`` whose claim ``payload_hash`` names the body.

The rule is that of https://developer.vonage.com/en/getting-started/concepts/webhooks. Of JWT (RFC 7519) it takes what
Vonage uses, strictly: one algorithm, base64url in its one canonical form, and claims read only once they are proven.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import NO_DOCUMENTS, Scheme, SignatureRefused
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE, encode_key

_HEADER = "authorization"


@dataclass(frozen=True, slots=True)
class VonageJWT(Scheme):
    """Verifies callbacks against any of several live signature secrets.

    Args:
        secrets: as text; every one is tried, whatever the claim ``api_key`` says.
        tolerance: seconds between the claim ``iat`` and receipt, either way.

    Raises:
        BadSecret: a secret is empty or no valid Unicode.
    """

    secrets: Sequence[str] = field(repr=False)
    tolerance: float = DEFAULT_TOLERANCE
    _keys: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", tuple(map(encode_key, self.secrets)))

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        head, payload, signature = _parts(callback)
        _check_head(_object(head, "alg"))
        index = self._match(b"%b.%b" % (head, payload), _decoded(signature, "signature"))
        claims = _object(payload, "claims")
        self._check_times(claims, callback.received_at.timestamp())
        if claims.get("payload_hash") != sha256(callback.body).hexdigest():
            raise SignatureRefused("payload_hash", "the claim payload_hash is not the hash of the body")
        return index

    def message_id(self, callback: IncomingCallback) -> str:
        try:
            jti = _object(_parts(callback)[1], "claims").get("jti")
        except SignatureRefused:
            return ""
        return jti if isinstance(jti, str) else ""

    def _match(self, content: bytes, given: bytes) -> int:
        for index, key in enumerate(self._keys):
            if hmac.compare_digest(hmac.digest(key, content, "sha256"), given):
                return index
        raise SignatureRefused("signature", "the token's signature matches no live secret")

    def _check_times(self, claims: Mapping[str, Any], now: float) -> None:
        age = now - _seconds(claims, "iat")
        if abs(age) > self.tolerance:
            raise SignatureRefused("iat", f"signed {age:.0f} s ago; {self.tolerance:.0f} s are tolerated")
        if "exp" in claims and now >= _seconds(claims, "exp"):
            raise SignatureRefused("exp", "the token has expired")


def _parts(callback: IncomingCallback) -> tuple[bytes, bytes, bytes]:
    scheme, _, token = callback.headers.get(_HEADER, "").partition(" ")
    parts = token.encode("latin-1", "replace").split(b".")
    if scheme.lower() != "bearer" or len(parts) != 3:
        raise SignatureRefused(_HEADER, "the header authorization is not Bearer with a signed JWT")
    return parts[0], parts[1], parts[2]


def _check_head(head: Mapping[str, Any]) -> None:
    if head.get("alg") != "HS256":
        raise SignatureRefused("alg", "the token is not signed by HS256")
    if "crit" in head:
        raise SignatureRefused("crit", "the token has critical extensions, of which none is supported")


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    """Give a claim's Unix seconds; JSON has no infinities, and what is beyond a float orjson refuses."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SignatureRefused(name, f"the claim {name} is not a number of seconds")
    return value


def _object(text: bytes, part: str) -> dict[str, Any]:
    try:
        given = orjson.loads(_decoded(text, part))
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise SignatureRefused(part, "the token holds no JSON object")
    return given


def _decoded(text: bytes, part: str) -> bytes:
    try:
        decoded = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        decoded = b""
    if urlsafe_b64encode(decoded).rstrip(b"=") != text:
        raise SignatureRefused(part, "the token is not base64url in its canonical form")
    return decoded
