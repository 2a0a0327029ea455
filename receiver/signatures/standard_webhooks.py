"""Standard Webhooks: signatures over ``id.timestamp.body``, as specified by https://www.standardwebhooks.com.

Creates symmetric signatures (``v1``, HMAC-SHA256), and verifies symmetric and asymmetric ones (``v1a``, ed25519). The
same module decodes secrets for the other schemes that use HMAC keys.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import (
    MAX_SIGNATURES,
    NO_DOCUMENTS,
    InvalidSecret,
    InvalidSignature,
    Scheme,
    format_age_error,
    read_header,
)
from receiver.signatures.coverage import Coverage
from receiver.signatures.keys import PublicKey, decode_strict

_SECRET_PREFIX = "whsec_"  # noqa: S105  # a prefix, not a secret
_PUBLIC_PREFIX = "whpk_"
_PRIVATE_PREFIX = "whsk_"
_UNIX_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_HEADER_PREFIX = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_V1A_PREFIX = b"v1a,"
DEFAULT_TOLERANCE = 300.0
"""Seconds that a timestamp may differ from the receive time on either side."""


def decode_key(secret: str) -> bytes:
    """Return the HMAC key of a secret: base64 text, with or without the prefix ``whsec_``.

    Raises:
        InvalidSecret: the text is not base64 or has no bytes.
    """
    key = _decode_base64(secret.removeprefix(_SECRET_PREFIX), "Must be base64, with or without the prefix whsec_.")
    if not key:
        raise InvalidSecret("Must not be empty.")
    return key


def parse_key(secret: str) -> bytes | PublicKey:
    """Return the verification key: a public key for ``whpk_<base64>``, else the HMAC key as `decode_key` returns it.

    Raises:
        InvalidSecret: the text has neither format, or is a private signing key (``whsk_``), which only the sender has.
    """
    if secret.startswith(_PRIVATE_PREFIX):
        raise InvalidSecret("This is a private signing key (whsk_). Use its public key (whpk_).")
    if secret.startswith(_PUBLIC_PREFIX):
        return PublicKey(_decode_base64(secret.removeprefix(_PUBLIC_PREFIX), "Must be base64 after the prefix whpk_."))
    return decode_key(secret)


def encode_key(secret: str) -> bytes:
    """Return the HMAC key of a vendor that uses the text of its secret, without decoding it.

    Raises:
        InvalidSecret: the text is empty or not valid Unicode.
    """
    if not secret:
        raise InvalidSecret("Must not be empty.")
    try:
        return secret.encode()
    except UnicodeEncodeError:
        raise InvalidSecret("Must be valid Unicode.") from None


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature`` (``v1,<base64>``) for a body sent at `timestamp` (Unix seconds)."""
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return "v1," + b64encode(hmac.digest(key, content, "sha256")).decode()


@dataclass(frozen=True, slots=True)
class StandardWebhooks(Scheme):
    """Signatures of Standard Webhooks by any of several keys, so that a secret can be rotated without downtime.

    Args:
        keys: keys as `parse_key` returns them. Secrets verify ``v1`` only, public keys ``v1a`` only.
        tolerance: seconds that the timestamp may differ from the receive time on either side.
        prefix: prefix of the three header names, in lower case; Svix uses ``svix``.

    Raises:
        InvalidSecret: no header name can start with the prefix.
    """

    keys: Sequence[bytes | PublicKey] = field(repr=False)
    tolerance: float = DEFAULT_TOLERANCE
    prefix: str = "webhook"
    _headers: tuple[str, str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _HEADER_PREFIX.fullmatch(self.prefix):
            raise InvalidSecret("The prefix of the headers must be lower-case letters, digits and hyphens.")
        names = (f"{self.prefix}-id", f"{self.prefix}-timestamp", f"{self.prefix}-signature")
        object.__setattr__(self, "_headers", names)

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        id_header, timestamp_header, signature_header = self._headers
        message_id, timestamp, signature_list = [read_header(callback, name) for name in self._headers]
        if not _UNIX_SECONDS.fullmatch(timestamp):
            raise InvalidSignature(timestamp_header, f"The header {timestamp_header} is not whole Unix seconds.")
        age = callback.received_at.timestamp() - int(timestamp)
        if abs(age) > self.tolerance:
            raise InvalidSignature(timestamp_header, format_age_error(age, self.tolerance))
        try:
            content = b".".join((message_id.encode("latin-1"), timestamp.encode(), callback.body))
        except UnicodeEncodeError:
            raise InvalidSignature(id_header, f"The header {id_header} is not latin-1 text.") from None
        signatures = [value.encode("latin-1", "replace") for value in signature_list.split(" ")]
        if len(signatures) > MAX_SIGNATURES:
            raise InvalidSignature(
                signature_header, f"The header {signature_header} has more than {MAX_SIGNATURES} signatures."
            )
        for index, key in enumerate(self.keys):
            if isinstance(key, PublicKey):
                if _verify_v1a(key, content, signatures):
                    return index
                continue
            expected = b"v1," + b64encode(hmac.digest(key, content, "sha256"))
            if any(hmac.compare_digest(expected, signature) for signature in signatures):
                return index
        raise InvalidSignature(signature_header, self._format_mismatch())

    @property
    def coverage(self) -> Coverage:
        return Coverage(body=True, headers=frozenset(self._headers[:2]))

    @property
    def signature_headers(self) -> Sequence[str]:
        return self._headers[2:]

    def message_id(self, callback: IncomingCallback) -> str:
        return callback.headers.get(self._headers[0], "")

    def _format_mismatch(self) -> str:
        if any(isinstance(key, PublicKey) for key in self.keys):
            return "No v1 or v1a signature matches any configured key."
        return "No v1 signature matches any configured secret."


def _decode_base64(text: str, error_message: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise InvalidSecret(error_message) from None


def _verify_v1a(key: PublicKey, content: bytes, signatures: Sequence[bytes]) -> bool:
    return any(
        key.verifies(_decode_v1a(signature), content) for signature in signatures if signature.startswith(_V1A_PREFIX)
    )


def _decode_v1a(value: bytes) -> bytes:
    """Return the bytes of ``v1a,<base64>``, or no bytes if it is not canonical base64."""
    return decode_strict(value.removeprefix(_V1A_PREFIX), "base64") or b""
