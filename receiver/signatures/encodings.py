"""The encodings of signatures: hex, base64 in both alphabets, and base64 of hex.

A signature is compared as text, since it is cheaper to encode the expected one than to decode the others. Therefore a
received signature is first brought into the one text that encoding yields. Signatures that differ in more than case,
alphabet and padding have different texts.
"""

import binascii
from base64 import b64encode
from collections.abc import Callable, Mapping

from receiver.signatures.keys import decode_strict

ENCODINGS = ("hex", "base64", "base64url", "base64-hex")
"""`base64` and `base64url` are the same: either alphabet is accepted, with or without padding."""

_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_STANDARD_CHARACTERS = frozenset(b"+/")


def encode_base64_of_hex(raw: bytes) -> bytes:
    """Return the base64 of the bytes' text in hex, in lower case."""
    return b64encode(binascii.hexlify(raw))


ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "hex": binascii.hexlify,
    "base64": b64encode,
    "base64url": b64encode,
    "base64-hex": encode_base64_of_hex,
}
"""The functions that encode a signature as `normalize_signature` writes it."""


def normalize_signature(text: bytes, encoding: str) -> bytes:
    """Return a received signature in the spelling of `ENCODERS`; text that is malformed may be returned unchanged."""
    if encoding == "hex":
        return text.lower()
    normalized = _normalize_base64(text)
    if encoding != "base64-hex":
        return normalized
    hex_text = decode_strict(normalized, "base64")
    return normalized if hex_text is None else b64encode(hex_text.lower())


def decode_signature(text: bytes, encoding: str) -> bytes | None:
    """Return the bytes of a received signature, or None for malformed text."""
    if encoding == "hex":
        return decode_strict(text, "hex")
    decoded = decode_strict(_normalize_base64(text), "base64")
    return decode_strict(decoded, "hex") if decoded is not None and encoding == "base64-hex" else decoded


def _normalize_base64(text: bytes) -> bytes:
    """Return base64 with the standard alphabet and padding."""
    is_url_safe = b"-" in text or b"_" in text
    if is_url_safe and not _STANDARD_CHARACTERS.isdisjoint(text):
        return text  # a mixture of both alphabets is not base64
    if b"=" not in text:
        text += b"=" * (-len(text) % 4)
    return text.translate(_STANDARD_ALPHABET)
