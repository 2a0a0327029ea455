"""What no program sends by mistake: every operation refuses it with a problem that names the place, and none breaks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from receiver.web.openapi import build_document
from receiver.web.v1 import api as declared
from tests.factories import provider, settings
from tests.http import Answer, Json, Server, problem_of
from tests.integration.api.calls import ANY

DOCUMENT = build_document(settings("", Path(), {"sandbox": provider()}), declared.operations)
OPERATIONS: dict[str, tuple[str, str, Json]] = {
    described["operationId"]: (method.upper(), path, described)
    for path, methods in DOCUMENT["paths"].items()
    for method, described in methods.items()
    if "x-scope" in described
}
TAKING_BODIES = [name for name, (_, _, described) in OPERATIONS.items() if "requestBody" in described]
QUERIES = [
    (name, parameter["name"])
    for name, (_, _, described) in OPERATIONS.items()
    for parameter in described["parameters"]
    if parameter["in"] == "query"
]
MARK = "ceci-n-est-pas-une-valeur"
HUGE = 10**400
DEEP = 100_000


def target(name: str) -> tuple[str, str]:
    """Give the method and a path of an operation; where an id stands in it, it is nobody's."""
    method, path, described = OPERATIONS[name]
    for parameter in described["parameters"]:
        if parameter["in"] == "path":
            named = "sandbox" if parameter["name"] == "name" else ANY
            path = path.replace(f"{{{parameter['name']}}}", named)
    return method, path


def body_of(name: str) -> Json:
    """Give a good body of an operation."""
    media = OPERATIONS[name][2]["requestBody"]["content"]["application/json"]
    body: Json = next(iter(media["examples"].values()))["value"]
    return body


def marked(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give copies of a body with the mark in place of each of its texts, with their places."""
    if isinstance(value, str):
        yield place, MARK
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        for found, changed in marked(inner, (*place, str(key))):
            copy: Any = dict(value) if isinstance(value, dict) else list(value)
            copy[key] = changed
            yield found, copy


def send(api: Server, name: str, body: bytes, media_type: str | None = "application/json") -> Answer:
    method, path = target(name)
    return api.call(method, path, body, {} if media_type is None else {"content-type": media_type})


def refused(response: Answer, *place: str) -> Json:
    """Demand that an answer names the place, as far as it could be read."""
    assert response.status == 400, response
    errors: Json = problem_of(response)["errors"]
    assert place[0] in errors, errors
    return errors


@pytest.mark.parametrize("name", TAKING_BODIES)
@pytest.mark.parametrize("text", ["nul\\u0000", "lone \\ud800", "lone \\udfff", "\\udc00\\ud800"])
def test_text_that_cannot_be_kept_is_named_wherever_it_stands(api: Server, name: str, text: str) -> None:
    for place, body in marked(body_of(name)):
        refused(send(api, name, json.dumps(body).replace(MARK, text).encode()), *place)


@pytest.mark.parametrize("name", TAKING_BODIES)
@pytest.mark.parametrize("text", ["nul\\u0000", "lone \\ud800"])
def test_a_name_that_cannot_be_kept_is_refused(api: Server, name: str, text: str) -> None:
    body = json.dumps(body_of(name))
    refused(send(api, name, f'{body[:-1]}, "{text}": 1}}'.encode()), json.loads(f'"{text}"'))


@pytest.mark.parametrize("name", TAKING_BODIES)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", str(HUGE), f"-{HUGE}", "1e400", str(2**63), "1e19"])
def test_a_number_that_is_none_or_too_large_is_refused_wherever_it_stands(api: Server, name: str, value: str) -> None:
    for _, body in marked(body_of(name)):
        refused(send(api, name, json.dumps(body).replace(f'"{MARK}"', value).encode()), "_body")


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


@pytest.mark.parametrize("name", TAKING_BODIES)
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_json_document_is_refused(api: Server, name: str, body: bytes) -> None:
    refused(send(api, name, body), "_body")


@pytest.mark.parametrize("name", TAKING_BODIES)
@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"7", b"true"])
def test_what_is_no_object_is_refused(api: Server, name: str, body: bytes) -> None:
    refused(send(api, name, body), "_schema")


@pytest.mark.parametrize("name", TAKING_BODIES)
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
def test_a_body_of_another_media_type_is_415(api: Server, name: str, media_type: str | None) -> None:
    response = send(api, name, json.dumps(body_of(name)).encode(), media_type)
    assert response.status == 415, response
    problem_of(response)


@pytest.mark.parametrize("name", TAKING_BODIES)
def test_a_body_that_is_too_large_is_413(api: Server, name: str) -> None:
    (cap,) = (one.body_cap for one in declared.operations if one.name == name)
    response = send(api, name, b" " * ((cap << 20) + 1))
    assert response.status == 413, response
    problem_of(response)


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
def test_a_bad_value_in_a_query_is_named(api: Server, name: str, parameter: str, value: str) -> None:
    method, path = target(name)
    written = "metadata.order" if parameter == "metadata" else parameter
    if parameter == "reference" and value == HOSTILE_VALUES["a huge text"]:
        value = "x" * 1_001  # a reference may be longer than any other text
    response = api.call(method, f"{path}?{written}={value}")
    assert response.status == 400, response
    assert {parameter, "_query"} & problem_of(response)["errors"].keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_wrong_with_a_query_as_a_whole_is_told(api: Server, name: str) -> None:
    method, path = target(name)
    for query, told in {
        "limit=1&limit=1": "limit",
        "a=1&a=2": "a",
        "%00=1": "\0",
        "%FF=1": "_query",
        "=1": "",
        "nothing=of-the-kind": "nothing",
    }.items():
        refused(api.call(method, f"{path}?{query}", b"{}", {"content-type": "application/json"}), told)


@pytest.mark.parametrize(
    "name", ["metadata", "metadata.", f"metadata.{'x' * 101}", "metadata.%00", "metadata.%ED%A0%80"]
)
def test_a_bad_name_of_metadata_is_refused(api: Server, name: str) -> None:
    response = api.call("GET", f"/v1/requests?{name}=1")
    assert response.status == 400
    assert {"metadata", "metadata.KEY", "_query"} & problem_of(response)["errors"].keys()


@pytest.mark.parametrize("key", ["", " ", '"', '""', "back\\slash", "\xff", "x" * 256, f'"{"x" * 256}"', "tab\there"])
@pytest.mark.parametrize("name", ["submit_request", "submit_batch"])
def test_a_bad_idempotency_key_is_named(api: Server, name: str, key: str) -> None:
    method, path = target(name)
    headers = {"content-type": "application/json", "idempotency-key": key}
    refused(api.call(method, path, json.dumps(body_of(name)).encode(), headers), "Idempotency-Key")


@pytest.mark.parametrize(
    "part", ["not-an-id", "%00", "%FF", "%2F", "..", ANY[:-1], f"{ANY}0", ANY.replace("-", ""), "9" * 400]
)
@pytest.mark.parametrize("name", [name for name, (_, path, _) in OPERATIONS.items() if "{" in path])
def test_a_bad_id_is_nobodys(api: Server, name: str, part: str) -> None:
    method, path = target(name)
    response = api.call(
        method, path.replace(ANY, part).replace("sandbox", part), b"{}", {"content-type": "application/json"}
    )
    assert response.status in {404, 405}, response
    problem_of(response)
