"""Times as people read them at a glance."""

from datetime import timedelta

import pytest

from receiver.domain.relative_times import format_relative_time
from tests.support.factories import NOON


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        (0, "now"),
        (0.9, "now"),
        (-0.9, "now"),
        (1, "1 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (7_199, "119 min ago"),
        (7_200, "2 h ago"),
        (172_799, "47 h ago"),
        (172_800, "2 d ago"),
        (400 * 86_400, "400 d ago"),
        (-90, "in 1 min"),
        (-3 * 86_400, "in 3 d"),
    ],
)
def test_relative_time_has_one_unit(age_s: float, expected: str) -> None:
    assert format_relative_time(NOON - timedelta(seconds=age_s), NOON) == expected
