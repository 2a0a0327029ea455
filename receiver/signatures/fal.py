"""fal.ai's signature: ed25519 over the request's id, the user's id, the time and the body's hash.

The rule is that of https://docs.fal.ai/model-endpoints/webhooks; the public keys are those of fal's JWKS document (RFC
7517, RFC 8037), which is handed in.
"""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar

import orjson

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import NO_DOCUMENTS, InvalidSecret, Scheme, SignatureRefused
from receiver.signatures.keys import PublicKey
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE

JWKS_URL = "https://rest.fal.ai/.well-known/jwks.json"
_REQUEST_ID = "x-fal-webhook-request-id"
_USER_ID = "x-fal-webhook-user-id"
_TIMESTAMP = "x-fal-webhook-timestamp"
_SIGNATURE = "x-fal-webhook-signature"
_ID = re.compile(r"[!-~]+")
_WHOLE_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE_HEX = re.compile(r"[0-9a-fA-F]{128}")


@dataclass(frozen=True, slots=True)
class FalScheme(Scheme):
    """Verifies callbacks against the keys of fal's JWKS; what it gives is the key's place in that document.

    Args:
        tolerance: seconds between signing and receipt, either way.
    """

    documents: ClassVar[Sequence[str]] = (JWKS_URL,)

    tolerance: float = DEFAULT_TOLERANCE

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        content = b"%b\n%b\n%b\n%b" % (
            _header(callback, _REQUEST_ID, _ID),
            _header(callback, _USER_ID, _ID),
            self._timestamp(callback),
            sha256(callback.body).hexdigest().encode(),
        )
        signature = bytes.fromhex(_header(callback, _SIGNATURE, _SIGNATURE_HEX).decode())
        for index, key in _keys_in(documents.get(JWKS_URL)):
            if key.verifies(signature, content):
                return index
        raise SignatureRefused(_SIGNATURE, "the signature matches no key of the JWKS")

    def message_id(self, callback: IncomingCallback) -> str:
        return callback.headers.get(_REQUEST_ID, "")

    def _timestamp(self, callback: IncomingCallback) -> bytes:
        timestamp = _header(callback, _TIMESTAMP, _WHOLE_SECONDS)
        age = callback.received_at.timestamp() - int(timestamp)
        if abs(age) > self.tolerance:
            raise SignatureRefused(_TIMESTAMP, f"signed {age:.0f} s ago; {self.tolerance:.0f} s are tolerated")
        return timestamp


def _header(callback: IncomingCallback, name: str, form: re.Pattern[str]) -> bytes:
    value = callback.headers.get(name, "")
    if not form.fullmatch(value):
        raise SignatureRefused(name, f"the header {name} is missing or malformed")
    return value.encode("ascii")


def _keys_in(document: bytes | None) -> Sequence[tuple[int, PublicKey]]:
    """Give the document's ed25519 keys with their places; those of other kinds are left out."""
    if document is None:
        raise SignatureRefused("jwks", "the JWKS has not been fetched")
    try:
        entries = orjson.loads(document)["keys"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        entries = None
    keys = list(_ed25519_keys(entries)) if isinstance(entries, list) else []
    if not keys:
        raise SignatureRefused("jwks", "the JWKS holds no ed25519 key")
    return keys


def _ed25519_keys(entries: Sequence[Any]) -> Iterator[tuple[int, PublicKey]]:
    for index, entry in enumerate(entries):
        match entry:
            case {"kty": "OKP", "crv": "Ed25519", "x": str(text)}:
                try:
                    yield index, PublicKey(b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True))
                except (ValueError, InvalidSecret):
                    continue
