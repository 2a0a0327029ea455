"""Durations as text for people."""

from itertools import pairwise

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_MIN_COUNT = 2  # 90 s says more than 1 min


def format_duration(seconds: float) -> str:
    """Return a number of seconds in the largest unit of which there are at least two, such as `90 s` or `4 min`."""
    if abs(seconds) < 1:
        return f"{seconds * 1_000:.0f} ms"
    for size, unit in _UNITS:
        if abs(seconds) >= _MIN_COUNT * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.1f} s"


def format_long_duration(seconds: float) -> str:
    """Return a number of seconds in its largest unit and the next one, such as `2 h 14 min`; below a minute in one."""
    for (size, unit), (next_size, next_unit) in pairwise(_UNITS):
        if abs(seconds) >= size:
            count, rest = divmod(round(seconds / next_size) * next_size, size)
            return f"{count:,} {unit} {rest // next_size} {next_unit}" if rest else f"{count:,} {unit}"
    return format_duration(seconds)
