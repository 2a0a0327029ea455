"""Values of forms and queries."""

import time
from collections.abc import Callable
from urllib.parse import parse_qsl

import pytest

from receiver.providers.json_paths import parse_fields

ENCODED = "&".join(["a=1"] * 10_000)


def measure(parse: Callable[[str], object]) -> float:
    """Return the shortest of several times in which a form of repeated names is parsed, in seconds."""
    times = []
    for _ in range(7):
        started = time.perf_counter()
        parse(ENCODED)
        times.append(time.perf_counter() - started)
    return min(times)


@pytest.mark.parametrize(
    ("encoded", "fields"),
    [
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&b=2&a=3&a=4", {"a": ["1", "3", "4"], "b": "2"}),
        (b"a=&a=+", {"a": ["", " "]}),
    ],
)
def test_repeated_field_is_a_list(encoded: str | bytes, fields: dict[str, object]) -> None:
    assert parse_fields(encoded) == fields


def test_repeated_names_take_linear_time() -> None:
    """The standard library's parser is linear; a list that is copied for each name takes many times as long."""
    assert measure(parse_fields) < 6 * measure(lambda text: parse_qsl(text, keep_blank_values=True))
