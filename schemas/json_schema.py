"""Builds JSON Schema 2020-12 of marshmallow schemas, exact also for our own fields and validators.

apispec converts what it knows. This module adds our own fields and validators (text and JSON that can be stored), and
our conventions for responses.
"""

from collections.abc import Mapping
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields, validate

from receiver.schemas.fields import MAX_JSON_DEPTH, NO_NUL, JsonDocumentSchema, check_storable_json, check_storable_text

OPENAPI = "3.1.0"
JSON_VALUE = {"$ref": "#/$defs/JsonValue"}
DEFINITIONS: Mapping[str, Any] = {
    "JsonValue": {
        "description": (
            "Any JSON that can be stored: texts and names without NUL characters and lone surrogates, numbers that fit "
            f"64 bits (send larger ones as texts), no duplicate names in an object, at most {MAX_JSON_DEPTH} levels."
        ),
        "type": ["null", "boolean", "number", "string", "array", "object"],
        "pattern": NO_NUL,
        "minimum": -(2**63),
        "exclusiveMaximum": 2**63,
        "items": JSON_VALUE,
        "propertyNames": {"pattern": NO_NUL},
        "additionalProperties": JSON_VALUE,
    }
}
"""The definitions that these schemas reference as `#/$defs/NAME`."""


class FieldConverter(OpenAPIConverter):
    """apispec's converter, extended by our own fields, validators and conventions."""

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        """Convert a schema; its docstring becomes the description.

        The schema of an input is as strict as its validation. A response has all of its fields, or those marked as
        required, and later versions may add fields.
        """
        document: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]  # apispec's
        if not isinstance(schema, JsonDocumentSchema):
            document.setdefault("required", sorted(document["properties"]))
            document.pop("additionalProperties", None)
        else:
            document |= schema.JSON_SCHEMA_EXTRA
        docstring = type(schema).__dict__.get("__doc__")
        return {"description": " ".join(docstring.split()), **document} if docstring else document

    def field2default(self, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
        """Omit a default of None: it means that the field may be absent."""
        return {name: value for name, value in super().field2default(field, **kwargs).items() if value is not None}

    def field2read_only(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Omit `readOnly` of computed fields: no input has them."""
        return {}

    def field2pattern(self, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
        """Return a Python pattern as ECMA 262 has it."""
        patterns = [
            str(validator.regex.pattern) for validator in field.validators if isinstance(validator, validate.Regexp)
        ]
        if patterns:
            return {"pattern": "^" + patterns[0].removeprefix("^").removesuffix(r"\Z") + "$"}
        return {"pattern": NO_NUL} if check_storable_text in field.validators else {}

    def dict2properties(self, field: Any, **kwargs: Any) -> dict[str, Any]:
        """Add the schema of a map's names, and that of JSON that can be stored."""
        document: dict[str, Any] = super().dict2properties(field, **kwargs)
        if not isinstance(field, fields.Dict):
            return document
        names = self.field2property(field.key_field) if field.key_field else {}
        if check_storable_json in field.validators:
            names = {"pattern": NO_NUL, **names}
            document["additionalProperties"] = JSON_VALUE
        names.pop("type", None)
        return document | ({"propertyNames": names} if names else {})

    def enum2properties(self, field: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the members of an enumeration that a validator allows."""
        if not isinstance(field, fields.Enum):
            return {}
        choices = [validator.choices for validator in field.validators if isinstance(validator, validate.OneOf)]
        values = [str(member.value) for member in (choices[0] if choices else field.enum)]
        return {"type": "string", "enum": [*values, None] if field.allow_none else values}


class SchemaPlugin(MarshmallowPlugin):
    """apispec's plugin with our converter."""

    Converter = FieldConverter

    def build_schema(self, schema: Schema) -> dict[str, Any]:
        """Return the JSON Schema of one schema, as a part of the plugin's document."""
        if not isinstance(self.converter, FieldConverter):
            raise TypeError("the plugin belongs to no document")
        return self.converter.schema2jsonschema(schema)


def build_json_schema(schema: Schema) -> dict[str, Any]:
    """Return the JSON Schema of one schema as a complete document, with its definitions."""
    converter = FieldConverter(OPENAPI, lambda _: None, APISpec("", "", OPENAPI))
    return {**converter.schema2jsonschema(schema), "$defs": DEFINITIONS}
