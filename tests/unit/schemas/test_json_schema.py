"""JSON Schemas accept exactly the payloads and bodies that validation accepts."""

from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from receiver.providers.base import Provider
from receiver.schemas.api import jobs
from receiver.schemas.json_schema import build_json_schema
from tests.support.factories import NOON
from tests.support.kinds import PROVIDERS

SEND = {"client_reference": "c-1", "to": ["2348030000000"], "text": "hello"}
RENDER = {"template": "t", "title": "a title", "kind": "gif"}
BROADCAST = {"recipients": ["2348181234567"], "text": "hello", "sender": "Cecula"}
A2P = {"origin": "Cecula", "message": "hello", "recipients": ["2348181234567"]}
SYNC = {"text": "hello", "recipients": ["+2348181234567"]}
TEMPLATE = {"recipients": [{"mobile": "2348181234567"}], "template": "welcome", "sender": "Cecula"}


def without(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return {key: value for key, value in payload.items() if key != name}


PAYLOADS: list[tuple[str, str, Mapping[str, Any], bool]] = [
    ("sandbox", "send", SEND, True),
    ("sandbox", "send", without(SEND, "to"), False),
    ("sandbox", "send", SEND | {"to": []}, False),
    ("sandbox", "send", SEND | {"to": ["1"] * 1_000}, True),
    ("sandbox", "send", SEND | {"to": ["1"] * 1_001}, False),
    ("sandbox", "send", SEND | {"to": ["1" * 21]}, False),
    ("sandbox", "send", SEND | {"text": ""}, False),
    ("sandbox", "send", SEND | {"text": "🚀" * 1_071}, True),
    ("sandbox", "send", SEND | {"text": "🚀" * 1_072}, False),
    ("sandbox", "send", SEND | {"text": "line\nend\n"}, True),
    ("sandbox", "send", SEND | {"text": "nul\0"}, False),
    ("sandbox", "send", SEND | {"text": None}, False),
    ("sandbox", "send", SEND | {"colour": "red"}, False),
    ("acme", "render", RENDER, True),
    ("acme", "render", without(RENDER, "template"), False),
    ("acme", "render", without(RENDER, "title"), False),
    ("acme", "render", without(RENDER, "kind"), False),
    ("acme", "render", RENDER | {"template": ""}, False),
    ("acme", "render", RENDER | {"template": None}, False),
    ("acme", "render", RENDER | {"template": 0}, True),
    ("acme", "render", RENDER | {"template": 7.5}, True),
    ("acme", "render", RENDER | {"template": True}, False),
    ("acme", "render", RENDER | {"template": ["t"]}, False),
    ("acme", "render", RENDER | {"title": None}, False),
    ("acme", "render", RENDER | {"title": ""}, False),
    ("acme", "render", RENDER | {"title": False}, True),
    ("acme", "render", RENDER | {"title": [None]}, True),
    ("acme", "render", RENDER | {"style": "bold"}, True),
    ("acme", "render", RENDER | {"style": None}, False),
    ("acme", "render", RENDER | {"size": 3}, True),
    ("acme", "render", RENDER | {"size": {}}, False),
    ("acme", "render", RENDER | {"anything": {"deep": [1, None, {"x": "y"}]}}, True),
    ("acme", "still", {"note": "text"}, True),
    ("acme", "still", {}, False),
    ("acme", "sum", {"a": "x", "c": 2, "d": [1]}, True),
    ("acme", "sum", {"a": "x"}, False),
    ("acme", "sum", {"a": "x", "c": True}, False),
    ("acme", "sum", {"a": "x", "c": "é"}, True),
    ("acme", "sum", {"a": "é", "c": "é"}, False),
    ("acme", "sum", {"a": "x\n", "c": "é"}, False),
    ("acme", "list", {"id": 1, "items": [{"a": 1}]}, True),
    ("acme", "list", {"id": 1, "items": [], "more": 1}, False),
    ("acme", "list", {"id": 1}, False),
    ("cecula", "send", BROADCAST, True),
    ("cecula", "send", BROADCAST | {"recipients": ["0812345678"]}, False),
    ("cecula", "send", BROADCAST | {"recipients": ["2348181234567\n"]}, False),
    ("cecula", "send", BROADCAST | {"recipients": ["٢٣٤٨١٨١٢٣٤"]}, False),
    ("cecula", "send", BROADCAST | {"sender": "twelve chars"}, False),
    ("cecula", "send", BROADCAST | {"sender": "two\nlines"}, True),
    ("cecula", "send", BROADCAST | {"sender": "nul\0"}, False),
    ("cecula", "send", BROADCAST | {"flash": True}, True),
    ("cecula", "send", BROADCAST | {"flash": 1}, False),
    ("cecula", "send", BROADCAST | {"flash": "true"}, False),
    ("cecula", "send", BROADCAST | {"broadcastTime": None}, True),
    ("cecula", "send", BROADCAST | {"broadcastTime": "2126-11-01 16:24:00"}, True),
    ("cecula", "send", BROADCAST | {"broadcastTime": "2126-13-01 16:24:00"}, False),
    ("cecula", "send", BROADCAST | {"broadcastTime": "2126-11-01T16:24:00"}, False),
    ("cecula", "send_template", TEMPLATE, True),
    ("cecula", "send_template", TEMPLATE | {"recipients": [{"mobile": "2348181234567", "data": {"": [1]}}]}, True),
    ("cecula", "send_template", TEMPLATE | {"recipients": [{"mobile": "2348181234567", "data": {"n\0": 1}}]}, False),
    ("cecula", "send_template", TEMPLATE | {"recipients": [{"data": {}}]}, False),
    ("cecula", "send_template", TEMPLATE | {"template": ""}, False),
    ("legacy", "send_a2p", A2P, True),
    ("legacy", "send_a2p", A2P | {"origin": "not-alnum"}, False),
    ("legacy", "send_a2p", A2P | {"message": "x" * 1_531}, False),
    ("legacy", "send_p2p", A2P | {"origin": "2348030000"}, True),
    ("legacy", "send_p2p", A2P, False),
    ("sync", "send_sms", SYNC, True),
    ("sync", "send_sms", SYNC | {"recipients": ["+2348181234567,1"]}, False),
]


@pytest.mark.parametrize(("name", "operation", "payload", "valid"), PAYLOADS)
def test_payload_schema_accepts_exactly_valid_payloads(
    name: str, operation: str, payload: Mapping[str, Any], valid: bool
) -> None:
    provider: Provider = PROVIDERS[name]
    assert Draft202012Validator(dict(provider.operations[operation].build_payload_schema())).is_valid(payload) is valid
    assert bool(provider.operations[operation].check_payload(payload, NOON)) is not valid


def test_every_operation_has_valid_and_invalid_payloads() -> None:
    covered = {(name, operation, valid) for name, operation, _, valid in PAYLOADS}
    expected = {
        (name, operation, valid)
        for name, provider in PROVIDERS.items()
        for operation in provider.operations
        for valid in (True, False)
    }
    assert covered == expected


def test_response_schema_requires_all_fields_and_allows_more() -> None:
    document = build_json_schema(jobs.JobSchema())
    assert set(document["required"]) == set(document["properties"])
    assert "additionalProperties" not in document
