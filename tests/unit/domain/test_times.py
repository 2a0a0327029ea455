"""Times as providers write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.times import UNITS, format_time, parse_time, parse_unix_time

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECONDS = 1_795_867_200


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("s", "1795867200"),
        ("s", "1795867200.000000001"),
        ("ms", "1795867200000"),
        ("ms", "1795867200000.0"),
        ("us", "1795867200000000"),
        ("iso", "2026-11-28T12:00:00Z"),
        ("iso", "2026-11-28t12:00:00.000000000000z"),
        ("iso", "2026-11-28T13:00:00+01:00"),
        ("iso", "2026-11-28 13:00:00+0100"),
        ("iso", "2026-11-28 07:00:00 -0500"),
        ("iso", "2026-11-28 13:00:00+01"),
        ("iso", "2026-11-28 13:00:00 +0100 CET"),
        ("iso", "2026-11-28T12:00:00"),
        ("iso", "2026-11-28 12:00"),
        ("iso", "2026-11-28 12:00:00 UTC"),
        ("iso", "Sat, 28 Nov 2026 12:00:00 GMT"),
        ("iso", "Sat, 28 Nov 2026 07:00:00 EST"),
        ("iso", "28 Nov 2026 13:00:00 +0100"),
        ("iso", "Saturday, 28-Nov-26 12:00:00 GMT"),
        ("iso", "sat, 28 nov 2026 12:00:00 gmt"),
        ("iso", "Sat, 28 Nov 2026 12:00:00 +0000 (UTC)"),
        ("iso", "Sat, 28 Nov 2026 07:00:00 -0500 (Eastern Standard Time)"),
    ],
)
def test_time_is_read_in_its_unit(unit: str, text: str) -> None:
    assert parse_time(text, unit) == NOON
    assert parse_unix_time(text.encode(), unit) == SECONDS


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("s", "1795867200.25"),
        ("ms", "1795867200250"),
        ("ms", "1795867200249.9999999"),
        ("us", "1795867200250000"),
        ("iso", "2026-11-28T12:00:00.25Z"),
        ("iso", "2026-11-28T12:00:00,250000999Z"),
    ],
)
def test_decimals_of_seconds_count(unit: str, text: str) -> None:
    time = parse_time(text, unit)
    assert time is not None
    assert abs((time - NOON).total_seconds() - 0.25) < 0.000002


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-28T12:00:00.123456789Z", NOON.replace(microsecond=123_456)),
        ("2026-11-28T12:00:00.1Z", NOON.replace(microsecond=100_000)),
        ("2026-11-28T17:45:00+05:45", NOON),
        ("2026-11-28T08:30:00-03:30", NOON),
        ("Sat, 28 Nov 2026 12:00:00", NOON),
        ("Sat, 28 Nov 2026 12:00:00 -0000", NOON),
    ],
)
def test_iso_time_is_read_to_the_microsecond(text: str, time: datetime) -> None:
    assert parse_time(text, "iso") == time


@pytest.mark.parametrize(
    ("unit", "text", "microsecond"),
    [
        ("s", "1795867200.1234567", 123_456),
        ("ms", "1795867200999.999999", 999_999),
        ("us", "1795867200123456.9", 123_456),
    ],
)
def test_number_is_cut_to_the_microsecond(unit: str, text: str, microsecond: int) -> None:
    assert parse_time(text, unit) == NOON.replace(microsecond=microsecond)


@pytest.mark.parametrize(("unit", "digits"), [("s", 12), ("ms", 15), ("us", 18)])
def test_number_of_digits_is_limited(unit: str, digits: int) -> None:
    for text, is_time in (("1".zfill(digits), True), ("1".zfill(digits + 1), False)):
        assert (parse_time(text, unit) is not None) == is_time
        assert (parse_unix_time(text.encode(), unit) is not None) == is_time


@pytest.mark.usefixtures("local_time")
@pytest.mark.parametrize(
    "text", ["2026-11-28T13:00:00+01:00", "Sat, 28 Nov 2026 13:00:00 +0100", "Sat, 28 Nov 2026 12:00:00"]
)
def test_time_is_utc_in_any_zone_of_the_process(text: str) -> None:
    time = parse_time(text, "iso")
    assert time is not None
    assert (time, time.tzinfo) == (NOON, UTC)
    assert format_time(time.astimezone(timezone(timedelta(hours=1))), "iso") == "2026-11-28T12:00:00Z"


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("s", ""),
        ("s", "-1"),
        ("s", "1e9"),
        ("s", " 1795867200"),
        ("s", "١٢"),  # digits that are not ASCII
        ("s", "9" * 13),
        ("ms", "9" * 16),
        ("us", "9" * 5_000),
        ("iso", "1795867200"),
        ("iso", "2026-11-28"),
        ("iso", "2026-02-30T12:00:00Z"),
        ("iso", "2026-11-28T12:00:00+24:00"),
        ("iso", "2026-11-28T12:00:00 CET"),
        ("iso", "0001-01-01T00:00:00+10:00"),
        ("iso", "0000-01-01T00:00:00Z"),
        ("iso", "28 Foo 2026 12:00:00 GMT"),
        ("iso", "28 Nov 2026 12:00:00 CET"),
        ("iso", "9" * 5_000),
    ],
)
def test_other_text_is_no_time(unit: str, text: str) -> None:
    assert parse_time(text, unit) is None
    assert parse_unix_time(text.encode(), unit) is None


@given(text=st.binary(max_size=60) | st.from_regex(rb"[0-9TtZz:., +A-Za-z-]{1,40}", fullmatch=True))
def test_arbitrary_bytes_are_a_time_or_none(text: bytes) -> None:
    for unit in UNITS:
        seconds = parse_unix_time(text, unit)
        assert seconds is None or seconds >= -62_135_596_800


@pytest.mark.parametrize("unit", UNITS)
def test_formatted_time_is_read_in_its_unit(unit: str) -> None:
    assert parse_time(format_time(NOON, unit), unit) == NOON
