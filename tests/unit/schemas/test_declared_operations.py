"""The tables of operations: contradictions are found at start."""

from typing import Any

import pytest

from receiver.schemas.declared import DeclaredSettingsSchema
from receiver.schemas.declared_operations import OperationSchema


@pytest.mark.parametrize(
    ("table", "places"),
    [
        ({"callback_token": True}, {"callback_token"}),
        ({"method": "FETCH"}, {"method"}),
        ({"body": "xml"}, {"body"}),
        ({"body_list": True, "body": "form"}, {"body_list"}),
        ({"body_field": "a", "body": "query"}, {"body_field"}),
        ({"body_field": "a", "body_list": True}, {"body_list"}),
        ({"body_field": "a", "callback_url": "url", "request_id": "query:id"}, {"callback_url"}),
        ({"body_field": "a", "request_id": "id", "computed": {"sum": "{b}"}}, {"request_id", "computed"}),
        ({"form_style": "brackets"}, {"form_style"}),
        ({"form_style": "dots", "body": "form"}, {"form_style"}),
    ],
)
def test_contradicting_keys_are_rejected(table: dict[str, Any], places: set[str]) -> None:
    assert OperationSchema().validate({"path": "/v1", **table}).keys() == places


@pytest.mark.parametrize(
    ("location", "value", "message"),
    [
        ("a", "{b", "Unmatched brace. Write {{ and }} for braces."),
        ("a", 1, "Must be a text or a table."),
        ("a", {"text": "{secret}"}, "{secret} requires secret to be set."),
        ("a", {"text": "x", "hmac": "sha256"}, "Missing data for required field: the key of hmac."),
        ("a", {"text": "x", "hash": "md5", "hmac": "md5", "secret": "s"}, "Must not be combined with hmac."),
        ("a", "{a}", "Must not be computed from itself: a from a."),
        ("a", "{hooks}", "Must be computed from texts and numbers: a place is set within hooks."),
        ("data.x", "1", "Must not be in one of json_fields."),
        ("header:X", "{data}", "Must be encoded, or a digest: the text of a JSON field does not fit a header."),
    ],
)
def test_invalid_computed_value_is_rejected(location: str, value: object, message: str) -> None:
    table = {"path": "/v1", "computed": {location: value}, "callback_url": "hooks[0]", "json_fields": ["data"]}
    assert message in str(OperationSchema().validate(table)["computed"])


def test_computed_values_are_sorted_by_their_sources() -> None:
    loaded = OperationSchema().load({"path": "/v1", "computed": {"a": "{b}{x}", "b": "{c}", "c": "1"}})
    assert list(loaded["computed"]) == ["c", "b", "a"]


def test_credentials_in_the_body_need_a_body_of_fields() -> None:
    table = {
        "kind": "declared",
        "base_url": "https://api.acme.example",
        "auth": {"scheme": "body", "name": "key", "secret": "s"},
        "signature": {"scheme": "github", "secrets": ["s"]},
        "callback": {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded"}},
        "operations": {"run": {"path": "/", "body_field": "items"}},
    }
    assert "body_field" in str(DeclaredSettingsSchema().validate(table)["operations"])
