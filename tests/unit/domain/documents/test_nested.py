"""JSON within texts of documents."""

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import pytest

from receiver.domain.documents.nested import expand_texts, find_nested_names, parse_text


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("id", {}),
        ("Message.id", {"Message": {}}),
        ("message.data.status", {"message": {"data": {}}}),
        ('"event-data".id', {"event-data": {}}),
        ("Message.records[].id", {"Message": {"records": {}}}),
        ("Message[0].id", {"Message": {}}),
        ("Message[?type=='x'].id", {"Message": {}}),
        ("join('.', [a.b, c.d])", {"a": {}, "c": {}}),
        ("a.b || c", {"a": {}}),
        ("a.{x: b.c}", {"a": {"b": {}}}),
        ("[0].data.id", {}),
        ("@.a.b", {"a": {}}),
        ("a.b | c.d", {"a": {"b": {"c": {}}}}),
        ("Message[0]", {"Message": {}}),
        ("Message[*].a.b", {"Message": {}}),
        ("Message.*.a.b", {"Message": {}}),
        ("@", {}),
    ],
)
def test_names_are_those_a_path_goes_through(path: str, names: dict[str, Any]) -> None:
    assert find_nested_names([path]) == names


def test_path_of_items_goes_through_its_last_name() -> None:
    assert find_nested_names(["a.b"], ["events", "a.list[]"]) == {"events": {}, "a": {"list": {}}}


INNER = {"id": "1", "text": "ü?>"}
TEXT = json.dumps(INNER)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f" {TEXT}\n",
        b64encode(TEXT.encode()).decode(),
        f"{b64encode(TEXT.encode()).decode()[:12]}\r\n {b64encode(TEXT.encode()).decode()[12:]}\n",
        urlsafe_b64encode(TEXT.encode()).decode().rstrip("="),
    ],
)
def test_text_may_be_json_or_its_base64(text: str) -> None:
    assert parse_text(text) == INNER


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("[1]", [1]),
        (b64encode(b"[1]").decode(), [1]),
        (b64encode(b"\n {} ").decode(), {}),
        *((b64encode(b'{"a":1}' + b" " * length).decode().rstrip("="), {"a": 1}) for length in range(3)),
    ],
)
def test_text_may_be_any_array_or_object(text: str, document: Any) -> None:
    assert parse_text(text) == document


@pytest.mark.parametrize(
    "text", ["", "1", "null", '"a"', "{", "[1", "e30x", "!!!!e30=", "abcd", "ü", "\ud83d", "{\ud83d"]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert parse_text(text) == text


def test_document_is_expanded_without_being_changed() -> None:
    inner = {"data": b64encode(b'{"id":7}').decode(), "other": "{}"}
    document = {"message": json.dumps(inner), "plain": "{}", "n": 1}
    expanded = expand_texts(document, find_nested_names(["message.data.id", "n.x", "missing.x"]))
    assert expanded == {"message": {"data": {"id": 7}, "other": "{}"}, "plain": "{}", "n": 1}
    assert document["message"] == json.dumps(inner)


@pytest.mark.parametrize(
    "document", [{"message": {"data": 1}}, {"message": [{}]}, {"message": "text"}, {}, [], None, 1]
)
def test_document_without_such_text_is_returned_itself(document: Any) -> None:
    assert expand_texts(document, find_nested_names(["message.data.id"])) is document
