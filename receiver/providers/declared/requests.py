"""HTTP requests to a declared provider: its credentials, and its polls and lookups."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

from receiver.domain.computed_values import ComputedValue
from receiver.providers.base import Provider
from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.declared.bodies import add_query, encode_body, place_value
from receiver.providers.json_paths import as_text
from receiver.schemas.paths import PLACEHOLDER


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
    computed: Mapping[str, ComputedValue]

    @classmethod
    def from_tables(cls, provider: Provider, tables: Mapping[str, Any], table: Mapping[str, Any]) -> Self:
        """Build it from `table`, which is the table `poll` or `lookup`, and the others of `DeclaredSettingsSchema`."""
        auth = RequestAuth.from_tables(tables)
        return cls(
            auth=auth,
            base_path=provider.base_path,
            method=table["method"],
            path=table["path"],
            body=table["body"],
            encoding=table["encoding"],
            computed=table.get("computed", {}),
        )

    def compose(
        self,
        values: Mapping[str, str | Sequence[str]],
        separator: str,
        target: str | None = None,
        now: datetime | None = None,
    ) -> OutgoingRequest:
        """Build the HTTP request, at `target` if the provider sent one, otherwise below `base_path`.

        It has computed values only with their time `now` (UTC). A list that is the whole value of a JSON body's field
        stays a list. In a path, a form or within a text its items are joined by `separator`.
        """
        path = PLACEHOLDER.sub(lambda match: _quote(values.get(match[1], ""), separator), self.path or "/")
        headers, query = dict(self.auth.headers), dict(self.auth.query)
        body: dict[str, Any] = {**_fill_placeholders(self.body or {}, values, separator), **self.auth.fields}
        if self.encoding == "form":
            body = {name: separator.join(value) if _is_text_list(value) else value for name, value in body.items()}
        if now:
            texts = {name: as_text(value) or "" for name, value in {**values, **body}.items()}
            for location, value in self.computed.items():
                texts[location] = value.compute(texts, now)
                place_value(location, texts[location], headers, query, body)
        encoded, media_type = encode_body(self.encoding, body) if body or self.body is not None else (b"", "")
        if encoded:
            headers["content-type"] = media_type
        return OutgoingRequest(self.method, add_query(target or self.base_path + path, query), headers, encoded)


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
