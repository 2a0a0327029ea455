"""Schemas of the sandbox provider: strict payloads, and documents to which the provider may add fields."""

from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.schemas.sandbox import SandboxCallbackSchema, SandboxPayloadSchema, SandboxResponseSchema

PAYLOAD = {"client_reference": "c-1", "to": ["2348030000000"], "text": "hello"}


def test_payload_is_loaded_unchanged() -> None:
    assert SandboxPayloadSchema().load(PAYLOAD) == PAYLOAD


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"to": []}, "to"),
        ({"to": ["1"] * 1_001}, "to"),
        ({"text": ""}, "text"),
        ({"text": "x" * 1_072}, "text"),
        ({"client_reference": None}, "client_reference"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_invalid_payload_is_rejected_by_field(change: dict[str, Any], place: str) -> None:
    assert SandboxPayloadSchema().validate(PAYLOAD | change).keys() == {place}


def test_response_ignores_unknown_fields() -> None:
    loaded = SandboxResponseSchema().load({"items": [{"code": 1801, "extra": 1}], "more": 2})
    assert loaded == {"items": [{"code": 1801, "id": None, "status": None}]}


@pytest.mark.parametrize("code", [None, 1801.5, "x", True])
def test_response_item_needs_a_whole_number_as_code(code: object) -> None:
    assert SandboxResponseSchema().validate({"items": [{"code": code}]}).keys() == {"items"}


def test_callback_is_loaded_with_its_time_in_utc() -> None:
    result = {"id": "r", "state": "DELIVERED", "at": "2026-11-23T14:00:00+01:00", "extra": 1}
    [report] = SandboxCallbackSchema().load({"results": [result]})["results"]
    assert report == {
        "id": "r",
        "state": "DELIVERED",
        "reason": None,
        "at": datetime(2026, 11, 23, 13, tzinfo=UTC),
    }


def test_callback_without_results_or_id_is_rejected() -> None:
    assert SandboxCallbackSchema().validate({"results": []}).keys() == {"results"}
    errors: dict[str, Any] = SandboxCallbackSchema().validate({"results": [{"state": "SENT"}]})
    assert errors == {"results": {"0": {"id": ["Missing data for required field."]}}}
