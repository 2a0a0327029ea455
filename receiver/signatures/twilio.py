"""Twilio's signature: HMAC-SHA1 over the URL and the form's parameters, or over a URL that carries the body's hash.

The rule is that of https://www.twilio.com/docs/usage/security and of Twilio's own library. The time is not signed, so
that a callback never grows stale.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import parse_qsl

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.account_tokens import MAX_PARAMETERS, AccountScheme, parse_form, with_public_url
from receiver.signatures.base import NO_DOCUMENTS, SignatureRefused

_ORIGIN = re.compile(r"(?P<scheme>[^:/]*)://(?P<host>[^/]*?)(?P<port>:[0-9]+)?(?P<path>/.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Twilio(AccountScheme):
    """Verifies callbacks against any of several live auth tokens."""

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        callback = with_public_url(self.public_url, callback)
        given = callback.headers.get("x-twilio-signature", "").encode("latin-1", "replace")
        if not given:
            raise SignatureRefused("x-twilio-signature", "the header x-twilio-signature is missing")
        contents = _contents(callback)
        for index, key in enumerate(self._keys):
            wanted = [b64encode(hmac.digest(key, content, "sha1")) for content in contents]
            if any(hmac.compare_digest(value, given) for value in wanted):
                return index
        raise SignatureRefused("x-twilio-signature", "the signature matches no live auth token")


def _contents(callback: IncomingCallback) -> list[bytes]:
    """Give what Twilio may have signed: the URL with and without its port, for Twilio does either."""
    hashes = _body_hashes(callback.query)
    if any(value != sha256(callback.body).hexdigest() for value in hashes):
        raise SignatureRefused("bodySHA256", "the body is not the one whose hash the URL carries")
    params = [] if hashes and callback.media_type != FORM_MEDIA_TYPE else parse_form(callback)
    suffix = callback.target + "".join(f"{name}{value}" for name, value in sorted(set(params)))
    try:
        return [f"{public_url}{suffix}".encode() for public_url in _with_and_without_port(callback.public_url)]
    except UnicodeEncodeError:
        raise SignatureRefused("url", "the URL is no valid Unicode") from None


def _body_hashes(query: str) -> list[str]:
    try:
        params = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise SignatureRefused("url", "the URL has too many parameters") from None
    return [value for name, value in params if name == "bodySHA256"]


def _with_and_without_port(public_url: str) -> tuple[str, str]:
    parts = _ORIGIN.fullmatch(public_url)
    if parts is None:
        raise SignatureRefused("url", "the public URL is not known")
    scheme, host, port, path = parts.group("scheme", "host", "port", "path")
    port = port or (":443" if scheme == "https" else ":80")
    return f"{scheme}://{host}{port}{path or ''}", f"{scheme}://{host}{path or ''}"
