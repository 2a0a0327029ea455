"""Builds JSON Schema 2020-12 of marshmallow schemas, exact also for our own fields and validators.

apispec converts what it knows. This module adds our own fields and validators (text and JSON that can be stored), and
our conventions for responses.
"""

from collections.abc import Mapping
from enum import Enum
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
        # Generators of clients make a type of a list of types, or of keywords for one type only, and fail where it
        # refers to itself. They pass over conditions, and have no type for this schema: any value.
        "if": {"type": "object"},
        "then": {"propertyNames": {"pattern": NO_NUL}, "additionalProperties": JSON_VALUE},
        "else": {"pattern": NO_NUL, "minimum": -(2**63), "exclusiveMaximum": 2**63, "items": JSON_VALUE},
    }
}
"""The definitions that any of these schemas may reference as `#/$defs/NAME`."""


class FieldConverter(OpenAPIConverter):
    """apispec's converter, extended by our own fields, validators and conventions.

    `enumerations` has the enumerations of the schemas that were converted, which reference them as `#/$defs/NAME`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.enumerations: dict[str, Any] = {}

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
        """Omit a default of None, which means that the field may be absent; apispec omits callable ones."""
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
        """Return a reference to an enumeration, or the members of it that a validator allows."""
        if not isinstance(field, fields.Enum):
            return {}
        choices = [validator.choices for validator in field.validators if isinstance(validator, validate.OneOf)]
        if not choices:
            self.enumerations[field.enum.__name__] = _build_enumeration(field.enum)
            return {"$ref": f"#/$defs/{field.enum.__name__}"}
        del kwargs["ret"]["enum"]  # apispec's, with members instead of values
        values = {"type": "string", "enum": [str(member.value) for member in choices[0]]}
        return {"anyOf": [values, {"type": "null"}]} if field.allow_none else values


def _build_enumeration(enumeration: type[Enum]) -> dict[str, Any]:
    """Build the JSON Schema of an enumeration; the first sentence of its docstring is the description."""
    sentence = (enumeration.__doc__ or "").splitlines()[0].partition(". ")[0].removesuffix(".")
    values = [str(member.value) for member in enumeration]
    return {"type": "string", "enum": values, "description": f"{sentence}."}


class SchemaPlugin(MarshmallowPlugin):
    """apispec's plugin with our converter."""

    Converter = FieldConverter

    @property
    def enumerations(self) -> Mapping[str, Any]:
        """The enumerations of the plugin's document by name, see `FieldConverter`."""
        return self._converter.enumerations

    def build_schema(self, schema: Schema) -> dict[str, Any]:
        """Return the JSON Schema of one schema, as a part of the plugin's document."""
        return self._converter.schema2jsonschema(schema)

    @property
    def _converter(self) -> FieldConverter:
        if not isinstance(self.converter, FieldConverter):
            raise TypeError("the plugin belongs to no document")
        return self.converter


def build_json_schema(schema: Schema) -> dict[str, Any]:
    """Return the JSON Schema of one schema as a complete document, with its definitions."""
    converter = FieldConverter(OPENAPI, lambda _: None, APISpec("", "", OPENAPI))
    document = converter.schema2jsonschema(schema)
    return {**document, "$defs": {**DEFINITIONS, **converter.enumerations}}
