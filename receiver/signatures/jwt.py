"""Signed JWTs (RFC 7519) by a shared secret or a public key, with claims that hash the body and the URL.

What is accepted follows from the keys: a secret verifies HS256 and its like, an RSA key RS256, and so on; the token's
header only chooses among these. Claims are read only after the signature is verified, and checked as of the receive
time. A token that does not hash the body proves its sender, and says nothing about the body that it came with.
"""

import hashlib
import hmac
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import NO_DOCUMENTS, InvalidSignature, Scheme, format_age_error
from receiver.signatures.coverage import Coverage
from receiver.signatures.jose import (
    HMAC_HASHES,
    MAX_TOKEN_BYTES,
    JoseHeader,
    decode_part,
    find_verify,
    parse_header,
    parse_object,
)
from receiver.signatures.key_sources import KeySource, NumberedKey
from receiver.signatures.sources import ValueSource, VerificationContext, parse_source
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE, encode_key

AUTHORIZATION = "header:authorization"
BODY_HASH = "payload_hash"
"""The claim that usually has the hash of the body."""
_MAX_SECONDS = 1e12
HASH_ALGORITHMS = ("sha256", "sha384", "sha512")
HASH_ENCODINGS: Mapping[str, Callable[[bytes], str]] = {
    "hex": bytes.hex,
    "base64": lambda digest: b64encode(digest).decode(),
    "base64url": lambda digest: urlsafe_b64encode(digest).rstrip(b"=").decode(),
}


@dataclass(frozen=True, slots=True)
class Jwt(Scheme):
    """A signed JWT in a header, the query or the body.

    Args:
        secrets: shared secrets as text, all of which are tried; or none, if there is a `key_source`.
        key_source: the public keys; None for secrets.
        source: the location of the token. In the header ``Authorization`` it follows ``Bearer``.
        algorithms: the algorithms that are accepted; empty for those that are usual for the type of a key.
        audience: the values of which the claim ``aud`` must have one; empty for any.
        issuer: the values of which the claim ``iss`` must be one; empty for any.
        claims: the value that each of these claims must have; of a list, any.
        body_hash: the claim with the hash of the body; "" if the token does not hash it. It may be missing if there is
            no body.
        body_hash_algorithm: one of `HASH_ALGORITHMS`.
        body_hash_encoding: one of `HASH_ENCODINGS`.
        url_hash: the claim with the SHA-256 of the URL in hex; "" if the token does not hash it.
        tolerance: seconds that the claim ``iat`` may be in the future or, without ``exp``, in the past, and the claim
            ``nbf`` may be after it.
        public_url: the URL that the provider calls, up to the path, if it differs from the callback's own.
        body_kind: how a token in the body is read, see `receiver.signatures.recipe.Recipe`.

    Raises:
        InvalidSecret: a secret is empty or not valid Unicode.
        ValueError: `source` is invalid.
    """

    secrets: Sequence[str] = field(default=(), repr=False)
    key_source: KeySource | None = None
    source: str = AUTHORIZATION
    algorithms: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    issuer: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    body_hash: str = ""
    body_hash_algorithm: str = "sha256"
    body_hash_encoding: str = "hex"
    url_hash: str = ""
    tolerance: float = DEFAULT_TOLERANCE
    public_url: str = ""
    body_kind: str = field(default="", compare=False)
    _keys: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    _location: ValueSource = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", tuple(map(encode_key, self.secrets)))
        object.__setattr__(self, "_location", parse_source(self.source))

    def find_documents(self, callback: IncomingCallback) -> Sequence[str]:
        if self.key_source is None:
            return ()
        context = self._build_context(callback)
        parse_header(self._split_token(context)[0], allows_b64=False)
        return self.key_source.find_documents(context)

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        context = self._build_context(callback)
        head, payload, signature = self._split_token(context)
        header = parse_header(head, allows_b64=False)
        content, decoded = b"%b.%b" % (head, payload), decode_part(signature, "signature")
        if self.key_source is None:
            index = self._match_secret(header, content, decoded)
        else:
            keys = self.key_source.find_keys(context, documents, header.key_id)
            index = self._match_key(keys, header, content, decoded)
        claims = parse_object(payload, "claims")
        self._check_times(claims, callback.received_at.timestamp())
        self._check_claims(claims)
        self._check_hashes(claims, context)
        return index

    @property
    def coverage(self) -> Coverage:
        return Coverage(body=bool(self.body_hash), query=bool(self.url_hash))

    @property
    def signature_headers(self) -> Sequence[str]:
        return (self._location.name,) if self._location.kind == "header" else ()

    def with_body_kind(self, kind: str) -> "Jwt":
        return replace(self, body_kind=kind)

    def message_id(self, callback: IncomingCallback) -> str:
        try:
            token = self._split_token(self._build_context(callback))
            jti = parse_object(token[1], "claims").get("jti")
        except InvalidSignature:
            return ""
        return jti if isinstance(jti, str) else ""

    def _build_context(self, callback: IncomingCallback) -> VerificationContext:
        return VerificationContext(callback, self.public_url, body_kind=self.body_kind)

    def _split_token(self, context: VerificationContext) -> tuple[bytes, bytes, bytes]:
        """Return the header, the payload and the signature of the token, all encoded."""
        token = self._location.read_required(context, "token")
        is_bearer = token[:7].lower() == b"bearer "
        parts = token[7 * is_bearer :].split(b".") if len(token) <= MAX_TOKEN_BYTES else []
        if len(parts) != 3 or (self.source.lower() == AUTHORIZATION and not is_bearer):
            bearer = "Bearer with " if self.source.lower() == AUTHORIZATION else ""
            raise InvalidSignature(self._location.part("token"), f"{self._location} is not {bearer}a signed JWT.")
        return parts[0], parts[1], parts[2]

    def _match_secret(self, header: JoseHeader, content: bytes, signature: bytes) -> int:
        hash_name = HMAC_HASHES.get(header.algorithm)
        if hash_name is None or (self.algorithms and header.algorithm not in self.algorithms):
            raise InvalidSignature(
                "alg", f"The token must be signed with {' or '.join(self.algorithms or HMAC_HASHES)}."
            )
        for index, key in enumerate(self._keys):
            if hmac.compare_digest(hmac.digest(key, content, hash_name), signature):
                return index
        raise InvalidSignature("signature", "The token's signature does not match any configured secret.")

    def _match_key(self, keys: Sequence[NumberedKey], header: JoseHeader, content: bytes, signature: bytes) -> int:
        candidates = [
            (index, key, verify)
            for index, key in keys
            if (verify := find_verify(header.algorithm, key, self.algorithms))
        ]
        if not candidates:
            raise InvalidSignature("alg", "The token's algorithm is not one of the provider's public keys.")
        for index, key, verify in candidates:
            if verify(key, signature, content):
                return index
        raise InvalidSignature("signature", "The token's signature does not match any public key.")

    def _check_times(self, claims: Mapping[str, Any], now: float) -> None:
        if "iat" in claims or "exp" not in claims:
            age = now - _get_seconds(claims, "iat")
            # A token may be used until it expires: those of Google Pub/Sub are up to one hour old.
            if age < -self.tolerance or (age > self.tolerance and "exp" not in claims):
                raise InvalidSignature("iat", format_age_error(age, self.tolerance))
        if "exp" in claims and now >= _get_seconds(claims, "exp"):
            raise InvalidSignature("exp", "The token has expired.")
        # The tolerance is for clocks that differ, here as for `iat`.
        if "nbf" in claims and now + self.tolerance < _get_seconds(claims, "nbf"):
            raise InvalidSignature("nbf", "The token is not valid yet.")

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        audience = claims.get("aud")
        if self.audience and not any(value in self.audience for value in _list_texts(audience)):
            raise InvalidSignature("aud", "The token is for another audience.")
        if self.issuer and claims.get("iss") not in self.issuer:
            raise InvalidSignature("iss", "The token is of another issuer.")
        for name, expected in self.claims.items():
            values = expected if isinstance(expected, list) else [expected]
            if not any(type(claims.get(name)) is type(value) and claims[name] == value for value in values):
                raise InvalidSignature(name, f"The claim {name} does not have the configured value.")

    def _check_hashes(self, claims: Mapping[str, Any], context: VerificationContext) -> None:
        body = context.callback.body
        if self.body_hash and (body or self.body_hash in claims):
            digest = hashlib.new(self.body_hash_algorithm, body).digest()
            if not _equals(claims.get(self.body_hash), HASH_ENCODINGS[self.body_hash_encoding](digest)):
                raise InvalidSignature(self.body_hash, f"The claim {self.body_hash} is not the hash of the body.")
        if self.url_hash:
            url = context.encode(context.public_url + context.callback.target)
            if not _equals(claims.get(self.url_hash), hashlib.sha256(url).hexdigest()):
                raise InvalidSignature(self.url_hash, f"The claim {self.url_hash} is not the hash of the URL.")


def _equals(value: object, expected: str) -> bool:
    return isinstance(value, str) and hmac.compare_digest(value.encode(errors="replace"), expected.encode())


def _list_texts(value: object) -> Sequence[str]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, str)]


def _get_seconds(claims: Mapping[str, Any], name: str) -> float:
    """Return a claim's Unix seconds.

    Raises:
        InvalidSignature: it is no number, or beyond any time.
    """
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MAX_SECONDS < value < _MAX_SECONDS:
        raise InvalidSignature(name, f"The claim {name} is not a number of seconds.")
    return value
