"""Durations, and times relative to the current one, as text for people."""

from datetime import datetime
from itertools import pairwise

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_MIN_COUNT = 2  # 90 s says more than 1 min
_NOW_S = 1


def format_duration(seconds: float) -> str:
    """Return a number of seconds in the largest unit of which there are at least two, such as `90 s` or `4 min`."""
    if abs(seconds) < 1:
        return f"{seconds * 1_000:.0f} ms"
    for size, unit in _UNITS:
        if abs(seconds) >= _MIN_COUNT * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{round(seconds, 1):g} s"


def format_long_duration(seconds: float) -> str:
    """Return a number of seconds in its largest unit and the next one, such as `2 h 14 min`; below a minute in one."""
    for (size, unit), (next_size, next_unit) in pairwise(_UNITS):
        if abs(seconds) >= size:
            count, rest = divmod(round(seconds / next_size) * next_size, size)
            return f"{count:,} {unit} {rest // next_size} {next_unit}" if rest else f"{count:,} {unit}"
    return format_duration(seconds)


def format_relative_time(time: datetime, now: datetime) -> str:
    """Return how long ago a time was, or how far ahead it is: `4 min ago`, `in 2 h`, `now`.

    Args:
        time: a time with an offset.
        now: the current time with an offset.
    """
    seconds = (now - time).total_seconds()
    if abs(seconds) < _NOW_S:
        return "now"
    text = format_duration(int(abs(seconds)))
    return f"{text} ago" if seconds > 0 else f"in {text}"
