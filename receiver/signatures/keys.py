"""ed25519 public keys, and the strict decoding of signatures that all schemes share."""

import binascii
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from receiver.signatures.base import InvalidSecret

_FIELD_PRIME = 2**255 - 19
# The y coordinates of the eight points whose order divides 8 (RFC 8032, section 5.1; RFC 7748, section 6.1).
_ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER_Y = frozenset({0, 1, _FIELD_PRIME - 1, _ORDER_8_Y, _FIELD_PRIME - _ORDER_8_Y})


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An ed25519 public key of 32 bytes (RFC 8032).

    Raises:
        InvalidSecret: `raw` does not have 32 bytes, or is a point of small order or not canonical. Anybody can make
            signatures that a key of small order verifies, for any content.
    """

    raw: bytes
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise InvalidSecret("An ed25519 public key must have 32 bytes.")
        y = int.from_bytes(self.raw, "little") & (1 << 255) - 1
        if y >= _FIELD_PRIME or y in _SMALL_ORDER_Y:
            raise InvalidSecret("This ed25519 public key is of small order or not canonical, and proves nothing.")
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
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    # Without excess padding, which strict mode accepts, only the last four characters can be written in another way.
    last_bytes = decoded[-(len(decoded) % 3 or 3) :]
    has_right_length = len(text) == (len(decoded) + 2) // 3 * 4
    return decoded if has_right_length and binascii.b2a_base64(last_bytes, newline=False) == text[-4:] else None
