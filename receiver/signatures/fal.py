"""fal.ai's signature: ed25519 over the request id, the user id, the timestamp and the body's SHA-256.

The rule is that of https://docs.fal.ai/model-endpoints/webhooks. The public keys are those of fal's JWKS document (RFC
7517, RFC 8037), which the caller fetches and passes in.
"""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import NO_DOCUMENTS, InvalidSecret, InvalidSignature, Scheme, format_age_error
from receiver.signatures.coverage import Coverage
from receiver.signatures.keys import PublicKey
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE

JWKS_URL = "https://rest.fal.ai/.well-known/jwks.json"
_REQUEST_ID_HEADER = "x-fal-webhook-request-id"
_USER_ID_HEADER = "x-fal-webhook-user-id"
_TIMESTAMP_HEADER = "x-fal-webhook-timestamp"
_SIGNATURE_HEADER = "x-fal-webhook-signature"
_ID = re.compile(r"[!-~]+")
_UNIX_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE_HEX = re.compile(r"[0-9a-fA-F]{128}")


@dataclass(frozen=True, slots=True)
class FalScheme(Scheme):
    """fal's signature by the keys of its JWKS; `verify` returns the key's index in that document.

    Args:
        tolerance: seconds that the timestamp may differ from the receive time on either side.
        user_id: the id of our account. fal signs the callbacks of all its users by the same keys, so that without it
            any user can have a callback about a job of theirs sent to our URL.
    """

    tolerance: float = DEFAULT_TOLERANCE
    user_id: str = ""

    def find_documents(self, callback: IncomingCallback) -> Sequence[str]:
        return (JWKS_URL,)

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        content = b"%b\n%b\n%b\n%b" % (
            _get_header(callback, _REQUEST_ID_HEADER, _ID),
            _get_header(callback, _USER_ID_HEADER, _ID),
            self._get_timestamp(callback),
            sha256(callback.body).hexdigest().encode(),
        )
        signature = bytes.fromhex(_get_header(callback, _SIGNATURE_HEADER, _SIGNATURE_HEX).decode())
        for index, key in _parse_jwks(documents.get(JWKS_URL)):
            if key.verifies(signature, content):
                self._check_user(callback)
                return index
        raise InvalidSignature(_SIGNATURE_HEADER, "The signature does not match any key of the JWKS.")

    @property
    def coverage(self) -> Coverage:
        return Coverage(body=True, headers=frozenset({_REQUEST_ID_HEADER, _USER_ID_HEADER, _TIMESTAMP_HEADER}))

    @property
    def signature_headers(self) -> Sequence[str]:
        return (_SIGNATURE_HEADER,)

    def message_id(self, callback: IncomingCallback) -> str:
        return callback.headers.get(_REQUEST_ID_HEADER, "")

    def _check_user(self, callback: IncomingCallback) -> None:
        if self.user_id and callback.headers[_USER_ID_HEADER] != self.user_id:
            raise InvalidSignature(_USER_ID_HEADER, "The callback is about a job of another user of fal.")

    def _get_timestamp(self, callback: IncomingCallback) -> bytes:
        timestamp = _get_header(callback, _TIMESTAMP_HEADER, _UNIX_SECONDS)
        age = callback.received_at.timestamp() - int(timestamp)
        if abs(age) > self.tolerance:
            raise InvalidSignature(_TIMESTAMP_HEADER, format_age_error(age, self.tolerance))
        return timestamp


def _get_header(callback: IncomingCallback, name: str, pattern: re.Pattern[str]) -> bytes:
    value = callback.headers.get(name, "")
    if not pattern.fullmatch(value):
        raise InvalidSignature(name, f"The header {name} is missing or malformed.")
    return value.encode("ascii")


def _parse_jwks(document: bytes | None) -> Sequence[tuple[int, PublicKey]]:
    """Return the document's ed25519 keys with their indexes, without keys of other types."""
    if document is None:
        raise InvalidSignature("jwks", "The JWKS has not been fetched.")
    try:
        entries = orjson.loads(document)["keys"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        entries = None
    keys = list(_filter_ed25519_keys(entries)) if isinstance(entries, list) else []
    if not keys:
        raise InvalidSignature("jwks", "The JWKS has no ed25519 key.")
    return keys


def _filter_ed25519_keys(entries: Sequence[Any]) -> Iterator[tuple[int, PublicKey]]:
    for index, entry in enumerate(entries):
        match entry:
            case {"kty": "OKP", "crv": "Ed25519", "x": str(text)}:
                try:
                    yield index, PublicKey(b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True))
                except (ValueError, InvalidSecret):
                    continue
