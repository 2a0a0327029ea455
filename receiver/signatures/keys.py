"""Public keys, and the strict decoding that every scheme shares."""

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
        BadSecret: `raw` has another length.
    """

    raw: bytes
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise InvalidSecret("an ed25519 public key has 32 bytes")
        object.__setattr__(self, "_key", Ed25519PublicKey.from_public_bytes(self.raw))

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Whether the key's owner made `signature`, of whatever length, over `content`."""
        try:
            self._key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


def decode(text: bytes, encoding: str) -> bytes | None:
    """Decode strictly: base64 must be canonical, so that one signature has one text."""
    try:
        if encoding == "hex":
            return binascii.unhexlify(text)
        decoded = b64decode(text, validate=True)
    except ValueError:
        return None
    return decoded if b64encode(decoded) == text else None
