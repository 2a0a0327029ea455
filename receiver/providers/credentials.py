"""A name for credentials that tells nothing of them."""

from functools import cache
from hashlib import scrypt

_SALT = b"callback-receiver: credentials"
_DIGITS = 16


@cache
def fingerprint_credentials(credentials: bytes) -> str:
    """Name credentials by the first digits of their scrypt (RFC 7914); "" for none.

    Passwords may be short, so that a plain hash could be tried out. This costs some 10 ms, once for each.
    """
    if not credentials:
        return ""
    return scrypt(credentials, salt=_SALT, n=1 << 12, r=8, p=1).hex()[:_DIGITS]
