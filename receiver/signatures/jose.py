"""What JWTs (RFC 7519) and detached JWSs (RFC 7515) have in common: headers, algorithms and strict decoding.

A library would do a small part of this: the algorithm follows from the key, claims are checked as of the receive time,
and nothing but one spelling of a token is accepted. The cryptography itself is that of `cryptography`.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from receiver.signatures.base import InvalidSignature
from receiver.signatures.public_keys import (
    ECDSA,
    ED25519,
    RSA,
    VerificationKey,
    Verify,
    build_ecdsa_verify,
    build_rsa_verify,
    decode_base64url,
    verify_ed25519,
)

MAX_TOKEN_BYTES = 16 << 10
HMAC_HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
"""The hash functions of the algorithms that use a shared secret."""
_VERIFY_RAW_ECDSA = build_ecdsa_verify(signature_format="raw")
_BITS = ("256", "384", "512")
_VERIFICATIONS: Mapping[str, tuple[str, Verify]] = {
    **{f"RS{bits}": (RSA, build_rsa_verify(f"sha{bits}")) for bits in _BITS},
    **{f"PS{bits}": (RSA, build_rsa_verify(f"sha{bits}", "pss")) for bits in _BITS},
    **{f"ES{bits}": (ECDSA, _VERIFY_RAW_ECDSA) for bits in _BITS},
    "EdDSA": (ED25519, verify_ed25519),
    "Ed25519": (ED25519, verify_ed25519),
}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
ALGORITHMS = (*HMAC_HASHES, *_VERIFICATIONS)
"""The algorithms that can be configured. `none` is not among them."""
# An RSA key is for one padding, and providers that use PSS say so.
_DEFAULT_ALGORITHMS = frozenset(_VERIFICATIONS) - {f"PS{bits}" for bits in _BITS}


@dataclass(frozen=True, slots=True)
class JoseHeader:
    """The header of a token: `b64` is False for a payload that is signed as it is (RFC 7797)."""

    algorithm: str
    key_id: str = ""
    jwks_url: str = ""
    b64: bool = True


def find_verify(algorithm: str, key: VerificationKey, allowed: Collection[str]) -> Verify | None:
    """Return the verification by an algorithm; None if the algorithm is not one of the key's.

    Args:
        algorithm: the algorithm that a token names.
        key: the key, whose type, curve and purpose decide.
        allowed: the configured algorithms; empty for those that are usual for the type of the key.
    """
    kind, verify = _VERIFICATIONS.get(algorithm, (None, None))
    if kind != key.kind:
        return None
    if kind == ECDSA and _CURVES[algorithm] != key.public_key.curve.name:  # type: ignore[union-attr]  # an ECDSA key
        return None
    if key.jwt_algorithm and kind != ED25519 and key.jwt_algorithm != algorithm:
        return None
    return verify if algorithm in (allowed or {key.jwt_algorithm, *_DEFAULT_ALGORITHMS}) else None


def find_algorithm_errors(algorithms: Sequence[str], *, has_secrets: bool) -> list[str]:
    """Return the error of configured algorithms that need another kind of key."""
    foreign = [name for name in algorithms if (name in HMAC_HASHES) is not has_secrets]
    kind = "keys, jwks_url or certificate_url" if has_secrets else "secrets"
    return [f"{', '.join(foreign)}: Requires {kind}."] if foreign else []


@lru_cache(maxsize=256)
def parse_header(encoded: bytes, *, allows_b64: bool) -> JoseHeader:
    """Return the header of a token from base64url. A signer's headers are few and repeat.

    Args:
        encoded: the header.
        allows_b64: whether the payload may be signed as it is, which the header then states.

    Raises:
        InvalidSignature: it is malformed, or has extensions that are not supported.
    """
    header = parse_object(encoded, "alg")
    texts = {name: value for name in ("alg", "kid", "jku") if isinstance(value := header.get(name), str)}
    if "alg" not in texts:
        raise InvalidSignature("alg", "The token names no algorithm.")
    has_b64, b64 = "b64" in header, header.get("b64", True)
    is_supported = header.get("crit") == (["b64"] if has_b64 else None) and (allows_b64 or not has_b64)
    if not is_supported or not isinstance(b64, bool):
        raise InvalidSignature("crit", "The token has critical extensions, which are not supported.")
    return JoseHeader(texts["alg"], texts.get("kid", ""), texts.get("jku", ""), b64)


def parse_object(encoded: bytes, part: str) -> dict[str, Any]:
    """Return the JSON object in base64url.

    Raises:
        InvalidSignature: it is no object in canonical base64url, or has a member twice.
    """
    try:
        text = decode_part(encoded, part).decode()
        document = json.loads(
            text, object_pairs_hook=_build_object, parse_constant=_refuse_constant, parse_float=_parse_number
        )
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidSignature(part, "A part of the token is not a JSON object without repeated names.")
    return document


def decode_part(encoded: bytes, part: str) -> bytes:
    """Decode a part of a token.

    Raises:
        InvalidSignature: it is not canonical base64url.
    """
    try:
        return decode_base64url(encoded)
    except ValueError:
        raise InvalidSignature(part, "The token is not canonical base64url.") from None


def _build_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a repeated name")
    return members


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parse_number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is beyond all numbers")
    return number
