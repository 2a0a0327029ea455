"""Plivo's signature V3: HMAC-SHA256 of the URL, its sorted query, the form's sorted parameters and a nonce.

The rule is that of https://www.plivo.com/docs and of Plivo's own library. No timestamp is signed, so the age of a
callback is not checked.
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.account_tokens import MAX_PARAMETERS, AccountScheme, parse_form, with_public_url
from receiver.signatures.base import NO_DOCUMENTS, InvalidSignature, read_header
from receiver.signatures.coverage import Coverage

SIGNATURE_HEADER = "x-plivo-signature-v3"
NONCE_HEADER = "x-plivo-signature-v3-nonce"


@dataclass(frozen=True, slots=True)
class PlivoV3(AccountScheme):
    """Plivo's signature V3 of callbacks sent by POST or GET."""

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        callback = with_public_url(self.public_url, callback)
        signature_list, _ = [read_header(callback, name) for name in (SIGNATURE_HEADER, NONCE_HEADER)]
        content = build_content(callback)
        # The header may contain several signatures, separated by commas, as in Plivo's own library.
        signatures = [value.strip().encode("latin-1", "replace") for value in signature_list.split(",")]
        for index, key in enumerate(self._keys):
            expected = b64encode(hmac.digest(key, content, "sha256"))
            if any(hmac.compare_digest(expected, signature) for signature in signatures):
                return index
        raise InvalidSignature(SIGNATURE_HEADER, "No signature matches any configured auth token.")

    @property
    def coverage(self) -> Coverage:
        return Coverage(form=True, query=True, headers=frozenset({NONCE_HEADER}))

    def normalize_query(self, callback: IncomingCallback) -> bytes:
        return _sort_query(callback.query).encode()

    @property
    def signature_headers(self) -> Sequence[str]:
        return (SIGNATURE_HEADER,)


def build_content(callback: IncomingCallback) -> bytes:
    """Return the content that Plivo signs; a form follows the query, after a full stop if there is a query."""
    form = "".join(f"{name}{value}" for name, value in sorted(parse_form(callback)))
    query = _sort_query(callback.query)
    base = callback.url.partition("?")[0]
    if callback.body:
        base += f"?{query}.{form}" if query else f"?{form}"
    elif query:
        base += f"?{query}"
    try:
        return f"{base}.{callback.headers[NONCE_HEADER]}".encode()
    except UnicodeEncodeError:
        raise InvalidSignature("url", "The URL or the nonce is not valid Unicode.") from None


def _sort_query(query: str) -> str:
    """Return the query's parameters, decoded and sorted by name and value."""
    try:
        params = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise InvalidSignature("url", "The URL's query is malformed.") from None
    return "&".join(f"{name}={value}" for name, value in sorted(params))
