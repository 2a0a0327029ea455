"""Standard Webhooks: HMAC-SHA256 over ``id.timestamp.body``, as https://www.standardwebhooks.com specifies it.

Signs and verifies symmetric (``v1``) signatures. Verification treats every malformed input, whatever is wrong with it,
as one refusal; it does no I/O and is told the time.
"""

import binascii
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from receiver.domain.errors import ReceiverError

_SECRET_PREFIX = "whsec_"  # noqa: S105  # a prefix, not a secret
_WHOLE_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
DEFAULT_TOLERANCE = 300.0


class SignatureRefused(ReceiverError):
    """The callback does not prove its sender; `part` names the piece of the recipe that failed."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


class BadSecret(ReceiverError):
    """A secret is not ``whsec_`` followed by base64; the message never contains the secret."""


def key_of(secret: str) -> bytes:
    """Give the HMAC key in `secret`: base64 text, with or without the ``whsec_`` prefix.

    Raises:
        BadSecret: the text is not base64 or holds no bytes.
    """
    try:
        key = b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        raise BadSecret("must be base64, with or without the prefix whsec_") from None
    if not key:
        raise BadSecret("must not be empty")
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Give the value of ``webhook-signature`` (``v1,<base64>``) for a body sent at `timestamp` (Unix seconds)."""
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return "v1," + b64encode(hmac.digest(key, content, "sha256")).decode()


@dataclass(frozen=True, slots=True)
class StandardWebhooks:
    """Verifies callbacks against any of several live keys, so that a secret can be rotated without downtime."""

    keys: Sequence[bytes] = field(repr=False)
    tolerance: float = DEFAULT_TOLERANCE

    def verify(self, headers: Mapping[str, str], body: bytes, now: float) -> int:
        """Give the index of the key that signed `body`.

        Args:
            headers: request headers, looked up by their lower-case names.
            body: the raw bytes, before anything parsed them.
            now: Unix seconds; for a callback verified again, the time it was first received.

        Raises:
            SignatureRefused: a header is missing or malformed, the timestamp is further than `tolerance` seconds from
                `now` in either direction, or no signature matches.
        """
        message_id = headers.get("webhook-id", "")
        timestamp = headers.get("webhook-timestamp", "")
        signatures = headers.get("webhook-signature", "")
        if not message_id:
            raise SignatureRefused("webhook-id", "the header webhook-id is missing")
        if not _WHOLE_SECONDS.fullmatch(timestamp):
            raise SignatureRefused("webhook-timestamp", "the header webhook-timestamp is not whole Unix seconds")
        age = now - int(timestamp)
        if abs(age) > self.tolerance:
            raise SignatureRefused("webhook-timestamp", f"signed {age:.0f} s ago; {self.tolerance:.0f} s are tolerated")
        given = [value.encode("latin-1", "replace") for value in signatures.split(" ")]
        content = b".".join((message_id.encode("latin-1", "replace"), timestamp.encode(), body))
        for index, key in enumerate(self.keys):
            wanted = b"v1," + b64encode(hmac.digest(key, content, "sha256"))
            if any(hmac.compare_digest(wanted, value) for value in given):
                return index
        raise SignatureRefused("webhook-signature", "no v1 signature matches any live secret")
