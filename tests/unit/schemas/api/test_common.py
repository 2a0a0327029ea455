"""Fields and schemas that several parts of the API share."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from marshmallow import Schema

from receiver.domain.paging import PageRequest, ReceiptCursor
from receiver.schemas.api import common, requests
from tests.support.json_schemas import assert_schemas_agree

SUBMISSION = {"provider": "sandbox", "operation": "send", "payload": {}}
TIMES = {
    "2026-11-23T14:00:00Z": True,
    "2026-11-23t14:00:00z": True,
    "2026-11-23T14:00:00.123456789+01:30": True,
    "1000-01-01T00:00:00-23:59": True,
    "8999-12-31T23:59:59-23:59": True,
    "0999-01-01T00:00:00Z": False,
    "9000-01-01T00:00:00Z": False,
    "2026-02-30T14:00:00Z": False,
    "2026-11-23T24:00:00Z": False,
    "2026-11-23T23:59:60Z": False,
    "2026-11-23T14:00:00": False,
    "2026-11-23 14:00:00Z": False,
    "2026-11-23T14:00Z": False,
    "2026-11-23T14:00:00+0100": False,
    "2026-11-23T14:00:00Z\n": False,
    "٢٠٢٦-11-23T14:00:00Z": False,
    "tomorrow": False,
}
BODIES: list[tuple[Schema, Any, bool]] = [
    *((requests.SubmissionSchema(), SUBMISSION | {"deadline": time}, valid) for time, valid in TIMES.items()),
    (common.ActionReasonSchema(), {}, True),
    (common.ActionReasonSchema(), {"reason": None}, True),
    (common.ActionReasonSchema(), {"reason": ""}, False),
    (common.ActionReasonSchema(), [], False),
]


@pytest.mark.parametrize(("schema", "body", "valid"), BODIES)
def test_body_schema_accepts_exactly_valid_bodies(schema: Schema, body: Any, valid: bool) -> None:
    assert_schemas_agree(schema, body, valid=valid)


class EventQuerySchema(common.ListQuerySchema):
    """A query with another cursor than that of most lists."""

    cursor = common.PageCursor(ReceiptCursor)


def test_cursor_is_loaded_as_its_list_declares() -> None:
    cursor = ReceiptCursor(datetime(2026, 11, 23, tzinfo=UTC), 7, UUID(int=7))
    query = {"cursor": str(cursor), "limit": "7"}
    assert EventQuerySchema().load(query) == {"page": PageRequest(cursor, 7)}
    assert common.ListQuerySchema().validate(query) == {"cursor": ["Must be the `next_cursor` of the previous page."]}
    assert EventQuerySchema().load({}) == {"page": PageRequest(None, 50)}


def test_lower_case_time_is_accepted() -> None:
    loaded = common.Rfc3339DateTime().deserialize("2026-11-23t14:00:00z")
    assert loaded == datetime(2026, 11, 23, 14, tzinfo=UTC)
