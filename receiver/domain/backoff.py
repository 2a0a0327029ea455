"""Retry delays: exponential backoff with full jitter, poll intervals, and the `Retry-After` header."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MAX_RETRY_AFTER_S = 86_400.0
# Beyond this exponent every ceiling is at its maximum; without the cap a float would overflow.
_MAX_EXPONENT = 60
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


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


def parse_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds to wait that a response asks for in its header `Retry-After`.

    Accepts both forms of RFC 9110 section 10.2.3, seconds and an HTTP date, and seconds with decimals. Of several
    numbers the largest counts. A date is read against the `Date` of the same response: the server's clock may be wrong.

    Args:
        headers: the response's headers, with names in lower case.
        now: the time (UTC) at which the response arrived, which stands in for an absent or malformed `Date`.

    Returns:
        The seconds, at most one day; None for an absent or malformed value.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    numbers = [part.strip() for part in text.split(",")]
    if all(map(_SECONDS.fullmatch, numbers)):
        return min(max(map(float, numbers)), _MAX_RETRY_AFTER_S)
    retry_at = _parse_http_date(text)
    if retry_at is None:
        return None
    seconds = (retry_at - (_parse_http_date(headers.get("date", "")) or now)).total_seconds()
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)


def _parse_http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
