"""Fingerprints of credentials, by which a change of them is noticed without storing them."""

import hmac

_LABEL = b"callback-receiver: credentials\0"
_FINGERPRINT_DIGITS = 16


def fingerprint_credentials(credentials: bytes, key: bytes) -> str:
    """Return the first hexadecimal digits of the HMAC-SHA256 of credentials; "" for none.

    A password may be short, so that a plain hash of it could be guessed. Nobody can guess it without `key`, which is
    not stored with the fingerprints.
    """
    if not credentials:
        return ""
    return hmac.digest(key, _LABEL + credentials, "sha256").hex()[:_FINGERPRINT_DIGITS]
