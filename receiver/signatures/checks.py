"""The keys in secrets, and what proves a signature by one of them: HMAC, md5, ed25519 or plain equality."""

import binascii
import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Sequence

from receiver.signatures import standard_webhooks
from receiver.signatures.base import InvalidSecret
from receiver.signatures.keys import PublicKey, decode

SIZES = {"sha1": 20, "sha256": 32, "sha512": 64, "md5": 16, "ed25519": 64}
"""How many bytes a signature has, by algorithm; `equals` and `basic` have none."""
ENCODINGS = ("hex", "base64")
KEY_ENCODINGS = ("utf-8", "hex", "base64")

SignatureCheck = Callable[[bytes, Sequence[bytes]], bool]

_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")


def parse_secret_key(secret: str, algorithm: str, key_encoding: str = "") -> bytes:
    """Give the key in a secret; see `receiver.signatures.recipe.Recipe`.

    Raises:
        BadSecret: it is not of that form; the message does not contain it.
    """
    if algorithm == "ed25519":
        return _public_key(secret, key_encoding)
    if key_encoding == "base64":
        return standard_webhooks.decode_key(secret)
    try:
        key = binascii.unhexlify(secret) if key_encoding == "hex" else secret.encode()
    except ValueError:
        form = "hex, two digits for each byte" if key_encoding == "hex" else "valid Unicode"
        raise InvalidSecret(f"must be {form}") from None
    if not key:
        raise InvalidSecret("must not be empty")
    if algorithm == "basic" and b":" not in key:
        raise InvalidSecret("must be user:password")
    return key


def _public_key(secret: str, key_encoding: str) -> bytes:
    encoding = key_encoding or ("hex" if _HEX_KEY.fullmatch(secret) else "base64")
    key = decode(secret.encode("ascii", "replace"), encoding)
    if key is None or len(key) != 32:
        raise InvalidSecret(f"must be an ed25519 public key, 32 bytes in {key_encoding or 'hex or base64'}")
    return key


def build_check(key: bytes, algorithm: str, encoding: str) -> SignatureCheck:
    """Give the check by one key of signatures, encoded and hex in lower case, of some content.

    They are compared as they are encoded, in constant time.
    """
    if algorithm == "ed25519":
        return _ed25519_proof(key, encoding)
    if algorithm not in SIZES:
        return lambda _, given: _is_among(key, given)
    encode = binascii.hexlify if encoding == "hex" else b64encode
    if algorithm == "md5":
        return lambda content, given: _is_among(
            encode(hashlib.md5(content + key, usedforsecurity=False).digest()), given
        )
    return lambda content, given: _is_among(encode(hmac.digest(key, content, algorithm)), given)


def _is_among(wanted: bytes, given: Sequence[bytes]) -> bool:
    return any(hmac.compare_digest(wanted, signature) for signature in given)


def _ed25519_proof(key: bytes, encoding: str) -> SignatureCheck:
    public = PublicKey(key)

    def verifies(signature: bytes, content: bytes) -> bool:
        decoded = decode(signature, encoding)
        return decoded is not None and public.verifies(decoded, content)

    return lambda content, given: any(verifies(signature, content) for signature in given)
