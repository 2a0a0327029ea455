"""Schema of an entry of the catalog: a provider of kind `declared` whose parameters its user sets.

`${NAME}` in a text of `provider` stands for a parameter. Unknown keys are errors.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validate, validates_schema

from receiver.schemas.fields import Choice, StrictSchema
from receiver.schemas.paths import NamedValues

FIELDS = ("sms", "voice", "ai", "payments", "documents", "identity", "media", "runs", "shipping", "email", "carriers")
"""What the providers of the catalog are for."""
PARTS = ("submit", "response", "callback", "signature", "poll")
"""The parts of an entry, each of which was verified by itself."""
SOURCES = ("vendor", "secondary")
"""What a part was verified by: the vendor's own page, specification or library, or another source."""

_PARAMETER_NAME = validate.Regexp(r"[a-z][a-z0-9_]*\Z", error="Must be lower-case letters, digits and _.")


def _check_link(text: str) -> None:
    url = urlsplit(text)
    if url.scheme != "https" or not url.hostname:
        raise ValidationError("Must be an https URL.")


class ParameterSchema(StrictSchema):
    """A parameter of an entry.

    `title` says what it is and where the vendor shows it. What an `optional` parameter is needed for is left out
    without it. `example` is a value of the right form. `random` is for a secret that users make up and tell the vendor,
    which need not be said of the end of the callback URL and of the token of a handshake.
    """

    title = fields.String(required=True, validate=validate.Length(min=1, max=200))
    secret = fields.Boolean(load_default=False)
    optional = fields.Boolean(load_default=False)
    random = fields.Boolean(load_default=False)
    default = fields.String(load_default=None)
    example = fields.String(load_default="")

    @validates_schema(skip_on_field_errors=True)
    def _check_example(self, data: Mapping[str, Any], **_: Any) -> None:
        if not data["example"] and data["default"] is None:
            raise ValidationError({"example": ["Missing data for required field, as there is no default."]})


class ExampleResponseSchema(StrictSchema):
    """A response of the provider, with `${reference}` and, of a poll, `${status}` in its headers and body."""

    statuses = fields.List(fields.String(), load_default=list)
    status = fields.Integer(load_default=200)
    headers = fields.Dict(keys=fields.String(), values=fields.String(), load_default=dict)
    body = fields.String(load_default="")


class ExampleCallbackSchema(StrictSchema):
    """A callback of the provider, with `${reference}` and `${status}` in its query, headers and body.

    `statuses` are those that the callback may have; those of the first callback without any are all others.
    """

    statuses = fields.List(fields.String(), load_default=list)
    method = fields.String(load_default="POST")
    query = fields.String(load_default="")
    headers = fields.Dict(keys=fields.String(), values=fields.String(), load_default=dict)
    body = fields.String(load_default="")


class ExamplesSchema(StrictSchema):
    """Messages as the vendor documents them, with values of our own.

    `reference` is one of the form that the provider's references have. `payloads` are payloads of the operations.
    """

    reference = fields.String(load_default="ref-4711")
    payloads = NamedValues(keys=fields.String(), values=fields.Dict(), load_default=dict)
    responses = fields.List(fields.Nested(ExampleResponseSchema), load_default=list)
    callbacks = fields.List(fields.Nested(ExampleCallbackSchema), required=True, validate=validate.Length(min=1))
    polls = fields.List(fields.Nested(ExampleResponseSchema), load_default=list)


class CatalogEntrySchema(StrictSchema):
    """An entry. `left_out` says what of the provider could not be verified, and is therefore not in the entry."""

    title = fields.String(required=True, validate=validate.Length(min=1, max=80))
    field = fields.String(required=True, validate=Choice(FIELDS))
    documentation = fields.List(
        fields.String(validate=_check_link), required=True, validate=validate.Length(min=1, max=10)
    )
    notes = fields.List(fields.String(validate=validate.Length(min=1, max=500)), load_default=list)
    parameters = NamedValues(
        keys=fields.String(validate=_PARAMETER_NAME), values=fields.Nested(ParameterSchema), load_default=dict
    )
    verified = NamedValues(
        keys=fields.String(validate=Choice(PARTS)), values=fields.String(validate=Choice(SOURCES)), required=True
    )
    left_out = fields.List(fields.String(validate=validate.Length(min=1, max=500)), load_default=list)
    provider = fields.Dict(keys=fields.String(), required=True)
    examples = fields.Nested(ExamplesSchema, required=True)

    @validates_schema(skip_on_field_errors=True)
    def _check_parts(self, data: Mapping[str, Any], **_: Any) -> None:
        """Check that the parts of the entry are those that were verified, and have an example each."""
        table, examples = data["provider"], data["examples"]
        present = {
            "submit": "operations" in table,
            "response": "operations" in table,
            "callback": "callback" in table,
            "signature": "signature" in table,
            "poll": "poll" in table,
        }
        errors: dict[str, Any] = {
            part: ["Missing data for required field."] if present[part] else ["The entry has no such part."]
            for part in PARTS
            if present[part] != (part in data["verified"])
        }
        if errors:
            raise ValidationError({"verified": errors})
        if examples["payloads"].keys() != table.get("operations", {}).keys():
            raise ValidationError({"examples": {"payloads": ["Must have the payload of each operation."]}})
        missing = [
            name
            for name, is_required in (("responses", present["response"]), ("polls", present["poll"]))
            if is_required and not examples[name]
        ]
        if missing:
            raise ValidationError({"examples": {key: ["Missing data for required field."] for key in missing}})
        foreign = table.keys() & data["parameters"].keys()
        if foreign:
            message = "Must not be named like a key of a provider."
            raise ValidationError({"parameters": {key: [message] for key in foreign}})
