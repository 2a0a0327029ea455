"""The tables of a declared provider: defaults, combinations of keys, and what the signature must cover."""

from typing import Any

import pytest
from marshmallow import Schema

from receiver.schemas.declared import (
    CallbackTableSchema,
    DeclaredSettingsSchema,
    ResponseTableSchema,
)

CALLBACK = {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded"}}
SETTINGS = {
    "kind": "declared",
    "base_url": "https://api.acme.example",
    "signature": {"scheme": "github", "secrets": ["s"]},
    "callback": CALLBACK,
}
MISSING = "Missing data for required field"


def find_errors(schema: Schema, table: dict[str, Any]) -> dict[str, Any]:
    return schema.validate(table)


def test_minimal_settings_are_valid() -> None:
    loaded = DeclaredSettingsSchema().load(SETTINGS)
    assert loaded["callback"]["reference"] == ["id"]
    assert (loaded["callback"]["methods"], loaded["callback"]["ack"]["status"]) == (["POST"], 200)
    assert (loaded["operations"], loaded["poll"], loaded["lookup"]) == ({}, None, None)


@pytest.mark.parametrize(
    ("schema", "table", "places"),
    [
        (ResponseTableSchema(), {"code": "status"}, {"codes"}),
        (ResponseTableSchema(), {"codes": {"1": "accepted"}}, {"code"}),
        (CallbackTableSchema(), CALLBACK | {"event_id": "header:X_Id"}, {"event_id"}),
        (CallbackTableSchema(), CALLBACK | {"request": "header:X_Id"}, {"request"}),
        (CallbackTableSchema(), {"reference": "id"}, {"status"}),
        (CallbackTableSchema(), {"reference": "id", "status": "state"}, {"statuses"}),
        (CallbackTableSchema(), CALLBACK | {"superseding": ["GONE"]}, {"superseding"}),
        (CallbackTableSchema(), CALLBACK | {"superseding": ["*"], "statuses": {"*": "failed"}}, {"superseding"}),
        (CallbackTableSchema(), CALLBACK | {"json_field": "data"}, {"json_field"}),
        (CallbackTableSchema(), CALLBACK | {"json_field": "data", "body": "xml"}, {"json_field"}),
        (CallbackTableSchema(), CALLBACK | {"body": "text"}, {"body"}),
        (CallbackTableSchema(), CALLBACK | {"status": "header:X_Status"}, {"status"}),
        (CallbackTableSchema(), CALLBACK | {"time_unit": "ns"}, {"time_unit"}),
        (CallbackTableSchema(), CALLBACK | {"colour": "red"}, {"colour"}),
    ],
)
def test_contradicting_keys_are_rejected(schema: Schema, table: dict[str, Any], places: set[str]) -> None:
    assert find_errors(schema, table).keys() == places


@pytest.mark.parametrize(
    ("callback", "signature"), [({"fetch": True}, {}), ({}, {"trust": "confirm"})], ids=["fetch", "confirm"]
)
def test_nothing_overrules_what_only_a_poll_decides(callback: dict[str, Any], signature: dict[str, Any]) -> None:
    table = SETTINGS | {
        "callback": CALLBACK | callback,
        "signature": {"scheme": "github", "secrets": ["s"]} | signature,
        "poll": {"path": "/jobs/{reference}"},
    }
    assert find_errors(DeclaredSettingsSchema(), table) == {}
    table["callback"] |= {"superseding": ["DONE"]}
    assert find_errors(DeclaredSettingsSchema(), table).keys() == {"callback"}


@pytest.mark.parametrize(
    ("callback", "place"),
    [({"methods": ["GET"]}, "methods"), ({"body": "query"}, "body"), ({"request": "header:X-Request"}, "request")],
)
def test_callback_must_not_read_what_is_not_signed(callback: dict[str, Any], place: str) -> None:
    operations = {"send": {"path": "/v1", "request_id": "id"}}
    errors = find_errors(
        DeclaredSettingsSchema(), SETTINGS | {"callback": CALLBACK | callback, "operations": operations}
    )
    [message] = errors["callback"][place]
    assert "could be forged" in message


def test_unsigned_query_may_be_read_if_a_poll_confirms() -> None:
    signature = {"scheme": "github", "secrets": ["s"], "trust": "confirm"}
    settings = SETTINGS | {"signature": signature, "callback": CALLBACK | {"methods": ["GET"]}}
    assert find_errors(DeclaredSettingsSchema(), settings) == {"poll": [f"{MISSING}, as signature.trust is confirm."]}
    assert find_errors(DeclaredSettingsSchema(), settings | {"poll": {"path": "/v1/{reference}"}}) == {}


def test_fetch_requires_a_poll_that_finds_the_status() -> None:
    fetch = SETTINGS | {"callback": {"reference": "id", "fetch": True}}
    reason = "as callback.fetch is true"
    assert find_errors(DeclaredSettingsSchema(), fetch) == {"poll": [f"{MISSING}, {reason}."]}
    with_poll = fetch | {"poll": {"path": "/v1/{reference}"}}
    assert find_errors(DeclaredSettingsSchema(), with_poll) == {"poll": {"status": [f"{MISSING}, {reason}."]}}


def test_request_id_is_expected_only_if_it_is_sent() -> None:
    settings = SETTINGS | {
        "operations": {"send": {"path": "/v1"}},
        "callback": CALLBACK | {"request": "our_id"},
        "lookup": {"path": "/v1?id={request_id}"},
    }
    errors = find_errors(DeclaredSettingsSchema(), settings)
    assert errors["callback"].keys() == {"request"}
    assert errors["lookup"].keys() == {"path", "reference"}


def test_errors_of_operations_are_reported_at_their_names() -> None:
    errors = find_errors(
        DeclaredSettingsSchema(), SETTINGS | {"operations": {"Send": {"path": "/v1"}, "still": {"path": "v1"}}}
    )
    assert errors["operations"].keys() == {"Send", "still"}
    assert errors["operations"]["still"].keys() == {"path"}


@pytest.mark.parametrize("name", ["reference", "status"])
def test_poll_needs_paths_where_callbacks_have_none(name: str) -> None:
    poll = {"path": "/v1/{reference}"}
    bearer = {"scheme": "equals", "header": "X-Token", "secrets": ["a-secret-of-some-length"]}
    table = SETTINGS | {"signature": bearer, "callback": CALLBACK | {name: ["id", "header:X-Value"]}}
    assert find_errors(DeclaredSettingsSchema(), table | {"poll": poll}).keys() == {"poll"}
    assert find_errors(DeclaredSettingsSchema(), table | {"poll": poll | {name: "value"}}) == {}
    assert find_errors(DeclaredSettingsSchema(), table) == {}
