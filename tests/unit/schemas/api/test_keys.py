"""New API keys: their schema and JSON Schema accept the same bodies."""

from typing import Any

import pytest
from marshmallow import Schema

from receiver.schemas.api import keys
from tests.support.json_schemas import assert_schemas_agree

KEY = {"name": "shop", "scopes": ["read"]}
BODIES: list[tuple[Schema, Any, bool]] = [
    (keys.NewKeySchema(), KEY, True),
    (keys.NewKeySchema(), KEY | {"per_minute": 5}, True),
    (keys.NewKeySchema(), KEY | {"per_minute": 5.0}, True),
    (keys.NewKeySchema(), KEY | {"per_minute": 5.5}, False),
    (keys.NewKeySchema(), KEY | {"per_minute": True}, False),
    (keys.NewKeySchema(), KEY | {"per_minute": "5"}, False),
    (keys.NewKeySchema(), KEY | {"per_minute": 0}, False),
    (keys.NewKeySchema(), KEY | {"per_minute": 1_000_001}, False),
    (keys.NewKeySchema(), KEY | {"per_minute": None}, True),
    (keys.NewKeySchema(), KEY | {"scopes": ["read", "read", "admin"]}, True),
    (keys.NewKeySchema(), KEY | {"scopes": ["everything"]}, False),
    (keys.NewKeySchema(), KEY | {"scopes": []}, False),
    (keys.NewKeySchema(), KEY | {"name": "x" * 101}, False),
]


@pytest.mark.parametrize(("schema", "body", "valid"), BODIES)
def test_body_schema_accepts_exactly_valid_bodies(schema: Schema, body: Any, valid: bool) -> None:
    assert_schemas_agree(schema, body, valid=valid)
