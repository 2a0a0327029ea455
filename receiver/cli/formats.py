"""Values of the API as text. Text from outside is one line, with control characters escaped."""

from typing import Any

import orjson

Json = dict[str, Any]


def format_literal(value: object) -> str:
    """Return a value as one line of text, with everything but printable characters and spaces escaped."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if text.isprintable() else "".join(map(_escape_character, text))


def format_time(time: str | None) -> str:
    """Return a time of the API, rounded down to the second; empty for None."""
    return f"{_remove_offset(time).partition('.')[0]}Z" if time else ""


def format_time_ms(time: str | None) -> str:
    """Return a time of the API, rounded down to the millisecond; empty for None."""
    if not time:
        return ""
    seconds, _, fraction = _remove_offset(time).partition(".")
    return f"{seconds}.{fraction[:3]:0<3}Z"


def _remove_offset(time: str) -> str:
    return time.removesuffix("Z").removesuffix("+00:00")


def _escape_character(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
