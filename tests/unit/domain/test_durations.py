"""Durations as text for people."""

import pytest

from receiver.domain.durations import format_duration, format_long_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.25, "250 ms"), (1.5, "1.5 s"), (90, "90 s"), (240, "4 min"), (7_200, "2 h"), (864_000, "10 d")],
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
