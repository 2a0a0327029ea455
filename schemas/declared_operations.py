"""Schemas of the operations of a declared provider: what a request is made of, and how it is encoded."""

import re
from collections.abc import Mapping
from datetime import UTC
from graphlib import CycleError, TopologicalSorter
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from receiver.domain.computed_values import ENCODINGS, HASHES, ComputedValue, find_header_sources
from receiver.schemas.declared_followup import TableSchema
from receiver.schemas.fields import Choice, TimeZoneField
from receiver.schemas.paths import HEADER_NAME, HEADER_VALUE, NamedValues, OneOrMore, PathTemplate

_METHODS = Choice(["GET", "POST", "PUT", "PATCH", "DELETE"])
_LOCATION = validate.Length(1, 200)


class ComputedValueSchema(TableSchema):
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


class OperationSchema(TableSchema):
    """An operation of the provider.

    `{name}` in `path` takes that field out of the payload. `callback_url` is where our URL is put, `request_id` where
    the request's id is put: a path of names in the body, `query:NAME` or `header:NAME`. With `callback_token` the URL
    carries the token of the attempt. `defaults` are body fields that a payload may override, `computed` those that it
    may not. `json_fields` are sent as JSON within a text. The body is an object with all fields, which `body_list` puts
    into a list, or the value of one field, `body_field`.
    """

    method = fields.String(load_default="POST", validate=_METHODS)
    path = PathTemplate(required=True)
    body = fields.String(load_default="json", validate=Choice(["json", "form", "query", "multipart"]))
    form_style = fields.String(load_default="repeat", validate=Choice(["repeat", "brackets", "comma"]))
    json_fields = fields.List(fields.String(), load_default=list)
    body_field = fields.String(load_default=None, validate=validate.Length(1, 200))
    body_list = fields.Boolean(load_default=False)
    callback_url = OneOrMore(fields.String(validate=_LOCATION), load_default=list)
    callback_token = fields.Boolean(load_default=False)
    request_id = fields.String(load_default=None, validate=_LOCATION)
    idempotency_header = fields.String(load_default=None, validate=HEADER_NAME)
    required = fields.List(fields.String(), load_default=list)
    defaults = NamedValues(keys=fields.String(), load_default=dict)
    computed = NamedValues(keys=fields.String(validate=_LOCATION), values=ComputedField(), load_default=dict)

    @validates_schema(skip_on_field_errors=False)
    def _check_callback_token(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("callback_token") and data.get("callback_url") == []:
            raise ValidationError(
                {"callback_token": ["Must be combined with callback_url: the token is a part of that URL."]}
            )

    @validates_schema(skip_on_field_errors=False)
    def _check_shape(self, data: dict[str, Any], **_: Any) -> None:
        errors = {}
        for name in ("body_field", "body_list"):
            if data.get(name) and data.get("body", "json") != "json":
                errors[name] = ["Must be combined with body = json."]
        if data.get("body_field") and data.get("body_list"):
            errors["body_list"] = ["Must not be combined with body_field, whose value may be a list."]
        if data.get("form_style", "repeat") != "repeat" and data.get("body") == "json":
            errors["form_style"] = ["Must be combined with body = form, multipart or query."]
        if data.get("body_field"):
            message = "Must be header:NAME or query:NAME: with body_field nothing else is in the body."
            for name in ("callback_url", "request_id", "computed"):
                locations = data.get(name) or ()
                if not all(map(_is_outside_body, [locations] if isinstance(locations, str) else locations)):
                    errors[name] = [message]
        if errors:
            raise ValidationError(errors)

    @validates_schema(skip_on_field_errors=False)
    def _check_computed(self, data: dict[str, Any], **_: Any) -> None:
        computed = data.get("computed") or {}
        json_fields = set(data.get("json_fields") or ())
        errors = {}
        try:
            _sort(computed)
        except CycleError as error:
            errors[error.args[1][0]] = [f"Must not be computed from itself: {' from '.join(error.args[1])}."]
        locations = [*(data.get("callback_url") or ()), *filter(None, [data.get("request_id")]), *computed]
        parents = {_find_root(location) for location in locations} - set(locations) - json_fields
        for location, value in computed.items():
            if value.names & parents:
                names = ", ".join(sorted(value.names & parents))
                errors[location] = [f"Must be computed from texts and numbers: a place is set within {names}."]
            if _find_root(location) in json_fields:
                errors[location] = ["Must not be in one of json_fields."]
        if find_header_sources(computed) & json_fields:
            errors |= {
                location: ["Must be encoded, or a digest: the text of a JSON field does not fit a header."]
                for location, value in computed.items()
                if value.names & json_fields and value.is_text
            }
        if errors:
            raise ValidationError({"computed": errors})

    @post_load
    def _sort_computed(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return data | {"computed": _sort(data["computed"])}


def _sort(computed: Mapping[str, ComputedValue]) -> dict[str, ComputedValue]:
    """Return computed values in an order in which each is after those that it is computed from.

    Raises:
        CycleError: there is none.
    """
    sources = {location: value.names & computed.keys() for location, value in computed.items()}
    return {location: computed[location] for location in TopologicalSorter(sources).static_order()}


def _find_root(location: str) -> str:
    """Return the name of the field of the body in which a place is."""
    return re.split(r"[.\[]", location, maxsplit=1)[0]


def _is_outside_body(location: str) -> bool:
    return location.startswith(("header:", "query:"))
