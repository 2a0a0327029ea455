"""When to try again: exponential backoff with full jitter, and what `Retry-After` asks for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_RETRY_AFTER = 86_400.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is tried and how far apart; `base` and `max` are seconds."""

    attempts: int = 8
    base: float = 1.0
    max: float = 300.0

    def delay(self, failures: int, jitter: float) -> float:
        """Give the seconds to wait after `failures` failed attempts (1 or more).

        Full jitter: `jitter`, drawn evenly from 0 to 1, scales the whole of the exponential ceiling, so that clients
        that failed together do not come back together.
        """
        ceiling = min(self.max, self.base * 2.0 ** min(failures - 1, 60))
        return jitter * ceiling


def compute_poll_interval(first: float, longest: float, polls: int, jitter: float) -> float:
    """Give the seconds until a job is asked about again after `polls` polls: doubling, spread over the upper half."""
    ceiling = min(longest, first * 2.0 ** min(polls, 60))
    return ceiling * (0.5 + jitter / 2)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Give the seconds that a `Retry-After` header asks to wait, at most a day; None when it says nothing readable.

    Both forms of RFC 9110 section 10.2.3 are read: whole seconds and an HTTP date.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_RETRY_AFTER)
    try:
        when = parsedate_to_datetime(text)
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
