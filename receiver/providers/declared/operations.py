"""The operations of a declared provider: which payloads they take, and the HTTP requests of their attempts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import orjson

from receiver.domain.callbacks import add_attempt_token
from receiver.domain.computed_values import OWN_PLACEHOLDERS, ComputedValue, find_header_sources
from receiver.domain.documents.places import Step
from receiver.domain.paths import DOT_SEGMENT_PATTERN, has_dot_segment
from receiver.domain.sending import Attempt
from receiver.providers.capabilities import Operation, OutgoingRequest
from receiver.providers.declared.bodies import (
    OwnText,
    add_query,
    build_fields,
    contains_own,
    encode_body,
    parse_steps,
    place_value,
)
from receiver.providers.declared.requests import RequestAuth
from receiver.providers.json_paths import as_text
from receiver.schemas.fields import NO_NUL
from receiver.schemas.json_schema import DEFINITIONS, JSON_VALUE
from receiver.schemas.paths import PLACEHOLDER

_MISSING = "Missing data for required field."
_EMPTY = "Must not be empty."
_REQUIRED_VALUE = {
    **JSON_VALUE,
    "description": "Neither null nor empty text.",
    "minLength": 1,
    "not": {"type": "null"},
}
_TEXT_VALUE = {
    "description": "Text or a number; other fields are computed from it.",
    "type": ["string", "number"],
    "minLength": 1,
    "pattern": NO_NUL,
    "minimum": -(2**63),
    "exclusiveMaximum": 2**63,
}
_PATH_VALUE = {
    **_TEXT_VALUE,
    "description": "Text or a number, without the path segments . and ..; it becomes a part of the path.",
    "not": {"type": "string", "pattern": DOT_SEGMENT_PATTERN},
}
_WRONG_CONTAINERS: Mapping[type, str] = {
    dict: "Must be an object, into which a value of ours is put.",
    list: "Must be a list, into which a value of ours is put.",
}
_HEADER_TEXT = re.compile(r"[ -~]+")
_HEADER_VALUE = {**_TEXT_VALUE, "pattern": "^[ -~]*$"}


@dataclass(frozen=True)
class DeclaredOperation(Operation):
    """An operation of a declared provider; see `receiver.schemas.declared_operations.OperationSchema`."""

    method: str
    path: str
    body: str
    form_style: str
    json_fields: Sequence[str]
    body_field: str | None
    body_list: bool
    callback_url: Sequence[str]
    callback_token: bool
    request_id: str | None
    idempotency_header: str | None
    required: Sequence[str]
    defaults: Mapping[str, Any]
    computed: Mapping[str, ComputedValue]
    """By location, each after those that it is computed from."""

    def check_payload(self, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        path_names = self._path_names
        fields = {**self.defaults, **payload}
        missing = [name for name in self._required_names if fields.get(name) in (None, "")]
        errors = {name: [_EMPTY if name in payload else _MISSING] for name in missing}
        for name in self._source_names:
            if name not in errors and not as_text(fields[name]):
                errors[name] = ["Must be text or a number."]
        for name in self._header_names:
            if name not in errors and not _HEADER_TEXT.fullmatch(as_text(fields[name]) or ""):
                errors[name] = ["Must be printable ASCII characters: it is sent in a header."]
        for name in path_names:
            if name in fields and not as_text(fields[name]):
                errors[name] = ["Must be text or a number."]
            elif has_dot_segment(as_text(fields.get(name)) or ""):
                errors[name] = ["Must not contain the path segments . and ..: it becomes a part of the path."]
        errors = self._find_shape_errors(payload) | errors
        # A value may also form such a segment with what the path has beside it.
        if path_names and not errors and has_dot_segment(unquote(self._fill_path(fields).partition("?")[0])):
            errors[path_names[0]] = ["Must not lead to a path with the segments . and ..."]
        return errors

    def _find_shape_errors(self, payload: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the errors of fields that the body cannot contain, or not as they are."""
        errors = {
            name: [_WRONG_CONTAINERS[kind]]
            for name, (kind, _) in self._containers.items()
            if not isinstance(payload.get(name), kind | None)
        }
        if self.body_field:
            unknown = payload.keys() - {*self._required_names}
            errors |= {name: ["Unknown field."] for name in sorted(unknown)}
        return errors

    @cached_property
    def _path_names(self) -> Sequence[str]:
        return PLACEHOLDER.findall(self.path)

    @cached_property
    def _source_names(self) -> Sequence[str]:
        """The names of fields of the payload whose text others are computed from, except those that are JSON."""
        return sorted(name for name in self._needed_names if name not in self.json_fields)

    @cached_property
    def _header_names(self) -> Sequence[str]:
        """The names of fields of the payload whose text becomes a part of a header as it is."""
        return sorted(find_header_sources(self.computed) & frozenset(self._source_names))

    @cached_property
    def _needed_names(self) -> frozenset[str]:
        """The names of fields of the payload that others are computed from."""
        needed = frozenset(name for value in self.computed.values() for name in value.names)
        return needed - self._own_names - self.computed.keys() - frozenset(OWN_PLACEHOLDERS)

    @cached_property
    def _own_places(self) -> Sequence[Sequence[Step]]:
        """The places in the body of the values that we send ourselves, whatever the payload has."""
        locations = (*self.callback_url, *filter(None, [self.request_id]), *self.computed)
        return [parse_steps(location) for location in locations if not _is_outside_body(location)]

    @cached_property
    def _own_names(self) -> frozenset[str]:
        """The names of the fields that contain such a place, or are one."""
        return frozenset(str(place[0]) for place in self._own_places)

    @cached_property
    def _containers(self) -> Mapping[str, tuple[type[dict[str, Any]] | type[list[Any]], str]]:
        """The fields that contain such a place, each with its type in a payload and the name of the type in JSON."""
        return {
            str(place[0]): (dict, "object") if isinstance(place[1], str) else (list, "array")
            for place in self._own_places
            if len(place) > 1
        }

    @cached_property
    def _required_names(self) -> Sequence[str]:
        body_names = [self.body_field] if self.body_field else []
        return (*self.required, *self._path_names, *body_names, *sorted(self._needed_names))

    def _fill_path(self, fields: Mapping[str, Any]) -> str:
        return PLACEHOLDER.sub(lambda match: quote(as_text(fields.get(match[1])) or "", safe=""), self.path)

    def build_payload_schema(self) -> Mapping[str, Any]:
        text_names, path_names = self._source_names, self._path_names
        required = {name for name in self._required_names if self.defaults.get(name) in (None, "")}
        required |= {name for name in (*path_names, *text_names) if not as_text(self.defaults.get(name))}
        properties = dict.fromkeys(self._required_names, _REQUIRED_VALUE)
        properties |= dict.fromkeys(text_names, _TEXT_VALUE) | dict.fromkeys(self._header_names, _HEADER_VALUE)
        properties |= dict.fromkeys(path_names, _PATH_VALUE)
        for name, (_, kind) in self._containers.items():
            properties[name] = {"type": kind if name in self._required_names else [kind, "null"]}
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(required),
            "propertyNames": {"pattern": NO_NUL},
            "additionalProperties": False if self.body_field else JSON_VALUE,
            "$defs": DEFINITIONS,
        }

    def compose(self, attempt: Attempt, callback_url: str, auth: RequestAuth, base_path: str) -> OutgoingRequest:
        """Build the HTTP request of an attempt, with its path relative to `base_path`.

        A payload overrides the defaults, and nothing else: the credentials, the callback URL, the request's id, what is
        computed and the query of the path replace a field of the payload that would be sent under the same name.
        """
        fields, path_names = {**self.defaults, **attempt.payload}, self._path_names
        path = self._fill_path(fields)
        body = {name: value for name, value in fields.items() if name not in path_names}
        body |= {name: OwnText(value) for name, value in auth.fields.items()}
        headers, query = dict(auth.headers), dict(auth.query)
        own_values = {"request_id": str(attempt.request_id), "callback_url": callback_url}
        if self.callback_token:
            own_values["callback_url"] = add_attempt_token(callback_url, attempt.id)
        if self.idempotency_header:
            headers[self.idempotency_header.lower()] = own_values["request_id"]
        if self.request_id:
            place_value(self.request_id, own_values["request_id"], headers, query, body)
        for location in self.callback_url:
            place_value(location, own_values["callback_url"], headers, query, body)
        if self.json_fields:
            body |= _encode_json_fields(body, self.json_fields)
        if self.computed:
            texts = {name: as_text(value) or "" for name, value in {**fields, **body}.items()} | own_values
            for location, value in self.computed.items():
                texts[location] = value.compute(texts, attempt.started_at)
                place_value(location, texts[location], headers, query, body)
        return self._build(attempt, base_path + path, headers, query, body)

    def _build(
        self, attempt: Attempt, target: str, headers: dict[str, str], query: dict[str, str], body: dict[str, Any]
    ) -> OutgoingRequest:
        if self.body == "query":
            path_query = parse_qsl(target.partition("?")[2], keep_blank_values=True)
            own_names = {*query, *(name for name, _ in path_query)}
            parameters = [(field.name, field.text) for field in build_fields(body, self.form_style, own_names)]
            return OutgoingRequest(self.method, add_query(target, [*parameters, *query.items()]), headers)
        content: Any = body.get(self.body_field) if self.body_field else [body] if self.body_list else body
        encoded, media_type = encode_body(self.body, content, self.form_style, attempt.id.hex)
        if encoded:
            headers["content-type"] = media_type
        return OutgoingRequest(self.method, add_query(target, query), headers, encoded)


def _is_outside_body(location: str) -> bool:
    return location.startswith(("header:", "query:"))


def _encode_json_fields(body: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, str]:
    """Return the fields that are sent as JSON within a text; a text of the payload is such JSON already."""
    values = {name: body[name] for name in names if name in body and not isinstance(body[name], str)}
    texts = {name: orjson.dumps(value).decode() for name, value in values.items()}
    return {name: OwnText(text) if contains_own(values[name]) else text for name, text in texts.items()}
