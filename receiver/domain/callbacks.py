"""One HTTP delivery to a callback URL, its acknowledgement, and the attempt tokens in callback URLs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from receiver.domain.records import record

FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"
VERDICTS = ("accepted", "duplicate", "invalid", "unmapped", "refused")
"""What became of a callback, see `receiver.store.callbacks.Verdict`."""
VERDICT_MEANINGS: Mapping[str, str] = {
    "accepted": "It is genuine, and was recorded.",
    "duplicate": "It is genuine, and was received before: this delivery changed nothing.",
    "unmapped": "It is genuine and was recorded, but has a status that the configuration does not map.",
    "invalid": "It is genuine, but cannot be read as the configuration says: no job was changed.",
    "refused": "It is not proven to be genuine: no job was changed.",
}
"""What each verdict means for the callback and its jobs."""
MAX_SHOWN_JOBS = 100
"""The number of jobs of a callback that are listed with it."""
MAX_SHOWN_DELIVERIES = 50
"""The number of deliveries of a callback that are listed with it."""
ECHOED_HEADER_VALUE = re.compile(r"[!-~]{1,256}")
"""The values that may be returned in a header of a response: visible ASCII, of limited length."""
_TOKEN = re.compile(r"(?<![^?&])request=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![^&])")


@record(frozen=True, slots=True)
class IncomingCallback:
    """One delivery. Header names are lower-case, `body` is the raw bytes, `received_at` is UTC.

    `target` is the path with its query exactly as in the request line. `public_url` is the URL before that path as
    providers call it; it is configured, never taken from a proxy's headers. `caller_address` is that of the nearest hop
    that is not a trusted proxy; "" if it is not known.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    public_url: str = ""
    caller_address: str = ""

    @property
    def url(self) -> str:
        """The complete URL that the provider called."""
        return f"{self.public_url}{self.target}"

    @property
    def query(self) -> str:
        """The query after the `?`, still encoded."""
        return self.target.partition("?")[2]

    @property
    def media_type(self) -> str:
        """The body's media type in lower case without parameters; "" without a `Content-Type`."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Ack:
    """The HTTP response that a provider accepts as an acknowledgement."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def add_echoed_header(ack: Ack, name: str, callback: IncomingCallback) -> Ack:
    """Return an acknowledgement with a header of the callback; unchanged if its value is missing or not a token.

    Args:
        ack: the acknowledgement.
        name: the name of the header, in any case.
        callback: the callback.
    """
    value = callback.headers.get(name.lower(), "")
    return replace(ack, headers={**ack.headers, name: value}) if ECHOED_HEADER_VALUE.fullmatch(value) else ack


def limit_headers(headers: Mapping[str, str], max_bytes: int) -> Mapping[str, str]:
    """Return the headers, without the largest ones if all together have more than `max_bytes`.

    Signatures and ids are small; what is large is padding.
    """
    if sum(map(len, headers)) + sum(map(len, headers.values())) <= max_bytes:
        return headers
    limited, rest = {}, max_bytes
    for name in sorted(headers, key=lambda name: len(name) + len(headers[name])):
        rest -= len(name) + len(headers[name])
        if rest < 0:
            break
        limited[name] = headers[name]
    return limited


def add_attempt_token(url: str, attempt_id: UUID) -> str:
    """Return a callback URL with the attempt's id as the token `request` in its query.

    An attempt's id is random and never shown to anybody else, so only the provider can know the token.
    """
    return f"{url}{'&' if '?' in url else '?'}request={attempt_id}"


def parse_attempt_token(callback: IncomingCallback) -> UUID | None:
    """Return the attempt id from a callback's URL; None without a token or with a malformed token."""
    match = _TOKEN.search(callback.query)
    return UUID(match[1]) if match else None


def redact_attempt_token(target: str, replacement: str) -> str:
    """Return a callback's target with `replacement` in place of its token."""
    path, mark, query = target.partition("?")
    return f"{path}{mark}{_TOKEN.sub(f'request={replacement}', query)}"
