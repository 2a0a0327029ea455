"""Standard Webhooks: signatures over ``id.timestamp.body``, as https://www.standardwebhooks.com specifies them.

Signs symmetric signatures (``v1``, HMAC-SHA256), and verifies those and asymmetric ones (``v1a``, ed25519).
Verification treats every malformed input, whatever is wrong with it, as one refusal; it does no I/O and is told the
time.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import MAX_SIGNATURES, NO_DOCUMENTS, InvalidSecret, Scheme, SignatureRefused
from receiver.signatures.keys import PublicKey, decode

_SECRET_PREFIX = "whsec_"  # noqa: S105  # a prefix, not a secret
_PUBLIC_PREFIX = "whpk_"
_PRIVATE_PREFIX = "whsk_"
_WHOLE_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_HEADER_PREFIX = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_V1A = b"v1a,"
DEFAULT_TOLERANCE = 300.0


def decode_key(secret: str) -> bytes:
    """Give the HMAC key in `secret`: base64 text, with or without the ``whsec_`` prefix.

    Raises:
        BadSecret: the text is not base64 or holds no bytes.
    """
    key = _decoded(secret.removeprefix(_SECRET_PREFIX), "must be base64, with or without the prefix whsec_")
    if not key:
        raise InvalidSecret("must not be empty")
    return key


def parse_key(secret: str) -> bytes | PublicKey:
    """Give the key that verifies: a public one for ``whpk_<base64>``, else the HMAC key that `decode_key` gives.

    Raises:
        BadSecret: the text is of neither form, or is a private signing key (``whsk_``), which only the sender holds.
    """
    if secret.startswith(_PRIVATE_PREFIX):
        raise InvalidSecret("is a private signing key (whsk_); what verifies is its public key (whpk_)")
    if secret.startswith(_PUBLIC_PREFIX):
        return PublicKey(_decoded(secret.removeprefix(_PUBLIC_PREFIX), "must be base64 after the prefix whpk_"))
    return decode_key(secret)


def encode_key(secret: str) -> bytes:
    """Give the HMAC key of a vendor that takes its secret's text as it stands.

    Raises:
        BadSecret: the text is empty or no valid Unicode.
    """
    if not secret:
        raise InvalidSecret("must not be empty")
    try:
        return secret.encode()
    except UnicodeEncodeError:
        raise InvalidSecret("must be text") from None


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Give the value of ``webhook-signature`` (``v1,<base64>``) for a body sent at `timestamp` (Unix seconds)."""
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return "v1," + b64encode(hmac.digest(key, content, "sha256")).decode()


@dataclass(frozen=True, slots=True)
class StandardWebhooks(Scheme):
    """Verifies callbacks against any of several live keys, so that a secret can be rotated without downtime.

    Args:
        keys: as `parse_key` gives them; secrets verify ``v1`` only, public keys ``v1a`` only.
        tolerance: seconds between signing and receipt, either way.
        prefix: of the three header names, in lower case; Svix's own is ``svix``.

    Raises:
        BadSecret: the prefix cannot begin a header's name.
    """

    keys: Sequence[bytes | PublicKey] = field(repr=False)
    tolerance: float = DEFAULT_TOLERANCE
    prefix: str = "webhook"
    _headers: tuple[str, str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _HEADER_PREFIX.fullmatch(self.prefix):
            raise InvalidSecret("the prefix of the headers must be lower-case letters, digits and hyphens")
        names = (f"{self.prefix}-id", f"{self.prefix}-timestamp", f"{self.prefix}-signature")
        object.__setattr__(self, "_headers", names)

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        headers, body, now = callback.headers, callback.body, callback.received_at.timestamp()
        id_header, timestamp_header, signature_header = self._headers
        message_id = headers.get(id_header, "")
        timestamp = headers.get(timestamp_header, "")
        if not message_id:
            raise SignatureRefused(id_header, f"the header {id_header} is missing")
        if not _WHOLE_SECONDS.fullmatch(timestamp):
            raise SignatureRefused(timestamp_header, f"the header {timestamp_header} is not whole Unix seconds")
        age = now - int(timestamp)
        if abs(age) > self.tolerance:
            raise SignatureRefused(timestamp_header, f"signed {age:.0f} s ago; {self.tolerance:.0f} s are tolerated")
        try:
            content = b".".join((message_id.encode("latin-1"), timestamp.encode(), body))
        except UnicodeEncodeError:
            raise SignatureRefused(id_header, f"the header {id_header} is not of single bytes") from None
        given = [value.encode("latin-1", "replace") for value in headers.get(signature_header, "").split(" ")]
        if len(given) > MAX_SIGNATURES:
            raise SignatureRefused(signature_header, f"the header {signature_header} is malformed: too many signatures")
        for index, key in enumerate(self.keys):
            if isinstance(key, PublicKey):
                if _signed_by(key, content, given):
                    return index
                continue
            wanted = b"v1," + b64encode(hmac.digest(key, content, "sha256"))
            if any(hmac.compare_digest(wanted, value) for value in given):
                return index
        raise SignatureRefused(signature_header, self._unmatched())

    def message_id(self, callback: IncomingCallback) -> str:
        return callback.headers.get(self._headers[0], "")

    def _unmatched(self) -> str:
        if any(isinstance(key, PublicKey) for key in self.keys):
            return "no v1 or v1a signature matches any live key"
        return "no v1 signature matches any live secret"


def _decoded(text: str, problem: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise InvalidSecret(problem) from None


def _signed_by(key: PublicKey, content: bytes, given: Sequence[bytes]) -> bool:
    return any(key.verifies(_signature_in(value), content) for value in given if value.startswith(_V1A))


def _signature_in(value: bytes) -> bytes:
    """Give the bytes of a ``v1a,<base64>``, or none where it is not base64 in its one canonical form."""
    return decode(value.removeprefix(_V1A), "base64") or b""
