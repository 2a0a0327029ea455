"""Times as providers write them, for the times of events and the timestamps of signatures alike."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

UNITS: Mapping[str, str] = {
    "s": "Unix seconds",
    "ms": "Unix milliseconds",
    "us": "Unix microseconds",
    "iso": "a time by RFC 3339, 1123 or 2822",
}
"""The units of times, with a description of each."""

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_DIGITS = {"s": 12, "ms": 15, "us": 18}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"([0-9]{1,18})(?:\.([0-9]{0,30}))?")
_ISO_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:[.,]([0-9]{1,30}))?"
    # Postgres writes an offset as +02, Go as +0200 CEST.
    r" ?(?:[Zz]|UTC|GMT|([+-])([0-9]{2})(?::?([0-9]{2}))?(?: [A-Z]{3,5})?)?"
)
_MAIL_TIME = re.compile(
    r"(?:[A-Za-z]{3,9}, {1,2})?[0-9]{1,2}[ -][A-Za-z]{3}[ -](?:[0-9]{4}|[0-9]{2}) [0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
    r"(?: (?:[+-][0-9]{4}|UTC?|GMT|Z|[AECMP][SD]T)(?: \([A-Za-z ]{1,40}\))?)?",
    re.IGNORECASE,
)
SIGNED_TIME = re.compile(
    rb"[1-9][0-9TtZz:., +-]{0,39}|[0-9]{4}-[0-9T:. -]{1,35} (?:UTC|GMT)"
    rb"|[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} (?:GMT|UTC|[ECMP][SD]T|[+-][0-9]{4})"
)
"""A timestamp within signed content: no text of a body next to it could be a part of it, nor a zero before it."""


def parse_time(text: str, unit: str) -> datetime | None:
    """Return a time in UTC, to the microsecond; None for text that is not a time in this unit, or out of range.

    Args:
        text: the time. With the unit `iso` it is a date with a time by RFC 3339, with T or a blank, or by RFC 1123 or
            2822; without an offset it is UTC. Any number of decimals is read in every unit.
        unit: one of `UNITS`.
    """
    try:
        return _parse_number(text, unit) if unit in _PER_SECOND else _parse_iso(text) or _parse_mail_time(text)
    except (ValueError, OverflowError):
        return None


def _parse_number(text: str, unit: str) -> datetime | None:
    match = _NUMBER.fullmatch(text)
    if match is None or len(match[1]) > _DIGITS[unit]:
        return None
    seconds, rest = divmod(int(match[1]), _PER_SECOND[unit])
    decimals = (match[2] or "").ljust(6, "0")[:6]
    microseconds = (rest * 1_000_000 + int(decimals)) // _PER_SECOND[unit]
    return _EPOCH + timedelta(seconds=seconds, microseconds=microseconds)


def _parse_iso(text: str) -> datetime | None:
    match = _ISO_TIME.fullmatch(text)
    if match is None:
        return None
    date, time, decimals, sign, hours, minutes = match.groups()
    local = datetime.fromisoformat(f"{date}T{time}.{decimals[:6]:0<6}Z" if decimals else f"{date}T{time}Z")
    if sign is None:
        return local
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return local.replace(tzinfo=timezone(-offset if sign == "-" else offset)).astimezone(UTC)


def _parse_mail_time(text: str) -> datetime | None:
    if not _MAIL_TIME.fullmatch(text):
        return None
    time = parsedate_to_datetime(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def format_time(time: datetime, unit: str) -> str:
    """Return a time as providers write it in one of `UNITS`, to the second in ISO 8601."""
    if unit == "iso":
        return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(int(time.timestamp() * _PER_SECOND[unit]))


def parse_unix_time(text: bytes, unit: str) -> float | None:
    """Return a time as Unix seconds; None for bytes that are not a time in this unit, see `parse_time`."""
    if text.isdigit() and unit in _PER_SECOND:
        return int(text) / _PER_SECOND[unit] if len(text) <= _DIGITS[unit] else None
    time = parse_time(text.decode("latin-1"), unit)
    return time.timestamp() if time else None
