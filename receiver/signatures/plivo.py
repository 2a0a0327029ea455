"""Plivo's signature V3: HMAC-SHA256 over the URL, its sorted query, the form's sorted parameters and a nonce.

The rule is that of https://www.plivo.com/docs and of Plivo's own library. The time is not signed, so that a callback
never grows stale.
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.account_tokens import MAX_PARAMETERS, AccountScheme, parse_form, with_public_url
from receiver.signatures.base import NO_DOCUMENTS, SignatureRefused

_SIGNATURE = "x-plivo-signature-v3"
_NONCE = "x-plivo-signature-v3-nonce"


@dataclass(frozen=True, slots=True)
class PlivoV3(AccountScheme):
    """Verifies callbacks, sent by POST or GET, against any of several live auth tokens."""

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        callback = with_public_url(self.public_url, callback)
        for name in (_SIGNATURE, _NONCE):
            if not callback.headers.get(name):
                raise SignatureRefused(name, f"the header {name} is missing")
        content = _content(callback)
        given = [value.strip().encode("latin-1", "replace") for value in callback.headers[_SIGNATURE].split(",")]
        for index, key in enumerate(self._keys):
            wanted = b64encode(hmac.digest(key, content, "sha256"))
            if any(hmac.compare_digest(wanted, value) for value in given):
                return index
        raise SignatureRefused(_SIGNATURE, "no signature matches any live auth token")


def _content(callback: IncomingCallback) -> bytes:
    """Give what Plivo signs; a form stands behind the query, parted from it by a full stop where there is one."""
    form = "".join(f"{name}{value}" for name, value in sorted(parse_form(callback)))
    query = _sorted_query(callback.query)
    base = callback.url.partition("?")[0]
    if callback.body:
        base += f"?{query}.{form}" if query else f"?{form}"
    elif query:
        base += f"?{query}"
    try:
        return f"{base}.{callback.headers[_NONCE]}".encode()
    except UnicodeEncodeError:
        raise SignatureRefused("url", "the URL or the nonce is no valid Unicode") from None


def _sorted_query(query: str) -> str:
    """Give the query's parameters decoded and sorted by name and value."""
    try:
        params = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise SignatureRefused("url", "the URL's query is malformed") from None
    return "&".join(f"{name}={value}" for name, value in sorted(params))
