"""Schemas that load quickly accept, load and refuse exactly what marshmallow does."""

from typing import Any

import pytest
from marshmallow import Schema, ValidationError

from receiver.schemas.api.requests import SubmissionSchema
from receiver.schemas.sandbox import SandboxPayloadSchema

NEEDED = {"provider": "acme", "operation": "send", "payload": {}}
PAYLOAD = {"client_reference": "order-7", "to": ["2348000000001"], "text": "Your code is 184 205."}
SUBMISSIONS: list[Any] = [
    NEEDED,
    NEEDED | {"payload": {"to": ["é", {"deep": [1, 2.5, None, True]}]}, "metadata": {"order": 7}},
    NEEDED | {"account": None, "send_after": None, "deadline": "2126-01-01T01:00:00+01:00", "priority": 5.0},
    NEEDED | {"account": "north", "notify_url": "https://shop.example/hook", "notify_events": ["job"]},
    NEEDED | {"notify_url": None},
    NEEDED | {"notify_events": ["job"]},
    NEEDED | {"metadata": {"a": "nul\0"}},
    NEEDED | {"payload": {"nul\0": 1}},
    NEEDED | {"payload": {"lone": "\ud800"}},
    NEEDED | {"payload": None},
    NEEDED | {"metadata": None},
    NEEDED | {"payload": []},
    NEEDED | {"provider": "x" * 64, "operation": "", "surprise": 1},
    NEEDED | {"priority": True},
    NEEDED | {"priority": 10},
    NEEDED | {"send_after": "tomorrow"},
    {"provider": "acme"},
    {},
    [],
    "text",
    None,
]
PAYLOADS: list[Any] = [
    PAYLOAD,
    PAYLOAD | {"to": []},
    PAYLOAD | {"to": ["2348000000001", 5, None]},
    PAYLOAD | {"to": "2348000000001"},
    PAYLOAD | {"text": None, "extra": 1},
    {},
]


def load(schema: Schema, document: Any, load_document: Any) -> Any:
    """Return the loaded document, or the errors."""
    try:
        return load_document(schema, document)
    except ValidationError as error:
        return error.messages, error.valid_data


@pytest.mark.parametrize("document", SUBMISSIONS)
def test_quick_schema_loads_what_marshmallow_loads(document: Any) -> None:
    quick, slow = (load(SubmissionSchema(), document, loads) for loads in (SubmissionSchema.load, Schema.load))

    assert quick == slow


@pytest.mark.parametrize("document", PAYLOADS)
def test_quick_schema_finds_the_errors_of_marshmallow(document: Any) -> None:
    schema = SandboxPayloadSchema()

    assert schema.validate(document) == Schema.validate(schema, document)


def test_quick_schema_uses_marshmallow_for_errors_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Schema, "load", None)

    assert SubmissionSchema().load(NEEDED) == NEEDED | {"metadata": {}, "send_after": None, "deadline": None}


def test_defaults_of_quick_schema_are_not_shared() -> None:
    first, second = (SubmissionSchema().load(NEEDED)["metadata"] for _ in range(2))

    assert first is not second
