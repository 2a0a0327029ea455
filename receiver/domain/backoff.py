"""Retry delays: exponential backoff with full jitter, poll intervals, and the `Retry-After` header."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MAX_RETRY_AFTER_S = 86_400.0
# Beyond this exponent every ceiling is at its maximum; without the cap a float would overflow.
_MAX_EXPONENT = 60


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is attempted, and the first and the longest delay between attempts in seconds."""

    attempts: int = 8
    base: float = 1.0
    max: float = 300.0

    def delay(self, failures: int, jitter: float) -> float:
        """Return the seconds to wait after `failures` failed attempts (1 or more).

        Full jitter: `jitter`, drawn evenly from 0 to 1, scales the whole exponential ceiling, so that clients that
        failed together do not retry together.
        """
        ceiling = min(self.max, self.base * 2.0 ** min(failures - 1, _MAX_EXPONENT))
        return jitter * ceiling


def compute_poll_interval(first_after: float, max_interval: float, polls: int, jitter: float) -> float:
    """Return the seconds until the next poll of a job.

    The interval doubles with each poll up to `max_interval`; `jitter`, drawn evenly from 0 to 1, spreads it over the
    upper half of the ceiling.
    """
    ceiling = min(max_interval, first_after * 2.0 ** min(polls, _MAX_EXPONENT))
    return ceiling * (0.5 + jitter / 2)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds to wait that a `Retry-After` header asks for.

    Accepts both forms of RFC 9110 section 10.2.3: whole seconds and an HTTP date.

    Returns:
        The seconds from `now` (UTC), at most one day; None for an absent or malformed value.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _MAX_RETRY_AFTER_S)
    try:
        retry_at = parsedate_to_datetime(text)
        seconds = (retry_at.replace(tzinfo=retry_at.tzinfo or UTC) - now).total_seconds()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)
