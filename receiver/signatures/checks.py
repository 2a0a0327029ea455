"""Signature checks by one key: HMAC, digest, ed25519 or equality, and how a configured secret becomes that key."""

import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence

from receiver.signatures import standard_webhooks
from receiver.signatures.base import InvalidSecret, InvalidSignature
from receiver.signatures.encodings import ENCODERS, decode_signature
from receiver.signatures.keys import PublicKey, decode_strict

SIGNATURE_BYTES = {"sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64, "md5": 16, "ed25519": 64}
"""Length of a signature in bytes, by algorithm. `equals` and `basic` compute no signature."""
HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512", "md5")
"""The algorithms of HMAC and of digests."""
KEY_ENCODINGS = ("utf-8", "hex", "base64")

MAX_PUBLIC_KEY_VERIFICATIONS = 32
"""Limit of verifications per callback: a public key costs many times as much as a secret."""

SignatureCheck = Callable[[bytes, Sequence[bytes]], bool]
"""Returns whether any of the signatures is right for the content."""
NumberedCheck = tuple[int, SignatureCheck]
"""The check by a key, with the key's index."""

_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")


def parse_secret_key(secret: str, algorithm: str, key_encoding: str = "") -> bytes:
    """Return the key that a secret holds; see `receiver.signatures.recipe.Recipe` for the encodings.

    Raises:
        InvalidSecret: the secret does not have the required format.
    """
    if algorithm == "ed25519":
        return _parse_public_key(secret, key_encoding)
    if key_encoding == "base64":
        return standard_webhooks.decode_key(secret)
    try:
        key = binascii.unhexlify(secret) if key_encoding == "hex" else secret.encode()
    except ValueError:
        expected = "hex, two digits per byte" if key_encoding == "hex" else "valid Unicode"
        raise InvalidSecret(f"Must be {expected}.") from None
    if not key:
        raise InvalidSecret("Must not be empty.")
    if algorithm == "basic" and b":" not in key:
        raise InvalidSecret("Must be user:password.")
    return key


def _parse_public_key(secret: str, key_encoding: str) -> bytes:
    encoding = key_encoding or ("hex" if _HEX_KEY.fullmatch(secret) else "base64")
    key = decode_strict(secret.encode("ascii", "replace"), encoding)
    if key is None or len(key) != 32:
        raise InvalidSecret(f"Must be an ed25519 public key: 32 bytes in {key_encoding or 'hex or base64'}.")
    return key


def build_check(
    key: bytes, algorithm: str, encoding: str, max_signatures: int = MAX_PUBLIC_KEY_VERIFICATIONS
) -> SignatureCheck:
    """Return the check of signatures by one key; of ed25519, of at most `max_signatures`.

    The check takes signatures as `receiver.signatures.encodings.normalize_signature` returns them. It encodes the
    expected signature instead of decoding the others, and compares in constant time.
    """
    if algorithm == "ed25519":
        return _build_ed25519_check(key, encoding, max_signatures)
    if algorithm not in SIGNATURE_BYTES:
        return lambda _, signatures: _is_among(key, signatures)
    encode = ENCODERS[encoding]
    if algorithm == "md5":
        return lambda content, signatures: _is_among(
            encode(hashlib.md5(content + key, usedforsecurity=False).digest()), signatures
        )
    return lambda content, signatures: _is_among(encode(hmac.digest(key, content, algorithm)), signatures)


def build_digest_check(algorithm: str, encoding: str) -> SignatureCheck:
    """Return the check of digests of a content that contains the secret."""
    encode, hash_function = ENCODERS[encoding], getattr(hashlib, algorithm)
    return lambda content, signatures: _is_among(
        encode(hash_function(content, usedforsecurity=False).digest()), signatures
    )


def _is_among(expected: bytes, signatures: Sequence[bytes]) -> bool:
    return any(hmac.compare_digest(expected, signature) for signature in signatures)


def _build_ed25519_check(key: bytes, encoding: str, max_signatures: int) -> SignatureCheck:
    public_key = PublicKey(key)

    def verifies(signature: bytes, content: bytes) -> bool:
        decoded = decode_signature(signature, encoding)
        return decoded is not None and public_key.verifies(decoded, content)

    def matches(content: bytes, signatures: Sequence[bytes]) -> bool:
        check_signature_count(signatures, max_signatures)
        return any(verifies(signature, content) for signature in signatures)

    return matches


def check_signature_count(signatures: Sequence[bytes], max_signatures: int) -> None:
    """Check that a public key need not verify too many signatures.

    Raises:
        InvalidSignature: there are more than `max_signatures`.
    """
    if len(signatures) > max_signatures:
        raise InvalidSignature("signature", "There are too many signatures for the number of keys.")
