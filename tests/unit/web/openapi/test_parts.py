"""The parts of the OpenAPI document: parameters, fields and problems."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from receiver.domain.notifications import NotificationType
from receiver.web.problems import MEDIA_TYPE, ProblemType
from tests.support.http import Json
from tests.support.openapi import CONFIGURATIONS, DOCUMENT, build_json_document, is_valid, iterate_operations

UNDESCRIBED = {
    ProblemType.INTERNAL_ERROR,
    ProblemType.METHOD_NOT_ALLOWED,
    ProblemType.URI_TOO_LONG,
    ProblemType.EXPECTATION_FAILED,
    ProblemType.HEADERS_TOO_LARGE,
    ProblemType.UNSUPPORTED_TRANSFER_CODING,
}
"""Failures of the service, and the responses to what is no HTTP request of a common client."""


def find_media(value: Any, media_type: str) -> Iterator[Json]:
    """Yield the media type objects of a media type, anywhere in a document."""
    if isinstance(value, dict):
        if media_type in value:
            yield value[media_type]
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from find_media(inner, media_type)


def test_every_parameter_and_field_has_a_description(document: Json) -> None:
    for name, schema in document["components"]["schemas"].items():
        if not name.startswith("Payload."):
            for field, value in schema.get("properties", {}).items():
                assert value.get("description") or "$ref" in value or "anyOf" in value or "enum" in value, (name, field)
    for name, operation in iterate_operations(document):
        for parameter in operation.get("parameters", ()):
            assert parameter["in"] == "path" or parameter["description"], (name, parameter)


def test_metadata_filter_has_free_keys() -> None:
    (parameter,) = (
        item for item in DOCUMENT["paths"]["/v1/requests"]["get"]["parameters"] if item["name"] == "metadata"
    )
    assert (parameter["style"], parameter["explode"]) == ("form", True)
    for name, is_accepted in {
        "metadata.order": True,
        "metadata[order]": True,
        "metadata[order": False,
        "metadata[]": False,
        "metadata.": False,
        "order": False,
        f"metadata.{'x' * 101}": False,
    }.items():
        assert is_valid(DOCUMENT, parameter["schema"], {name: "7"}) is is_accepted


def test_problem_types_are_enumerated(document: Json) -> None:
    schema = document["components"]["schemas"]["Problem"]
    assert schema["properties"]["type"]["enum"] == [problem_type.uri for problem_type in ProblemType]
    examples = [media["example"] for media in find_media(document, MEDIA_TYPE)]
    types = {problem_type.uri: problem_type for problem_type in ProblemType}
    for example in examples:
        problem_type = types[example["type"]]
        assert (example["title"], example["status"]) == (problem_type.title, problem_type.status)
    described = json.dumps([document["paths"], document["webhooks"], document["components"]["responses"]])
    for problem_type in set(ProblemType) - UNDESCRIBED:
        assert f"`{problem_type.slug}`: " in described, problem_type


@pytest.mark.parametrize("name", ["Submission.sandbox.send", "Tracking"])
def test_notify_events_require_a_notify_url(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    payload = {"client_reference": "c", "to": ["1"], "text": "t"}
    body = {"provider": "sandbox", "operation": "send", "payload": payload}
    body = body if name != "Tracking" else {"provider": "sandbox", "reference": "ref-1"}
    url = {"notify_url": "https://shop.example/"}
    events = {"notify_events": ["job"]}
    for valid in (body, body | url, body | url | events, body | events | {"notify_url": None}):
        assert is_valid(DOCUMENT, schema, valid), valid
    for invalid in (events, {"provider": "0"}, {"account": "0"}):
        assert not is_valid(DOCUMENT, schema, body | invalid), invalid


def test_notify_url_pattern_follows_configuration() -> None:
    [submission] = (
        item for name, item in DOCUMENT["components"]["schemas"].items() if name == "Submission.sandbox.send"
    )
    schema = submission["properties"]["notify_url"]
    allowed: Sequence[Any] = (
        None,
        "https://shop.example/notifications?a=1",
        "https://eu.shop.example:8443",
        "https://shop.example:65535/notifications",
        "https://shop.example:10000?token=1",
        "https://a-store.eu.shop.example/",
        "https://93.184.216.34/",
    )
    forbidden: Sequence[Any] = (
        "http://shop.example/",
        "https://shop.example.evil/",
        "https://shop_example/",
        "https://shop.example:65536/",
        "https://shop.example:0/",
        "https://shop.example//notifications",
        "https://-store.shop.example/",
        "https://10.0.0.1/",
        1,
    )
    for url in allowed:
        assert is_valid(DOCUMENT, schema, url), url
    for url in forbidden:
        assert not is_valid(DOCUMENT, schema, url), url
    unconfigured = build_json_document(CONFIGURATIONS["one"])
    schema = unconfigured["components"]["schemas"]["Submission.sandbox.send"]["properties"]["notify_url"]
    assert is_valid(unconfigured, schema, None)
    assert not is_valid(unconfigured, schema, "https://shop.example/")
    assert NotificationType.REQUEST_FINISHED not in unconfigured["webhooks"]
    assert "notify_events" not in unconfigured["components"]["schemas"]["Tracking.sandbox"]["properties"]
