"""Fingerprints of credentials, by which a change of them is noticed without storing them."""

from functools import cache
from hashlib import scrypt

_SALT = b"callback-receiver: credentials"
_FINGERPRINT_DIGITS = 16


@cache
def fingerprint_credentials(credentials: bytes) -> str:
    """Return the first hexadecimal digits of the scrypt (RFC 7914) of credentials; "" for none.

    A password may be short, so that a plain hash of it could be guessed. scrypt takes about 10 ms, once per value.
    """
    if not credentials:
        return ""
    return scrypt(credentials, salt=_SALT, n=1 << 12, r=8, p=1).hex()[:_FINGERPRINT_DIGITS]
