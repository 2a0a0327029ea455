"""Jobs: their resolutions, and the JSON Schema of a response."""

from typing import Any

import pytest
from marshmallow import Schema

from receiver.schemas.api import jobs
from tests.support.json_schemas import assert_schemas_agree

BODIES: list[tuple[Schema, Any, bool]] = [
    (jobs.ResolutionSchema(), {"status": "failed", "reason": "so"}, True),
    (jobs.ResolutionSchema(), {"status": "accepted", "reason": "so"}, False),
    (jobs.ResolutionSchema(), {"status": "failed"}, False),
]


@pytest.mark.parametrize(("schema", "body", "valid"), BODIES)
def test_body_schema_accepts_exactly_valid_bodies(schema: Schema, body: Any, valid: bool) -> None:
    assert_schemas_agree(schema, body, valid=valid)
