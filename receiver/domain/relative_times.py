"""Times as people read them at a glance: `4 min ago`, `in 2 h`."""

from datetime import datetime

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_NOW_S = 1
_MAX_MINUTES_S, _MAX_HOURS_S = 2 * _HOUR_S, 2 * _DAY_S
"""Up to two hours are shown in minutes, and up to two days in hours, so that the number is precise enough."""


def format_relative_time(time: datetime, now: datetime) -> str:
    """Return how long ago a time was, or how far ahead it is, in its largest fitting unit, rounded down.

    Args:
        time: a time with an offset.
        now: the current time with an offset.
    """
    seconds = (now - time).total_seconds()
    if abs(seconds) < _NOW_S:
        return "now"
    text = _format_duration(int(abs(seconds)))
    return f"{text} ago" if seconds > 0 else f"in {text}"


def _format_duration(seconds: int) -> str:
    if seconds < _MINUTE_S:
        return f"{seconds} s"
    if seconds < _MAX_MINUTES_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < _MAX_HOURS_S:
        return f"{seconds // _HOUR_S} h"
    return f"{seconds // _DAY_S} d"
