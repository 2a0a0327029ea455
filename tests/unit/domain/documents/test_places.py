"""Places in documents: which paths are plain, and what is written at one."""

import json
from base64 import b64encode
from typing import Any

import pytest

from receiver.domain.documents.places import EVERY_ITEM, Step, parse_plain_path, set_at


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("@", []),
        ("id", ["id"]),
        ("a.b_2.c", ["a", "b_2", "c"]),
        ('"event-data".id', ["event-data", "id"]),
        ("items[].id", ["items", EVERY_ITEM, "id"]),
        ("items[*].id", ["items", EVERY_ITEM, "id"]),
        ("to[0].status", ["to", 0, "status"]),
        ("[].id", [EVERY_ITEM, "id"]),
    ],
)
def test_plain_path_has_steps(path: str, steps: list[Step]) -> None:
    assert parse_plain_path(path) == steps


@pytest.mark.parametrize(
    "path", ["a || b", "join('.', [a, b])", "type(a)", "a[?b].c", "a.*", "a[1:2]", "a[-1]", "{a: b}"]
)
def test_other_path_has_no_steps(path: str) -> None:
    assert parse_plain_path(path) is None


@pytest.mark.parametrize(
    ("document", "steps", "expected"),
    [
        (None, [], "x"),
        (None, ["a", "b"], {"a": {"b": "x"}}),
        ({"a": 1, "b": 2}, ["a"], {"a": "x", "b": 2}),
        ({"a": "text"}, ["a", "b"], {"a": {"b": "x"}}),
        ({}, ["a", EVERY_ITEM, "b"], {"a": [{"b": "x"}]}),
        ([{"a": 1}, {"b": 2}], [EVERY_ITEM, "a"], [{"a": "x"}, {"a": "x", "b": 2}]),
        ([{"a": 1}, {"a": 2, "b": 3}, {"a": 4}], [1, "a"], [{"a": 1}, {"a": "x", "b": 3}, {"a": 4}]),
        ([{"a": 1}], [1, "a"], [{"a": 1}, {"a": "x"}]),
        (None, [0, "a"], [{"a": "x"}]),
    ],
)
def test_value_is_set(document: Any, steps: list[Step], expected: Any) -> None:
    before = json.dumps(document)
    assert set_at(document, steps, "x") == expected
    assert json.dumps(document) == before


def test_json_within_text_is_written_anew() -> None:
    inner = b'{"a": 1}'
    assert set_at({"data": inner.decode()}, ["data", "b"], "x") == {"data": '{"a": 1, "b": "x"}'}
    assert set_at({"data": ' [{"a": 1}]'}, ["data", 0, "a"], "x") == {"data": '[{"a": "x"}]'}
    encoded = set_at({"data": b64encode(inner).decode()}, ["data", "b"], "x")
    assert encoded == {"data": b64encode(b'{"a": 1, "b": "x"}').decode()}
