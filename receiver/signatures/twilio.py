"""Twilio's signature: HMAC-SHA1 of the URL and the form's parameters, or of a URL that contains the body's SHA-256.

The rule is that of https://www.twilio.com/docs/usage/security and of Twilio's own library. No timestamp is signed, so
the age of a callback is not checked.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import parse_qsl

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.account_tokens import MAX_PARAMETERS, AccountScheme, parse_form, with_public_url
from receiver.signatures.base import NO_DOCUMENTS, InvalidSignature, read_header
from receiver.signatures.coverage import Coverage
from receiver.signatures.spellings import decode_query, list_spellings

BODY_HASH = "bodySHA256"
"""The parameter of the URL with the SHA-256 of a body that is not a form, in hex."""
_PUBLIC_URL = re.compile(r"(?P<scheme>[^:/]*)://(?P<host>[^/]*?)(?P<port>:[0-9]+)?(?P<path>/.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Twilio(AccountScheme):
    """Twilio's signature of callbacks with a form, a JSON body or no body."""

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        callback = with_public_url(self.public_url, callback)
        signature = read_header(callback, "x-twilio-signature").encode("latin-1", "replace")
        contents = build_contents(callback)
        for index, key in enumerate(self._keys):
            candidates = [b64encode(hmac.digest(key, content, "sha1")) for content in contents]
            if any(hmac.compare_digest(candidate, signature) for candidate in candidates):
                return index
        raise InvalidSignature("x-twilio-signature", "The signature does not match any configured auth token.")

    def normalize_query(self, callback: IncomingCallback) -> bytes:
        return decode_query(callback.query).encode(errors="surrogateescape")

    @property
    def coverage(self) -> Coverage:
        # The parameters of a form are signed; for any other body, the URL must contain its hash.
        return Coverage(body=True, query=True)

    @property
    def signature_headers(self) -> Sequence[str]:
        return ("x-twilio-signature",)


def build_contents(callback: IncomingCallback) -> list[bytes]:
    """Return the contents that Twilio may have signed, as Twilio's libraries try them.

    The URL has its port or not, and its query is percent-encoded as in the request or less.
    """
    # Every bodySHA256 must be right: a second one would otherwise vouch for another body.
    body_hashes = _parse_body_hashes(callback.query)
    if any(value != sha256(callback.body).hexdigest() for value in body_hashes):
        raise InvalidSignature(BODY_HASH, "The body does not have the hash that the URL contains.")
    params = [] if body_hashes and callback.media_type != FORM_MEDIA_TYPE else parse_form(callback)
    suffix = "".join(f"{name}{value}" for name, value in sorted(set(params)))
    try:
        return [
            f"{public_url}{target}{suffix}".encode()
            for target in list_spellings(callback.target)
            for public_url in _build_url_variants(callback.public_url)
        ]
    except UnicodeEncodeError:
        raise InvalidSignature("url", "The URL is not valid Unicode.") from None


def _parse_body_hashes(query: str) -> list[str]:
    try:
        params = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise InvalidSignature("url", "The URL has too many parameters.") from None
    return [value for name, value in params if name == BODY_HASH]


def _build_url_variants(public_url: str) -> tuple[str, str]:
    """Return the public URL with and without its port."""
    parts = _PUBLIC_URL.fullmatch(public_url)
    if parts is None:
        raise InvalidSignature("url", "The public URL is unknown. Set RECEIVER_PUBLIC_URL or public_url.")
    scheme, host, port, path = parts.group("scheme", "host", "port", "path")
    port = port or (":443" if scheme == "https" else ":80")
    return f"{scheme}://{host}{port}{path or ''}", f"{scheme}://{host}{path or ''}"
