"""Schemas of values that are computed from others; see `receiver.domain.computed_values`."""

from collections.abc import Mapping
from datetime import UTC
from graphlib import TopologicalSorter
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from receiver.domain.computed_values import ENCODINGS, HASHES, ComputedValue
from receiver.schemas.fields import Choice, StrictSchema, TimeZoneField
from receiver.schemas.paths import HEADER_VALUE, NamedValues

LOCATION_LENGTH = validate.Length(1, 200)
"""The length of the place of a value in a request."""


class ComputedValueSchema(StrictSchema):
    """A value that is computed from others; see `ComputedValue`."""

    text = fields.String(required=True, validate=validate.Length(1, 1_000))
    secret = fields.String(load_default="", validate=HEADER_VALUE)
    hash = fields.String(load_default="", data_key="hash", attribute="hash_name", validate=Choice(HASHES))
    hmac = fields.String(load_default="", data_key="hmac", attribute="hmac_name", validate=Choice(HASHES))
    encoding = fields.String(load_default="", validate=Choice(ENCODINGS))
    upper = fields.Boolean(load_default=False)
    prefix = fields.String(load_default="", validate=HEADER_VALUE)
    time_zone = TimeZoneField(load_default=UTC, attribute="zone")

    @validates_schema(skip_on_field_errors=False)
    def _check_combinations(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("hash_name") and data.get("hmac_name"):
            raise ValidationError({"hash": ["Must not be combined with hmac."]})
        if data.get("hmac_name") and data.get("secret") == "":
            raise ValidationError({"secret": ["Missing data for required field: the key of hmac."]})

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> ComputedValue:
        value = ComputedValue(**data)
        if error := value.find_error():
            raise ValidationError({"text": [error]})
        return value


class ComputedField(fields.Field[ComputedValue]):
    """A template, or a table of `ComputedValueSchema`."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> ComputedValue:
        if not isinstance(value, str | Mapping):
            raise ValidationError("Must be a text or a table.")
        try:
            loaded: ComputedValue = ComputedValueSchema().load({"text": value} if isinstance(value, str) else value)
        except ValidationError as error:
            messages = error.messages_dict
            raise ValidationError(messages["text"] if isinstance(value, str) else messages) from None
        return loaded


class ComputedValues(NamedValues):
    """Computed values by their place in a request."""

    def __init__(self) -> None:
        super().__init__(keys=fields.String(validate=LOCATION_LENGTH), values=ComputedField(), load_default=dict)


def sort_computed(computed: Mapping[str, ComputedValue]) -> dict[str, ComputedValue]:
    """Return computed values in an order in which each is after those that it is computed from.

    Raises:
        CycleError: there is none.
    """
    sources = {location: value.names & computed.keys() for location, value in computed.items()}
    return {location: computed[location] for location in TopologicalSorter(sources).static_order()}
