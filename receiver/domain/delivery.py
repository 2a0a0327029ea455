"""One HTTP delivery to a callback URL as it came, and what is answered to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Delivery:
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
