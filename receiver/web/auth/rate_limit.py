"""The rate limit of an API key, as callers see it."""

from dataclasses import dataclass

from receiver.domain.access import Caller
from receiver.domain.errors import ReceiverError


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The rate limit of a key: calls per minute, calls that remain, and seconds until all are available again."""

    per_minute: int
    remaining: int
    resets_in: float

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the IETF draft `RateLimit header fields for HTTP`."""
        return {
            "RateLimit-Policy": f'"key";q={self.per_minute};w=60',
            "RateLimit": f'"key";r={self.remaining};t={max(round(self.resets_in), 1)}',
        }


class RateLimitExceeded(ReceiverError):
    """A key has used all its calls of this minute; `caller` is the key, for the log."""

    def __init__(self, rate_limit: RateLimit, caller: Caller | None = None) -> None:
        super().__init__(
            f"Rate limit exceeded: {rate_limit.per_minute} calls per minute. Try again after `Retry-After` seconds."
        )
        self.rate_limit = rate_limit
        self.caller = caller
