"""JSON Schema 2020-12 of marshmallow schemas, exact also where fields and validators are our own.

apispec converts; what it does not know of, such as text that can be stored and JSON that can be kept, is told here.
"""

from collections.abc import Mapping
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields, validate

from receiver.schemas.fields import DEEPEST_JSON, JsonDocumentSchema, storable, storable_json

OPENAPI = "3.1.0"
NO_NUL = r"^[^\u0000]*$"
JSON_VALUE = {"$ref": "#/$defs/JsonValue"}
DEFINITIONS: Mapping[str, Any] = {
    "JsonValue": {
        "description": (
            "Any JSON that can be kept: texts and names without NUL characters and lone surrogates, numbers that fit "
            f"64 bits (larger ones are sent as texts), no name twice in an object, at most {DEEPEST_JSON} levels."
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
"""What the schemas of this module may refer to, as `#/$defs/NAME`."""


class FieldConverter(OpenAPIConverter):
    """apispec's converter, told of our own fields, validators and conventions."""

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        """Convert a schema; its docstring describes it.

        What we take is described as strictly as it is read. An answer has all its fields, or those it marks as
        required, and may gain others one day.
        """
        document: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]  # apispec's
        if not isinstance(schema, JsonDocumentSchema):
            document.setdefault("required", sorted(document["properties"]))
            document.pop("additionalProperties", None)
        else:
            document |= schema.ALSO
        told = type(schema).__dict__.get("__doc__")
        return {"description": " ".join(told.split()), **document} if told else document

    def field2default(self, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
        """Leave out that what is absent is None."""
        return {name: value for name, value in super().field2default(field, **kwargs).items() if value is not None}

    def field2read_only(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Leave out that what is computed is only read: it is not given anywhere."""
        return {}

    def field2pattern(self, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
        """Write Python's patterns as ECMA 262 does."""
        patterns = [str(one.regex.pattern) for one in field.validators if isinstance(one, validate.Regexp)]
        if patterns:
            return {"pattern": "^" + patterns[0].removeprefix("^").removesuffix(r"\Z") + "$"}
        return {"pattern": NO_NUL} if storable in field.validators else {}

    def dict2properties(self, field: Any, **kwargs: Any) -> dict[str, Any]:
        """Tell of a mapping's names too, and of JSON that is kept."""
        document: dict[str, Any] = super().dict2properties(field, **kwargs)
        if not isinstance(field, fields.Dict):
            return document
        names = self.field2property(field.key_field) if field.key_field else {}
        if storable_json in field.validators:
            names = {"pattern": NO_NUL, **names}
            document["additionalProperties"] = JSON_VALUE
        names.pop("type", None)
        return document | ({"propertyNames": names} if names else {})

    def enum2properties(self, field: Any, **kwargs: Any) -> dict[str, Any]:
        """Tell of the words of an enumeration that a validator leaves."""
        if not isinstance(field, fields.Enum):
            return {}
        choices = [one.choices for one in field.validators if isinstance(one, validate.OneOf)]
        words = [str(member.value) for member in (choices[0] if choices else field.enum)]
        return {"type": "string", "enum": [*words, None] if field.allow_none else words}


class SchemaPlugin(MarshmallowPlugin):
    """apispec's plugin with our converter."""

    Converter = FieldConverter

    def schema_of(self, schema: Schema) -> dict[str, Any]:
        """Give the JSON Schema of one schema, in the document that the plugin belongs to."""
        if not isinstance(self.converter, FieldConverter):
            raise TypeError("the plugin belongs to no document")
        return self.converter.schema2jsonschema(schema)


def json_schema_of(schema: Schema) -> dict[str, Any]:
    """Give the JSON Schema of one schema, whole in itself."""
    converter = FieldConverter(OPENAPI, lambda _: None, APISpec("", "", OPENAPI))
    return {**converter.schema2jsonschema(schema), "$defs": DEFINITIONS}
