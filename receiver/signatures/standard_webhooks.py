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

from receiver.domain.delivery import Delivery
from receiver.signatures.base import NO_DOCUMENTS, BadSecret, Scheme, SignatureRefused

_SECRET_PREFIX = "whsec_"  # noqa: S105  # a prefix, not a secret
_WHOLE_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
DEFAULT_TOLERANCE = 300.0


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
class StandardWebhooks(Scheme):
    """Verifies callbacks against any of several live keys, so that a secret can be rotated without downtime."""

    keys: Sequence[bytes] = field(repr=False)
    tolerance: float = DEFAULT_TOLERANCE

    def verify(self, delivery: Delivery, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        headers, body, now = delivery.headers, delivery.body, delivery.received_at.timestamp()
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

    def message_id(self, delivery: Delivery) -> str:
        return delivery.headers["webhook-id"]
