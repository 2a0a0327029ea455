"""HTTP requests to a declared provider: its credentials, its operations, and its polls and lookups."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode

import orjson

from receiver.domain.callbacks import FORM_MEDIA_TYPE, add_attempt_token
from receiver.domain.paths import DOT_SEGMENT_PATTERN, has_dot_segment
from receiver.domain.sending import Attempt
from receiver.providers.base import Provider
from receiver.providers.capabilities import Operation, OutgoingRequest
from receiver.providers.json_paths import as_text
from receiver.schemas.json_schema import DEFINITIONS, JSON_VALUE, NO_NUL
from receiver.schemas.paths import PLACEHOLDER

_REQUIRED_VALUE = {**DEFINITIONS["JsonValue"], "description": "Neither null nor empty text.", "minLength": 1}
_REQUIRED_VALUE["type"] = [kind for kind in _REQUIRED_VALUE["type"] if kind != "null"]
_PATH_VALUE = {
    **_REQUIRED_VALUE,
    "description": "Text or a number, without the path segments . and ..; it becomes a part of the path.",
    "type": ["string", "number"],
    "not": {"type": "string", "pattern": DOT_SEGMENT_PATTERN},
}


@dataclass(frozen=True, slots=True)
class RequestAuth:
    """The headers, query parameters and body fields that authenticate every request."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any]) -> Self:
        """Build it from the loaded tables: `auth`, None for a provider that needs none, and `headers`."""
        headers = {name.lower(): value for name, value in tables["headers"].items()}
        table = tables["auth"]
        if table is None:
            return cls(headers)
        match table["scheme"]:
            case "bearer":
                return cls({**headers, "authorization": f"Bearer {table['secret']}"})
            case "header":
                return cls({**headers, table["name"].lower(): f"{table['prefix']}{table['secret']}"})
            case "basic":
                return cls({**headers, "authorization": f"Basic {b64encode(table['secret'].encode()).decode()}"})
            case "query":
                return cls(headers, query={table["name"]: table["secret"]})
            case "body":
                return cls(headers, fields={table["name"]: table["secret"]})
        return cls(headers)

    def credentials(self) -> bytes:
        """Return everything that authenticates requests, as one value; b"" if there is nothing."""
        parts = [sorted(part.items()) for part in (self.headers, self.query, self.fields)]
        return repr(parts).encode() if any(parts) else b""


@dataclass(frozen=True, slots=True)
class DeclaredOperation(Operation):
    """An operation of a declared provider; see `receiver.schemas.declared.OperationSchema`."""

    method: str
    path: str
    body: str
    callback_url: str | None
    callback_token: bool
    request_id: str | None
    idempotency_header: str | None
    required: Sequence[str]
    defaults: Mapping[str, Any]

    def check_payload(self, payload: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        path_names = PLACEHOLDER.findall(self.path)
        fields = {**self.defaults, **payload}
        missing = [name for name in (*self.required, *path_names) if fields.get(name) in (None, "")]
        errors = {name: ["Missing data for required field."] for name in missing}
        for name in path_names:
            if name in fields and not as_text(fields[name]):
                errors[name] = ["Must be text or a number."]
            elif has_dot_segment(as_text(fields.get(name)) or ""):
                errors[name] = ["Must not contain the path segments . and ..: it becomes a part of the path."]
        # A value may also form such a segment with what the path has beside it.
        if path_names and not errors and has_dot_segment(unquote(self._fill_path(fields).partition("?")[0])):
            errors[path_names[0]] = ["Must not lead to a path with the segments . and ..."]
        return errors

    def _fill_path(self, fields: Mapping[str, Any]) -> str:
        return PLACEHOLDER.sub(lambda match: quote(as_text(fields.get(match[1])) or "", safe=""), self.path)

    def build_payload_schema(self) -> Mapping[str, Any]:
        path_names = PLACEHOLDER.findall(self.path)
        required = {name for name in self.required if self.defaults.get(name) in (None, "")}
        required |= {name for name in path_names if not as_text(self.defaults.get(name))}
        return {
            "type": "object",
            "properties": {
                name: _PATH_VALUE if name in path_names else _REQUIRED_VALUE for name in (*self.required, *path_names)
            },
            "required": sorted(required),
            "propertyNames": {"pattern": NO_NUL},
            "additionalProperties": JSON_VALUE,
            "$defs": DEFINITIONS,
        }

    def compose(self, attempt: Attempt, callback_url: str, auth: RequestAuth, base_path: str) -> OutgoingRequest:
        """Build the HTTP request of an attempt, with its path relative to `base_path`.

        A payload overrides the defaults, and nothing else: the credentials, the callback URL, the request's id and the
        query of the path replace a field of the payload that would be sent under the same name.
        """
        body = {**self.defaults, **attempt.payload}
        path = self._fill_path(body)
        body = {name: value for name, value in body.items() if name not in PLACEHOLDER.findall(self.path)}
        body |= auth.fields
        headers = dict(auth.headers)
        query = dict(auth.query)
        if self.idempotency_header:
            headers[self.idempotency_header.lower()] = str(attempt.request_id)
        if self.request_id:
            _set_value(self.request_id, str(attempt.request_id), headers, query, body)
        if self.callback_url:
            url = add_attempt_token(callback_url, attempt.id) if self.callback_token else callback_url
            _set_value(self.callback_url, url, headers, query, body)
        if self.body == "query":
            names_in_path = {name for name, _ in parse_qsl(path.partition("?")[2], keep_blank_values=True)}
            query = {name: value for name, value in _build_form(body).items() if name not in names_in_path} | query
            body = {}
        encoded, media_type = _encode(self.body, body)
        if encoded:
            headers["content-type"] = media_type
        return OutgoingRequest(self.method, add_query(base_path + path, query), headers, encoded)


@dataclass(frozen=True, slots=True)
class FollowUpRequest:
    """The HTTP request of a poll or a lookup; `{name}` in path and body is a placeholder for a value.

    `encoding` of the body is `json` or `form`. Without a `path` only a URL that the provider sent is requested.
    """

    auth: RequestAuth
    base_path: str
    method: str
    path: str | None
    body: Mapping[str, Any] | None
    encoding: str

    @classmethod
    def from_tables(cls, provider: Provider, tables: Mapping[str, Any], table: Mapping[str, Any]) -> Self:
        """Build it from `table`, which is the table `poll` or `lookup`, and the others of `DeclaredSettingsSchema`."""
        auth = RequestAuth.from_tables(tables)
        return cls(auth, provider.base_path, table["method"], table["path"], table["body"], table["encoding"])

    def compose(
        self, values: Mapping[str, str | Sequence[str]], separator: str, target: str | None = None
    ) -> OutgoingRequest:
        """Build the HTTP request, at `target` if the provider sent one, otherwise below `base_path`.

        A list that is the whole value of a JSON body's field stays a list. In a path, a form or within a text its items
        are joined by `separator`.
        """
        path = PLACEHOLDER.sub(lambda match: _quote(values.get(match[1], ""), separator), self.path or "/")
        headers = dict(self.auth.headers)
        body: dict[str, Any] = {**_fill_placeholders(self.body or {}, values, separator), **self.auth.fields}
        if self.encoding == "form":
            body = {name: separator.join(value) if _is_text_list(value) else value for name, value in body.items()}
        encoded, media_type = _encode(self.encoding, body) if body or self.body is not None else (b"", "")
        if encoded:
            headers["content-type"] = media_type
        return OutgoingRequest(
            self.method, add_query(target or self.base_path + path, self.auth.query), headers, encoded
        )


def _quote(value: str | Sequence[str], separator: str) -> str:
    return separator.join(quote(text, safe="") for text in ([value] if isinstance(value, str) else value))


def _fill_placeholders(value: Any, values: Mapping[str, str | Sequence[str]], separator: str) -> Any:
    """Return a body with its placeholders replaced at any depth.

    A text that is nothing but a placeholder of a list becomes a list.
    """
    if isinstance(value, Mapping):
        return {name: _fill_placeholders(inner, values, separator) for name, inner in value.items()}
    if isinstance(value, list):
        return [_fill_placeholders(inner, values, separator) for inner in value]
    if not isinstance(value, str):
        return value
    only_placeholder = PLACEHOLDER.fullmatch(value)
    if only_placeholder and only_placeholder[1] in values:
        replacement = values[only_placeholder[1]]
        return replacement if isinstance(replacement, str) else list(replacement)
    return PLACEHOLDER.sub(lambda match: _join(values.get(match[1], match[0]), separator), value)


def _join(value: str | Sequence[str], separator: str) -> str:
    return value if isinstance(value, str) else separator.join(value)


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _set_value(location: str, value: str, headers: dict[str, str], query: dict[str, str], body: dict[str, Any]) -> None:
    """Set a value in a header, in the query, or in the body at a path of names."""
    kind, colon, name = location.partition(":")
    if colon and kind == "header":
        headers[name.lower()] = value
    elif colon and kind == "query":
        query[name] = value
    else:
        *parents, last = location.split(".")
        for parent in parents:
            inner = body.get(parent)
            body[parent] = body = dict(inner) if isinstance(inner, Mapping) else {}
        body[last] = value


def _encode(kind: str, body: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return the encoded body and its media type; both empty for a body that is sent in the query."""
    if kind == "form":
        return urlencode(_build_form(body), doseq=True).encode(), FORM_MEDIA_TYPE
    return (orjson.dumps(body), "application/json") if kind == "json" else (b"", "")


def _build_form(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return form fields: text and numbers unchanged, lists as repeated fields, any other value as JSON."""
    return {
        name: [_format_field(item) for item in (value if isinstance(value, list) else [value])]
        for name, value in body.items()
    }


def _format_field(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def add_query(target: str, query: Mapping[str, Any]) -> str:
    """Return a target with more parameters in its query."""
    if not query:
        return target or "/"
    return f"{target or '/'}{'&' if '?' in target else '?'}{urlencode(query, doseq=True)}"
