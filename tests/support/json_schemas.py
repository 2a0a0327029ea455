"""Checks that JSON Schemas and validation agree."""

from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from marshmallow import Schema, ValidationError

from receiver.schemas.json_schema import build_json_schema


def assert_schemas_agree(schema: Schema, body: Any, *, valid: bool) -> None:
    """Check that a schema and its JSON Schema both accept a body, or both reject it."""
    assert Draft202012Validator(build_json_schema(schema), validate_formats=True).is_valid(body) is valid
    if valid:
        schema.load(body)
    else:
        with pytest.raises(ValidationError):
            schema.load(body)
