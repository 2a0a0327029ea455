"""The tables `poll` and `lookup` of a declared provider."""

from typing import Any

import pytest
from marshmallow import Schema

from receiver.domain.jobs import JobStatus
from receiver.schemas.declared_followup import LookupTableSchema, PollTableSchema, find_placeholders


def test_placeholders_are_found_at_any_depth() -> None:
    body = {"a": ["{one}", {"b": "x{two}{three}y"}], "c": 7, "{four}": None}
    assert find_placeholders(body) == {"one", "two", "three"}
    assert find_placeholders(None) == set()


def test_poll_table_has_defaults() -> None:
    table = PollTableSchema().load({"path": "/v1/{reference}", "statuses": {"Done": "succeeded"}})
    assert (table["method"], table["batch"], table["first_after"]) == ("GET", 1, 60.0)
    assert table["statuses"] == {"done": JobStatus.SUCCEEDED}
    assert table["status"] is None


@pytest.mark.parametrize(
    ("schema", "table", "places"),
    [
        (PollTableSchema(), {"path": "/v1/{reference}/{other}"}, {"path"}),
        (PollTableSchema(), {"path": "/v1/{reference}", "batch": 2}, {"batch"}),
        (PollTableSchema(), {"path": "/v1/{references}"}, {"batch"}),
        (PollTableSchema(), {"path": "/v1", "body": {"ids": "{references}"}}, {"batch"}),
        (PollTableSchema(), {"path": "/v1/{reference}", "not_found": "unknown"}, {"not_found"}),
        (PollTableSchema(), {"path": "/v1/{reference}", "separator": "<>"}, {"separator"}),
        (PollTableSchema(), {"path": "/v1/{reference}", "encoding": "xml"}, {"encoding"}),
        (PollTableSchema(), {"path": "/v1", "computed": {"a": "{b}"}, "body": {"c": 1}}, {"computed"}),
        (PollTableSchema(), {"path": "/v1", "computed": {"a": "{b}", "b": "{a}"}}, {"computed"}),
        (LookupTableSchema(), {}, {"path"}),
        (LookupTableSchema(), {"path": "/v1"}, {"path"}),
        (LookupTableSchema(), {"path": "/v1/{id}", "status": "s", "codes": {"1": "accepted"}}, {"codes"}),
        (LookupTableSchema(), {"path": "/v1/{id}", "statuses": {"D": "succeeded"}}, {"statuses"}),
        (LookupTableSchema(), {"path": "/v1/{id}", "not_found": "failed"}, {"not_found"}),
        (LookupTableSchema(), {"path": "/v1/{id}", "not_found_after": 0}, {"not_found_after"}),
    ],
)
def test_invalid_table_is_rejected_by_key(schema: Schema, table: dict[str, Any], places: set[str]) -> None:
    assert schema.validate(table).keys() == places


@pytest.mark.parametrize(
    ("schema", "table"),
    [
        (PollTableSchema(), {"path": "/v1/{references}", "batch": 100}),
        (PollTableSchema(), {"method": "POST", "path": "/v1", "body": {"ids": "{references}"}, "batch": 100}),
        (LookupTableSchema(), {"path": "/v1?id={request_id}"}),
        (LookupTableSchema(), {"method": "POST", "path": "/v1", "body": {"order": "{order}"}}),
    ],
)
def test_placeholder_may_be_in_path_or_body(schema: Schema, table: dict[str, Any]) -> None:
    assert schema.validate(table) == {}
