"""Hostile calls: every operation refuses them with a problem that names the place, and none fails."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from receiver.web.openapi.document import build_document
from receiver.web.problems import ProblemType
from receiver.web.v1 import api as api_v1
from tests.integration.web.v1.calls import UNKNOWN_ID
from tests.support.factories import provider, settings
from tests.support.http import Json, Response, Server, parse_problem

DOCUMENT = build_document(settings("", Path(), {"sandbox": provider()}), api_v1.operations)
OPERATIONS: dict[str, tuple[str, str, Json]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "x-scope" in operation
}
WITH_BODY = [name for name, (_, _, operation) in OPERATIONS.items() if "requestBody" in operation]
QUERIES = [
    (name, parameter["name"])
    for name, (_, _, operation) in OPERATIONS.items()
    for parameter in operation["parameters"]
    if parameter["in"] == "query"
]
PLACEHOLDER = "placeholder-for-a-value"
HUGE = 10**400
DEEP = 100_000


def build_target(name: str) -> tuple[str, str]:
    """Return the method and a path of an operation, with an unknown id in it."""
    method, path, operation = OPERATIONS[name]
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            value = "sandbox" if parameter["name"] == "name" else UNKNOWN_ID
            path = path.replace(f"{{{parameter['name']}}}", value)
    return method, path


def get_example_body(name: str) -> Json:
    """Return a valid body of an operation."""
    media = OPERATIONS[name][2]["requestBody"]["content"]["application/json"]
    body: Json = next(iter(media["examples"].values()))["value"]
    return body


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


def assert_invalid(response: Response, *place: str) -> Json:
    """Check that a response is an invalid request and that its errors name the first part of the place."""
    assert response.status == 400, response
    errors: Json = parse_problem(response, ProblemType.INVALID_REQUEST)["errors"]
    assert place[0] in errors, errors
    return errors


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


HOSTILE_VALUES = {
    "NUL": "%00",
    "NUL within": "a%00b",
    "no UTF-8": "%FF",
    "half a character": "%C3",
    "a lone surrogate": "%ED%A0%80",
    "an overlong form": "%C0%AF",
    "a huge number": "9" * 1_001,
    "a huge text": quote("🚀" * 501),
}


@pytest.mark.parametrize(("name", "parameter"), QUERIES)
@pytest.mark.parametrize("value", HOSTILE_VALUES.values(), ids=HOSTILE_VALUES)
def test_hostile_query_value_is_named(api: Server, name: str, parameter: str, value: str) -> None:
    method, path = build_target(name)
    query_name = "metadata.order" if parameter == "metadata" else parameter
    if parameter == "reference" and value == HOSTILE_VALUES["a huge text"]:
        value = "x" * 1_001  # a reference may be longer than any other text
    response = api.call(method, f"{path}?{query_name}={value}")
    assert response.status == 400, response
    assert {parameter, "_query"} & parse_problem(response)["errors"].keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_malformed_query_is_named(api: Server, name: str) -> None:
    method, path = build_target(name)
    for query, field in {
        "limit=1&limit=1": "limit",
        "a=1&a=2": "a",
        "%00=1": "\0",
        "%FF=1": "_query",
        "=1": "",
        "nothing=of-the-kind": "nothing",
    }.items():
        assert_invalid(api.call(method, f"{path}?{query}", b"{}", {"content-type": "application/json"}), field)


@pytest.mark.parametrize(
    "name", ["metadata", "metadata.", f"metadata.{'x' * 101}", "metadata.%00", "metadata.%ED%A0%80"]
)
def test_invalid_metadata_key_in_query_is_refused(api: Server, name: str) -> None:
    response = api.call("GET", f"/v1/requests?{name}=1")
    assert response.status == 400
    assert {"metadata", "metadata.KEY", "_query"} & parse_problem(response)["errors"].keys()


@pytest.mark.parametrize("key", ["", " ", '"', '""', "back\\slash", "\xff", "x" * 256, f'"{"x" * 256}"', "tab\there"])
@pytest.mark.parametrize("name", ["submit_request", "submit_batch"])
def test_invalid_idempotency_key_is_named(api: Server, name: str, key: str) -> None:
    method, path = build_target(name)
    headers = {"content-type": "application/json", "idempotency-key": key}
    assert_invalid(api.call(method, path, json.dumps(get_example_body(name)).encode(), headers), "Idempotency-Key")


@pytest.mark.parametrize(
    "part",
    ["not-an-id", "%00", "%FF", "%2F", "..", UNKNOWN_ID[:-1], f"{UNKNOWN_ID}0", UNKNOWN_ID.replace("-", ""), "9" * 400],
)
@pytest.mark.parametrize("name", [name for name, (_, path, _) in OPERATIONS.items() if "{" in path])
def test_malformed_id_is_404(api: Server, name: str, part: str) -> None:
    method, path = build_target(name)
    response = api.call(
        method, path.replace(UNKNOWN_ID, part).replace("sandbox", part), b"{}", {"content-type": "application/json"}
    )
    assert response.status in {404, 405}, response
    parse_problem(response)
