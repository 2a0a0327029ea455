"""The OpenAPI document as a page for people: what its template shows, made of the document alone."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from shlex import quote
from typing import Any
from urllib.parse import quote_plus, urlencode

from markupsafe import Markup, escape

from receiver.schemas.json_schema import NO_NUL

_REFERENCE = re.compile(r"#/components/(\w+)/(.+)")
_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_KINDS: Mapping[str, str] = {"string": "text", "array": "list", "integer": "whole number", "boolean": "true or false"}
_FORMATS: Mapping[str, str] = {"date-time": "time", "uuid": "id"}
_RANGES = (("minLength", "maxLength", " characters"), ("minItems", "maxItems", " of them"), ("minimum", "maximum", ""))


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field or parameter: its name, where it stands, what it is, and what is to be known of it."""

    name: str
    place: str
    kind: Markup
    required: bool
    told: Markup


@dataclass(frozen=True, slots=True)
class ResponseView:
    """What may be answered: the status with its name, when, its headers, what it holds, and an example."""

    status: str
    told: Markup
    headers: Sequence[str]
    kind: Markup
    example: str


@dataclass(frozen=True, slots=True)
class OperationView:
    """An operation as it is shown; `bodies` are examples with their names, `curl` calls it with the first of them."""

    name: str
    method: str
    path: str
    summary: Markup
    told: Markup
    parameters: Sequence[FieldRow]
    body: Markup
    bodies: Sequence[tuple[str, str]]
    curl: str
    good: Sequence[ResponseView]
    errors: Sequence[ResponseView]


@dataclass(frozen=True, slots=True)
class SchemaView:
    """A schema as it is shown: what it is, its fields, and what it may be instead of them."""

    name: str
    told: Markup
    rows: Sequence[FieldRow]
    ways: Sequence[Markup]


class ReferencePage:
    """What the template shows of a document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self.title: str = document["info"]["title"]
        self.version: str = document["info"]["version"]
        self.introduction = prose(document["info"]["description"])
        self.server: str = document["servers"][0]["url"]

    @property
    def groups(self) -> Sequence[tuple[str, Markup, Sequence[OperationView]]]:
        """Give the tags with what they stand for and their operations."""
        calls = [
            (described["tags"][0], self._call(path, method, described))
            for path, methods in self._document["paths"].items()
            for method, described in methods.items()
        ]
        return [
            (tag["name"], prose(tag["description"]), [call for name, call in calls if name == tag["name"]])
            for tag in self._document["tags"]
        ]

    @property
    def webhooks(self) -> Sequence[OperationView]:
        """Give what providers send us."""
        return [
            self._call(name, method, described)
            for name, methods in self._document["webhooks"].items()
            for method, described in methods.items()
        ]

    @property
    def shapes(self) -> Sequence[SchemaView]:
        """Give the schemas, by their names."""
        schemas: Mapping[str, Any] = self._document["components"]["schemas"]
        return [
            SchemaView(
                name,
                prose(" ".join([schema.get("description", ""), *limits(schema)])),
                [*_rows(schema)],
                [kind_of(way) for way in schema.get("oneOf", ())],
            )
            for name, schema in sorted(schemas.items())
        ]

    def _call(self, path: str, method: str, described: Mapping[str, Any]) -> OperationView:
        body = described.get("requestBody", {"content": {}})
        media: Mapping[str, Any] = next(iter(body["content"].values()), {})
        responses = [*self._answers(described)]
        return OperationView(
            name=described["operationId"],
            method=method.upper(),
            path=path,
            summary=prose(described["summary"]),
            told=prose(described["description"]),
            parameters=[_parameter(one) for one in described.get("parameters", ())],
            body=_body_kind(body) if media else Markup(),
            bodies=[(name, _shown(one["value"])) for name, one in media.get("examples", {}).items()],
            curl=self._curl(path, method, described) if path.startswith("/") else "",
            good=[response for response in responses if response.status.startswith("2")],
            errors=[response for response in responses if not response.status.startswith("2")],
        )

    def _answers(self, described: Mapping[str, Any]) -> Iterable[ResponseView]:
        for status, given in described["responses"].items():
            response = self._at(given)
            media: Mapping[str, Any] = next(iter(response.get("content", {}).values()), {})
            yield ResponseView(
                f"{status} {HTTPStatus(int(status)).phrase}",
                prose(response["description"]),
                [*response.get("headers", {})],
                kind_of(media["schema"]) if media else Markup("nothing"),
                _shown(media["example"]) if "example" in media else "",
            )

    def _at(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give what a reference leads to, or what is given itself."""
        found = _REFERENCE.fullmatch(given.get("$ref", ""))
        led: Mapping[str, Any] = self._document["components"][found[1]][found[2]] if found else given
        return led

    def _curl(self, path: str, method: str, described: Mapping[str, Any]) -> str:
        """Give a call for the command line; the key stands in the environment."""
        lines = ["curl" if method == "get" else f"curl -X {method.upper()}"]
        query: dict[str, str] = {}
        if described["security"]:
            lines.append('-H "Authorization: Bearer $RECEIVER_KEY"')
        for one in described.get("parameters", ()):
            name, example = one["name"], one.get("example")
            if one["in"] == "path":
                path = path.replace(f"{{{name}}}", quote_plus(example))
            elif one["in"] == "header":
                lines.append(f"-H {quote(f'{name}: {example}')}")
            elif example:
                query |= example if isinstance(example, dict) else {name: example}
        media = described.get("requestBody", {"content": {}})["content"].get("application/json")
        if media:
            lines.append("-H 'Content-Type: application/json'")
            lines.append(f"-d {quote(json.dumps(next(iter(media['examples'].values()))['value']))}")
        lines.append(quote("?".join([f"{self.server}{path}", *([urlencode(query)] if query else [])])))
        return " \\\n  ".join(lines)


def prose(text: str) -> Markup:
    """Give text with `code`, **weight** and paragraphs as HTML."""
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        marked = _CODE.sub(r"<code>\1</code>", str(escape(paragraph)))
        marked = _BOLD.sub(r"<strong>\1</strong>", marked)
        paragraphs.append(f"<p>{marked}</p>")
    return Markup("\n".join(paragraphs))  # noqa: S704  # escaped above


def kind_of(schema: Mapping[str, Any]) -> Markup:
    """Say what a schema takes, with a link to one that has a name."""
    found = _REFERENCE.fullmatch(schema.get("$ref", ""))
    if found:
        return Markup('<a href="#schema-{0}">{0}</a>').format(found[2])
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return Markup(" or ").join(kind_of(one) for one in choices)
    kinds = schema.get("type", [])
    named = [_kind(schema, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    return Markup(" or ").join(named) or Markup("anything")


def limits(schema: Mapping[str, Any]) -> Sequence[str]:
    """Say within which limits a value must stay, other than those that all texts and numbers have."""
    told = [
        f"{schema.get(least, 0)} to {schema[most]}{unit}."
        for least, most, unit in _RANGES
        if schema.get(most) is not None
    ]
    if "pattern" in schema and "format" not in schema and schema["pattern"] != NO_NUL:
        told.append(f"pattern `{schema['pattern']}`.")
    if "default" in schema:
        told.append(f"{schema['default']} unless given.")
    if "enum" in schema:
        words = ("null" if word is None else str(word) for word in schema["enum"])
        told.append(f"one of {', '.join(f'`{word}`' for word in words)}.")
    return [f"{one[0].upper()}{one[1:]}" for one in told]


def _kind(schema: Mapping[str, Any], kind: str) -> Markup:
    if kind == "array":
        return Markup("list of {}").format(kind_of(schema.get("items", {})))
    if kind == "string" and "format" in schema:
        return escape(_FORMATS.get(schema["format"], "text"))
    return escape(_KINDS.get(kind, kind))


def _told(described: Mapping[str, Any], schema: Mapping[str, Any]) -> Markup:
    text = described.get("description", "").rstrip(".")
    inner = schema["items"] if schema.get("type") == "array" else {}
    return prose(" ".join([f"{text[:1].upper()}{text[1:]}." if text else "", *limits(schema), *limits(inner)]))


def _rows(schema: Mapping[str, Any]) -> Iterable[FieldRow]:
    required = schema.get("required", ())
    for name, one in schema.get("properties", {}).items():
        yield FieldRow(name, "", kind_of(one), name in required, _told(one, one))


def _parameter(given: Mapping[str, Any]) -> FieldRow:
    schema = given["schema"]
    return FieldRow(given["name"], given["in"], kind_of(schema), given.get("required", False), _told(given, schema))


def _body_kind(body: Mapping[str, Any]) -> Markup:
    media_types = " or ".join(body["content"])
    kind = kind_of(next(iter(body["content"].values()))["schema"])
    optional = "" if body.get("required") else ", which may be left out"
    return Markup("{} as {}{}").format(kind, media_types, optional)


def _shown(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
