"""How a declared provider is asked: its credentials, and each operation's HTTP request."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from receiver.domain.callbacks import FORM_MEDIA_TYPE, add_attempt_token
from receiver.domain.sending import Attempt
from receiver.providers.base import OutgoingRequest
from receiver.providers.json_paths import as_text
from receiver.schemas.json_schema import DEFINITIONS, JSON_VALUE, NO_NUL
from receiver.schemas.paths import PLACEHOLDER

_PRESENT = {**DEFINITIONS["JsonValue"], "description": "neither null nor empty text", "minLength": 1}
_PRESENT["type"] = [kind for kind in _PRESENT["type"] if kind != "null"]
# A segment of dots leads to another path, whether it is percent-encoded or not (RFC 3986, section 6.2.2.3).
_DOTS = (".", "..")
_IN_PATH = {
    **_PRESENT,
    "description": "text or a number, but not . or ..; it stands in the path",
    "type": ["string", "number"],
    "not": {"enum": [*_DOTS]},
}


@dataclass(frozen=True, slots=True)
class RequestAuth:
    """How requests prove themselves: the headers, query parameters and body fields that each carries."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, given: Mapping[str, Any] | None, always: Mapping[str, str]) -> "RequestAuth":
        """Read the table `auth`, None for a provider that needs none; `always` are headers that every request has."""
        headers = {name.lower(): value for name, value in always.items()}
        if given is None:
            return cls(headers)
        match given["scheme"]:
            case "bearer":
                return cls({**headers, "authorization": f"Bearer {given['secret']}"})
            case "header":
                return cls({**headers, given["name"].lower(): f"{given['prefix']}{given['secret']}"})
            case "basic":
                return cls({**headers, "authorization": f"Basic {b64encode(given['secret'].encode()).decode()}"})
            case "query":
                return cls(headers, query={given["name"]: given["secret"]})
            case "body":
                return cls(headers, fields={given["name"]: given["secret"]})
        return cls(headers)

    def credentials(self) -> bytes:
        """Give all that requests carry to prove themselves, as one value; b"" if that is nothing."""
        carried = [sorted(part.items()) for part in (self.headers, self.query, self.fields)]
        return repr(carried).encode() if any(carried) else b""


@dataclass(frozen=True, slots=True)
class DeclaredOperation:
    """One thing that can be asked; see `receiver.schemas.declared.OperationSchema`."""

    method: str
    path: str
    body: str
    callback_url: str | None
    callback_token: bool
    request_id: str | None
    idempotency_header: str | None
    required: Sequence[str]
    defaults: Mapping[str, Any]

    def faults(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give the fields that are missing, or are no text where they stand in the path."""
        in_path = PLACEHOLDER.findall(self.path)
        given = {**self.defaults, **payload}
        faults = {name: ["is required"] for name in (*self.required, *in_path) if given.get(name) in (None, "")}
        faults |= {name: ["must be text or a number"] for name in in_path if name in given and not as_text(given[name])}
        return faults | {name: ["must not be . or .."] for name in in_path if as_text(given.get(name)) in _DOTS}

    def payload_schema(self) -> Mapping[str, Any]:
        """Give the JSON Schema of the payloads without `faults`."""
        in_path = PLACEHOLDER.findall(self.path)
        missing = {name for name in self.required if self.defaults.get(name) in (None, "")}
        missing |= {name for name in in_path if not as_text(self.defaults.get(name))}
        return {
            "type": "object",
            "properties": {name: _IN_PATH if name in in_path else _PRESENT for name in (*self.required, *in_path)},
            "required": sorted(missing),
            "propertyNames": {"pattern": NO_NUL},
            "additionalProperties": JSON_VALUE,
            "$defs": DEFINITIONS,
        }

    def compose(self, attempt: Attempt, callback_url: str, auth: RequestAuth, base_path: str) -> OutgoingRequest:
        """Give the HTTP request of an attempt, below `base_path`."""
        body = {**self.defaults, **attempt.payload, **auth.fields}
        path = PLACEHOLDER.sub(lambda found: quote(as_text(body.pop(found[1], "")) or "", safe=""), self.path)
        headers = dict(auth.headers)
        query = dict(auth.query)
        if self.idempotency_header:
            headers[self.idempotency_header.lower()] = str(attempt.request_id)
        if self.request_id:
            _put(self.request_id, str(attempt.request_id), headers, query, body)
        if self.callback_url:
            url = add_attempt_token(callback_url, attempt.id) if self.callback_token else callback_url
            _put(self.callback_url, url, headers, query, body)
        if self.body == "query":
            query |= _form(body)
            body = {}
        encoded, media_type = _encoded(self.body, body)
        if encoded:
            headers["content-type"] = media_type
        return OutgoingRequest(self.method, target_with(base_path + path, query), headers, encoded)


@dataclass(frozen=True, slots=True)
class FollowUpRequest:
    """How a provider is asked about what it was sent; `{name}` in path and body stands for a value.

    `encoding` of the body is `json` or `form`. Without a `path` only a URL that the provider gave is asked.
    """

    method: str
    path: str | None
    body: Mapping[str, Any] | None
    encoding: str

    def compose(
        self,
        values: Mapping[str, str | Sequence[str]],
        separator: str,
        auth: RequestAuth,
        base_path: str,
        target: str | None,
    ) -> OutgoingRequest:
        """Give the HTTP request that asks, at `target` if the provider gave one, else below `base_path`.

        A list stands in a path, a form or within a text as its items joined by `separator`; by itself in JSON as it is.
        """
        path = PLACEHOLDER.sub(lambda found: _in_path(values.get(found[1], ""), separator), self.path or "/")
        headers = dict(auth.headers)
        body: dict[str, Any] = {**_filled(self.body or {}, values, separator), **auth.fields}
        if self.encoding == "form":
            body = {name: separator.join(value) if _is_list(value) else value for name, value in body.items()}
        encoded, media_type = _encoded(self.encoding, body) if body or self.body is not None else (b"", "")
        if encoded:
            headers["content-type"] = media_type
        return OutgoingRequest(self.method, target_with(target or base_path + path, auth.query), headers, encoded)


def _in_path(value: str | Sequence[str], separator: str) -> str:
    return separator.join(quote(one, safe="") for one in ([value] if isinstance(value, str) else value))


def _filled(value: Any, values: Mapping[str, str | Sequence[str]], separator: str) -> Any:
    """Put values where a body names them, however deep; where nothing but a name stands, a list stays one."""
    if isinstance(value, Mapping):
        return {name: _filled(inner, values, separator) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values, separator) for inner in value]
    if not isinstance(value, str):
        return value
    whole = PLACEHOLDER.fullmatch(value)
    if whole and whole[1] in values:
        found = values[whole[1]]
        return found if isinstance(found, str) else list(found)
    return PLACEHOLDER.sub(lambda found: _joined(values.get(found[1], found[0]), separator), value)


def _joined(value: str | Sequence[str], separator: str) -> str:
    return value if isinstance(value, str) else separator.join(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _put(place: str, value: str, headers: dict[str, str], query: dict[str, str], body: dict[str, Any]) -> None:
    """Put a value into a header, the query, or the body at a path of names."""
    kind, colon, name = place.partition(":")
    if colon and kind == "header":
        headers[name.lower()] = value
    elif colon and kind == "query":
        query[name] = value
    else:
        *parents, last = place.split(".")
        for parent in parents:
            inner = body.get(parent)
            body[parent] = body = dict(inner) if isinstance(inner, Mapping) else {}
        body[last] = value


def _encoded(kind: str, body: Mapping[str, Any]) -> tuple[bytes, str]:
    if kind == "form":
        return urlencode(_form(body), doseq=True).encode(), FORM_MEDIA_TYPE
    return (orjson.dumps(body), "application/json") if kind == "json" else (b"", "")


def _form(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give form fields: text and numbers as they are, lists repeated, everything else as JSON."""
    return {
        name: [_field(one) for one in (value if isinstance(value, list) else [value])] for name, value in body.items()
    }


def _field(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def target_with(target: str, query: Mapping[str, Any]) -> str:
    """Give a target with more parameters in its query."""
    if not query:
        return target or "/"
    return f"{target or '/'}{'&' if '?' in target else '?'}{urlencode(query, doseq=True)}"
