"""Retry delays: backoff with full jitter, the `Retry-After` header, and poll intervals."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.backoff import RetryPolicy, compute_poll_interval, parse_retry_after
from tests.support.factories import NOON

DAY = 86_400.0
jitters = st.floats(0, 1)
seconds = st.floats(0.001, 1e6)
header_dates = st.datetimes(
    min_value=datetime(1000, 1, 1),  # noqa: DTZ001  # hypothesis adds the zone; a year of two digits means another one
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11)), timezone(timedelta(hours=14))]),
)


@pytest.mark.parametrize(("failures", "ceiling"), [(1, 1.0), (2, 2.0), (3, 4.0), (8, 128.0), (9, 256.0), (10, 300.0)])
def test_delay_doubles_up_to_the_maximum(failures: int, ceiling: float) -> None:
    assert RetryPolicy().delay(failures, 1.0) == ceiling


@given(failures=st.integers(1, 10_000), jitter=jitters, base=seconds, maximum=seconds)
def test_full_jitter_scales_the_whole_ceiling(failures: int, jitter: float, base: float, maximum: float) -> None:
    policy = RetryPolicy(base=base, max=maximum)
    ceiling = policy.delay(failures, 1.0)
    assert ceiling <= maximum
    assert ceiling == maximum or ceiling >= base
    assert policy.delay(failures, 0.0) == 0.0
    assert policy.delay(failures, jitter) == pytest.approx(jitter * ceiling)


@pytest.mark.parametrize(
    ("polls", "jitter", "interval"),
    [(0, 1.0, 60.0), (0, 0.0, 30.0), (1, 1.0, 120.0), (3, 0.5, 360.0), (6, 1.0, 3_600.0), (100_000, 0.0, 1_800.0)],
)
def test_poll_interval_doubles_within_the_upper_half(polls: int, jitter: float, interval: float) -> None:
    assert compute_poll_interval(60.0, 3_600.0, polls, jitter) == interval


@given(first=seconds, maximum=seconds, polls=st.integers(0, 10_000), jitter=jitters)
def test_poll_interval_stays_within_bounds(first: float, maximum: float, polls: int, jitter: float) -> None:
    assert min(first, maximum) / 2 <= compute_poll_interval(first, maximum, polls, jitter) <= maximum


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7\t", 7.0),
        ("0000000000000000005", 5.0),
        ("86400", DAY),
        ("86401", DAY),
        ("9" * 5_000, DAY),
        ("1.5", 1.5),
        ("0.0", 0.0),
        ("5, 90, 7", 90.0),
    ],
)
def test_retry_after_in_seconds_is_capped_at_a_day(value: str, wait: float) -> None:
    assert parse_retry_after({"retry-after": value}, NOON) == wait


@pytest.mark.usefixtures("local_time")
@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 11:59:00 GMT", 0.0),
        ("Monday, 23-Nov-26 12:01:00 GMT", 60.0),
        ("Mon Nov 23 12:02:00 2026", 120.0),  # in UTC, whatever the zone of the process
        ("Mon, 23 Nov 2026 14:00:10 +0200", 10.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY),
    ],
)
def test_retry_after_accepts_every_http_date_format(value: str, wait: float) -> None:
    assert parse_retry_after({"retry-after": value}, NOON) == wait


@given(moment=header_dates)
def test_retry_after_date_is_the_time_until_then(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    until = (moment - NOON).total_seconds()
    assert parse_retry_after({"retry-after": format_datetime(moment)}, NOON) == min(max(until, 0.0), DAY)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "-1",
        "1.",
        ".5",
        "NaN",
        "inf",
        "5, soon",
        "+5",
        "1e3",
        "soon",
        "5 seconds",
        "²",
        "٣",
        "Mon, 99 Nov 2026 12:00:00 GMT",
        "Mon, 23 Nov 2026 12:00:30 +99999999999999999999",
        "Mon,",
        "\0",
    ],
)
def test_malformed_retry_after_is_ignored(value: str) -> None:
    assert parse_retry_after({"retry-after": value}, NOON) is None


def test_absent_retry_after_asks_for_nothing() -> None:
    assert parse_retry_after({"date": "Mon, 23 Nov 2026 12:00:30 GMT"}, NOON) is None


@pytest.mark.parametrize(
    ("date", "wait"),
    [
        ("Mon, 23 Nov 2026 11:58:30 GMT", 120.0),
        ("Mon, 23 Nov 2026 14:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 0.0),
        ("yesterday", 30.0),
        ("", 30.0),
    ],
)
def test_retry_after_date_is_read_against_date_of_response(date: str, wait: float) -> None:
    headers = {"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT", "date": date}
    assert parse_retry_after(headers, NOON) == wait
    assert parse_retry_after(headers | {"retry-after": "30"}, NOON) == 30.0


@given(
    value=st.text()
    | st.from_regex(r"[0-9 +.-]{0,40}")
    | st.from_regex(r"(\w{3}, )?\d{0,9}[ -](Nov|Feb)[ -]\d{0,12} \d{1,9}[:.]\d{0,9}(:\d{0,30})? ?([+-]\d{0,30}|GMT)?")
)
def test_any_retry_after_text_stays_within_bounds(value: str) -> None:
    wait = parse_retry_after({"retry-after": value, "date": value}, NOON)
    assert wait is None or 0.0 <= wait <= DAY
