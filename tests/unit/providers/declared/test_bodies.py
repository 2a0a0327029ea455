"""How the fields of a request are placed and encoded."""

from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.providers.declared.bodies import OwnText, build_fields, encode_body, place_value

NESTED = {"to": ["1", "2"], "items": [{"price": "p", "n": 2}], "deep": {"a": {"b": True}}, "none": None}
JSON_FIELDS = [("deep", '{"a":{"b":true}}'), ("none", "null")]


def place(location: str, body: dict[str, Any]) -> dict[str, Any]:
    place_value(location, "URL", {}, {}, body)
    return body


@pytest.mark.parametrize(
    ("location", "body", "expected"),
    [
        ("url", {"url": "x", "a": 1}, {"url": "URL", "a": 1}),
        ("hook.url", {"hook": {"a": 1}}, {"hook": {"a": 1, "url": "URL"}}),
        ("hook.url", {"hook": "x"}, {"hook": {"url": "URL"}}),
        ("hooks[0].url", {}, {"hooks": [{"url": "URL"}]}),
        ("hooks[0].url", {"hooks": [{"url": "x", "a": 1}, 2]}, {"hooks": [{"url": "URL", "a": 1}, 2]}),
        ("hooks[3]", {"hooks": ["x"]}, {"hooks": ["x", "URL"]}),
        ("urls[0]", {"urls": "x"}, {"urls": ["URL"]}),
        ("a[].b", {"a": [{"d": 1}, {"b": "x", "e": 2}]}, {"a": [{"d": 1, "b": "URL"}, {"b": "URL", "e": 2}]}),
        ("a[*].b", {}, {"a": [{"b": "URL"}]}),
        ("a[0][1]", {}, {"a": [["URL"]]}),
        ("options[url]", {}, {"options[url]": "URL"}),
    ],
)  # fmt: skip
def test_value_is_placed_in_the_body(location: str, body: dict[str, Any], expected: object) -> None:
    before = orjson.dumps(body.get("a"))
    inner = body.get("a")
    assert place(location, body) == expected
    assert orjson.dumps(inner) == before  # the payload itself is not changed


def test_value_is_placed_outside_the_body() -> None:
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    place_value("header:X-Hook", "URL", headers, query, {})
    place_value("query:hook[0]", "URL", headers, query, {})
    assert (headers, query) == ({"x-hook": "URL"}, {"hook[0]": "URL"})


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("repeat", [("to", "1"), ("to", "2"), ("items", '{"price":"p","n":2}'), *JSON_FIELDS]),
        ("comma", [("to", "1,2"), ("items", '{"price":"p","n":2}'), *JSON_FIELDS]),
        (
            "brackets",
            [
                *[("to[]", "1"), ("to[]", "2"), ("items[0][price]", "p"), ("items[0][n]", "2")],
                *[("deep[a][b]", "true"), ("none", "null")],
            ],
        ),
    ],
)
def test_form_has_a_style(style: str, expected: list[tuple[str, str]]) -> None:
    encoded, media_type = encode_body("form", NESTED, style)
    assert media_type == "application/x-www-form-urlencoded"
    assert parse_qsl(encoded.decode(), strict_parsing=True) == expected


def test_multipart_has_the_fields_of_a_form() -> None:
    body = {**NESTED, 'a"b\r\nc': "line\r\nend"}
    encoded, media_type = encode_body("multipart", body, "repeat", "b-1")
    message = message_from_bytes(f"Content-Type: {media_type}\r\n\r\n".encode() + encoded)
    parts = [part for part in message.walk() if not part.is_multipart()]
    fields = [(part.get_param("name", header="content-disposition"), part.get_payload()) for part in parts]
    assert fields == [
        *[("to", "1"), ("to", "2"), ("items", '{"price":"p","n":2}'), *JSON_FIELDS],
        ("a%22b%0D%0Ac", "line\r\nend"),
    ]


def test_json_is_any_value() -> None:
    assert encode_body("json", [1]) == (b"[1]", "application/json")
    assert encode_body("query", {"a": 1}) == (b"", "")


@given(
    st.sampled_from(["repeat", "comma", "brackets"]),
    st.sampled_from(["own", "deep.own", "list[0].own", "list[]"]),
    st.dictionaries(
        st.sampled_from(
            ["own", "own[]", "own[x]", "deep", "deep[own]", "deep[own][x]", "list[0][own]", "list", "list[]", "x"]
        ),
        st.text("a", max_size=1) | st.lists(st.text("a"), max_size=2) | st.dictionaries(st.just("own"), st.text("a")),
    ),
)
def test_own_field_is_sent_without_others_of_its_name(style: str, location: str, payload: dict[str, Any]) -> None:
    fields = build_fields(place(location, dict(payload)), style)
    own = [field for field in fields if field.is_own]
    assert own
    for field in own:
        same = [other for other in fields if other.name == field.name or other.name.startswith(f"{field.name}[")]
        assert all(other.is_own for other in same)
        assert "URL" in field.text or location == "list[0].own"


def test_own_names_of_the_query_are_left_out() -> None:
    fields = build_fields({"key": "x", "key[]": "y", "keys": "z"}, "repeat", ["key"])
    assert [field.name for field in fields] == ["keys"]


def test_own_text_is_encoded_like_any_text() -> None:
    assert encode_body("json", {"a": OwnText("é")}) == ('{"a":"é"}'.encode(), "application/json")
