"""Durations and relative times as text for people."""

from datetime import timedelta

import pytest

from receiver.domain.durations import format_duration, format_long_duration, format_relative_time
from tests.support.factories import NOON


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.25, "250 ms"),
        (0.999, "999 ms"),
        (1, "1 s"),
        (1.5, "1.5 s"),
        (1.26, "1.3 s"),
        (90, "90 s"),
        (240, "4 min"),
        (7_200, "2 h"),
        (864_000, "10 d"),
    ],
)
def test_duration_is_written_in_one_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "250 ms"),
        (42, "42 s"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (8_040, "2 h 14 min"),
        (7_199, "2 h"),
        (86_399, "24 h"),
        (97_200, "1 d 3 h"),
    ],
)
def test_long_duration_is_written_in_two_units(seconds: float, text: str) -> None:
    assert format_long_duration(seconds) == text


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        (0, "now"),
        (0.9, "now"),
        (-0.9, "now"),
        (1, "1 s ago"),
        (59.9, "59 s ago"),
        (60, "60 s ago"),
        (7_140, "119 min ago"),
        (7_200, "2 h ago"),
        (169_200, "47 h ago"),
        (172_800, "2 d ago"),
        (400 * 86_400, "400 d ago"),
        (-90, "in 90 s"),
        (-3 * 86_400, "in 3 d"),
    ],
)
def test_relative_time_has_one_unit(age_s: float, expected: str) -> None:
    assert format_relative_time(NOON - timedelta(seconds=age_s), NOON) == expected
