"""Hostile bodies: every operation refuses them with a problem that names the place, and none fails."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from receiver.web.v1 import api as api_v1
from tests.support.declared_operations import OPERATIONS, assert_invalid, build_target, get_example_body
from tests.support.http import Response, Server, parse_problem

WITH_BODY = [name for name, (_, _, operation) in OPERATIONS.items() if "requestBody" in operation]
PLACEHOLDER = "placeholder-for-a-value"
HUGE = 10**400
DEEP = 100_000


def replace_each_text(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield copies of a body, each with the placeholder instead of one text, and the path of that text."""
    if isinstance(value, str):
        yield place, PLACEHOLDER
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        for inner_place, changed in replace_each_text(inner, (*place, str(key))):
            copy: Any = dict(value) if isinstance(value, dict) else list(value)
            copy[key] = changed
            yield inner_place, copy


def send(api: Server, name: str, body: bytes, media_type: str | None = "application/json") -> Response:
    method, path = build_target(name)
    return api.call(method, path, body, {} if media_type is None else {"content-type": media_type})


@pytest.mark.parametrize("name", WITH_BODY)
@pytest.mark.parametrize("text", ["nul\\u0000", "lone \\ud800", "lone \\udfff", "\\udc00\\ud800"])
def test_unstorable_text_is_named_anywhere_in_body(api: Server, name: str, text: str) -> None:
    for place, body in replace_each_text(get_example_body(name)):
        assert_invalid(send(api, name, json.dumps(body).replace(PLACEHOLDER, text).encode()), *place)


@pytest.mark.parametrize("name", WITH_BODY)
@pytest.mark.parametrize("text", ["nul\\u0000", "lone \\ud800"])
def test_unstorable_name_is_refused(api: Server, name: str, text: str) -> None:
    body = json.dumps(get_example_body(name))
    assert_invalid(send(api, name, f'{body[:-1]}, "{text}": 1}}'.encode()), json.loads(f'"{text}"'))


@pytest.mark.parametrize("name", WITH_BODY)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", str(HUGE), f"-{HUGE}", "1e400", str(2**63), "1e19"])
def test_invalid_number_is_refused_anywhere_in_body(api: Server, name: str, value: str) -> None:
    for _, body in replace_each_text(get_example_body(name)):
        assert_invalid(send(api, name, json.dumps(body).replace(f'"{PLACEHOLDER}"', value).encode()), "_body")


HOSTILE = {
    "nested arrays": b"[" * DEEP,
    "nested and closed": b"[" * DEEP + b"]" * DEEP,
    "nested objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a name twice": b'{"reason": "a", "reason": "a"}',
    "a name twice, deep": b'{"payload": {"a": [{"b": 1, "b": 1}]}}',
    "a name twice, escaped": b'{"reason": "a", "\\u0072eason": "a"}',
    "no UTF-8": b'{"reason": "\xff"}',
    "half a character": '{"reason": "é"}'.encode()[:-3],
    "UTF-16": '{"reason": "a"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"reason": "a"}',
    "two documents": b"{} {}",
    "a comment": b"{} // why",
    "a trailing comma": b'{"reason": "a",}',
    "an open text": b'{"reason": "a',
    "a control character": b'{"reason": "a\x01"}',
    "only white space": b" \n",
    "NUL bytes": b"\0" * 100,
}


@pytest.mark.parametrize("name", WITH_BODY)
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_invalid_json_is_refused(api: Server, name: str, body: bytes) -> None:
    assert_invalid(send(api, name, body), "_body")


@pytest.mark.parametrize("name", WITH_BODY)
@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"7", b"true"])
def test_json_that_is_not_an_object_is_refused(api: Server, name: str, body: bytes) -> None:
    assert_invalid(send(api, name, body), "_schema")


@pytest.mark.parametrize("name", WITH_BODY)
@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "\xff",
    ],
)
def test_other_media_type_is_415(api: Server, name: str, media_type: str | None) -> None:
    response = send(api, name, json.dumps(get_example_body(name)).encode(), media_type)
    assert response.status == 415, response
    parse_problem(response)


@pytest.mark.parametrize("name", WITH_BODY)
def test_too_large_body_is_413(api: Server, name: str) -> None:
    (factor,) = (item.body_size_factor for item in api_v1.operations if item.name == name)
    response = send(api, name, b" " * ((factor << 20) + 1))
    assert response.status == 413, response
    parse_problem(response)
