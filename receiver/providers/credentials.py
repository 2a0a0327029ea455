"""Credentials: fingerprints, by which a change is noticed without storing them, and the secrets among them."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import scrypt
from typing import Any
from urllib.parse import quote, quote_plus

_SALT = b"callback-receiver: credentials"
_FINGERPRINT_DIGITS = 16
_SECRET_HEADER = re.compile(r"auth|key|token|secret|password|cookie", re.IGNORECASE)


@cache
def fingerprint_credentials(credentials: bytes) -> str:
    """Return the first hexadecimal digits of the scrypt (RFC 7914) of credentials; "" for none.

    A password may be short, so that a plain hash of it could be guessed. scrypt takes about 10 ms, once per value.
    """
    if not credentials:
        return ""
    return scrypt(credentials, salt=_SALT, n=1 << 12, r=8, p=1).hex()[:_FINGERPRINT_DIGITS]


def find_secrets(auth: Mapping[str, Any] | None, headers: Mapping[str, str]) -> list[str]:
    """Return the secrets of requests.

    Args:
        auth: the loaded table `auth`, if there is one.
        headers: the headers of every request; those whose names suggest it are secrets.
    """
    secrets = [value for name, value in headers.items() if _SECRET_HEADER.search(name)]
    secret = auth.get("secret") if auth else None
    if secret and auth and auth["scheme"] == "basic":
        secrets += [secret, secret.partition(":")[2], b64encode(secret.encode()).decode()]
    elif secret:
        secrets.append(secret)
    return secrets


def spell_secrets(secrets: Iterable[str]) -> list[str]:
    """Return secrets in all spellings that a response may have: as they are, in a URL and in JSON. Longest first."""
    spellings = {
        spelling
        for secret in secrets
        for spelling in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
    }
    return sorted(spellings, key=len, reverse=True)
