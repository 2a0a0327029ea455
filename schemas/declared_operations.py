"""Schemas of the operations of a declared provider: what a request is made of, and how it is encoded."""

import re
from graphlib import CycleError
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from receiver.domain.computed_values import find_header_sources
from receiver.schemas.computed_values import LOCATION_LENGTH, ComputedValues, sort_computed
from receiver.schemas.declared_followup import TableSchema
from receiver.schemas.fields import Choice
from receiver.schemas.paths import HEADER_NAME, NamedValues, OneOrMore, PathTemplate

_METHODS = Choice(["GET", "POST", "PUT", "PATCH", "DELETE"])


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
    callback_url = OneOrMore(fields.String(validate=LOCATION_LENGTH), load_default=list)
    callback_token = fields.Boolean(load_default=False)
    request_id = fields.String(load_default=None, validate=LOCATION_LENGTH)
    idempotency_header = fields.String(load_default=None, validate=HEADER_NAME)
    required = fields.List(fields.String(), load_default=list)
    defaults = NamedValues(keys=fields.String(), load_default=dict)
    computed = ComputedValues()

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
            sort_computed(computed)
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
        return data | {"computed": sort_computed(data["computed"])}


def _find_root(location: str) -> str:
    """Return the name of the field of the body in which a place is."""
    return re.split(r"[.\[]", location, maxsplit=1)[0]


def _is_outside_body(location: str) -> bool:
    return location.startswith(("header:", "query:"))
