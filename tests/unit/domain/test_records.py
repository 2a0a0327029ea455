"""Records are dataclasses that can be compared, hashed and replaced."""

from dataclasses import replace

import pytest

from receiver.domain.records import record


@record(frozen=True, slots=True)
class Point:
    """A record with a default value."""

    x: int
    y: int = 0


def test_record_is_value() -> None:
    point = Point(1)

    assert replace(point, y=2) == Point(1, 2)
    assert {point: "first"}[Point(1, 0)] == "first"
    assert not hasattr(point, "__dict__")


def test_record_is_declared_frozen() -> None:
    with pytest.raises(ValueError, match="declared frozen"):
        record(frozen=False, slots=True)
