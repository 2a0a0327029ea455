"""ed25519 public keys, and the strict decoding of signatures that all schemes share."""

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from receiver.signatures.base import InvalidSecret


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An ed25519 public key of 32 bytes (RFC 8032).

    Raises:
        InvalidSecret: `raw` does not have 32 bytes.
    """

    raw: bytes
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise InvalidSecret("An ed25519 public key must have 32 bytes.")
        object.__setattr__(self, "_key", Ed25519PublicKey.from_public_bytes(self.raw))

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Return whether `signature`, which may have any length, is this key's signature of `content`."""
        try:
            self._key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


def decode_strict(text: bytes, encoding: str) -> bytes | None:
    """Decode hex or base64, or return None for malformed text.

    Hex may be in either case. Base64 must be canonical: Python's decoder ignores the unused bits of the last character,
    so that several texts would otherwise decode to the same signature.
    """
    try:
        if encoding == "hex":
            return binascii.unhexlify(text)
        decoded = b64decode(text, validate=True)
    except ValueError:
        return None
    return decoded if b64encode(decoded) == text else None
