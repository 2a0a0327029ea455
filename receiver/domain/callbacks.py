"""One HTTP delivery to a callback URL as it came, and what is answered to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"
_TOKEN = re.compile(r"(?<![^?&])request=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![^&])")


@dataclass(frozen=True, slots=True)
class IncomingCallback:
    """Header names are lower-case, `body` is raw, `received_at` is UTC.

    `target` is the path with its query as it stood in the request line. `public_url` is the part of the URL before it
    as providers call it, configured and never a proxy's view of it.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    public_url: str = ""

    @property
    def url(self) -> str:
        """The whole URL that the provider called."""
        return f"{self.public_url}{self.target}"

    @property
    def query(self) -> str:
        """What follows the `?`, still encoded."""
        return self.target.partition("?")[2]

    @property
    def media_type(self) -> str:
        """The body's media type in lower case, without its parameters; "" where none is given."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer that a provider takes as an acknowledgement."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def add_attempt_token(url: str, attempt_id: UUID) -> str:
    """Give a callback URL that says which attempt it was sent with: that of the token `request` in its query.

    The id of an attempt is random and shown to nobody else, so that only the provider can know it.
    """
    return f"{url}{'&' if '?' in url else '?'}request={attempt_id}"


def parse_attempt_token(callback: IncomingCallback) -> UUID | None:
    """Give the attempt whose token a callback's URL carries; None without a token or with one that is malformed."""
    found = _TOKEN.search(callback.query)
    return UUID(found[1]) if found else None


def redact_attempt_token(target: str, shown: str) -> str:
    """Give a callback's target with `shown` in place of its token."""
    path, mark, query = target.partition("?")
    return f"{path}{mark}{_TOKEN.sub(f'request={shown}', query)}"
