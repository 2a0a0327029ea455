"""Credentials: fingerprints, by which a change is noticed without storing them, and the secrets among them."""

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

_LABEL = b"callback-receiver: credentials\0"
_FINGERPRINT_DIGITS = 16
_SECRET_HEADER = re.compile(r"auth|key|token|secret|password|cookie", re.IGNORECASE)


def fingerprint_credentials(credentials: bytes, key: bytes) -> str:
    """Return the first hexadecimal digits of the HMAC-SHA256 of credentials; "" for none.

    A password may be short, so that a plain hash of it could be guessed. Nobody can guess it without `key`, which is
    not stored with the fingerprints.
    """
    if not credentials:
        return ""
    return hmac.digest(key, _LABEL + credentials, "sha256").hex()[:_FINGERPRINT_DIGITS]


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
