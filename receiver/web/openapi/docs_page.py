"""The content of the reference page for people, built from the OpenAPI document alone."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from shlex import quote
from typing import Any
from urllib.parse import quote_plus, urlencode

from markupsafe import Markup, escape

from receiver.schemas.fields import NO_NUL

_REFERENCE = re.compile(r"#/components/(\w+)/(.+)")
_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_TYPES: Mapping[str, str] = {"string": "text", "array": "list", "integer": "whole number", "boolean": "true or false"}
_FORMATS: Mapping[str, str] = {"date-time": "time", "uuid": "id"}
_RANGES = (("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items"), ("minimum", "maximum", ""))


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field or parameter: its name, its location (of a parameter), its type, and its description."""

    name: str
    location: str
    type: Markup
    required: bool
    description: Markup


@dataclass(frozen=True, slots=True)
class ResponseView:
    """A response: its status with name, its description, its headers, the type of its body, and an example."""

    status: str
    description: Markup
    headers: Sequence[str]
    type: Markup
    example: str


@dataclass(frozen=True, slots=True)
class OperationView:
    """An operation; `bodies` are examples with their names, `curl` is a call with the first of them."""

    name: str
    method: str
    path: str
    summary: Markup
    description: Markup
    parameters: Sequence[FieldRow]
    body: Markup
    bodies: Sequence[tuple[str, str]]
    curl: str
    successes: Sequence[ResponseView]
    errors: Sequence[ResponseView]


@dataclass(frozen=True, slots=True)
class SchemaView:
    """A schema: its description, its fields, and its variants instead of fields."""

    name: str
    description: Markup
    rows: Sequence[FieldRow]
    variants: Sequence[Markup]


class ReferencePage:
    """The data of the template, from an OpenAPI document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self.title: str = document["info"]["title"]
        self.version: str = document["info"]["version"]
        self.introduction = render_prose(document["info"]["description"])
        self.server: str = document["servers"][0]["url"]

    @property
    def groups(self) -> Sequence[tuple[str, Markup, Sequence[OperationView]]]:
        """The tags with operations, each with its description and operations."""
        operations = [
            (operation["tags"][0], self._build_operation(path, method, operation))
            for path, methods in self._document["paths"].items()
            for method, operation in methods.items()
        ]
        return [
            (tag["name"], render_prose(tag["description"]), [view for name, view in operations if name == tag["name"]])
            for tag in self._document["tags"]
            if any(name == tag["name"] for name, _ in operations)
        ]

    @property
    def webhooks(self) -> Sequence[OperationView]:
        """The callbacks of providers and the webhook notification."""
        return [
            self._build_operation(name, method, operation)
            for name, methods in self._document["webhooks"].items()
            for method, operation in methods.items()
        ]

    @property
    def schemas(self) -> Sequence[SchemaView]:
        """The schemas by name."""
        schemas: Mapping[str, Any] = self._document["components"]["schemas"]
        return [
            SchemaView(
                name,
                render_prose(" ".join([schema.get("description", ""), *format_limits(schema)])),
                [*_build_fields(schema)],
                [format_type(variant) for variant in schema.get("oneOf", ())],
            )
            for name, schema in sorted(schemas.items())
        ]

    def _build_operation(self, path: str, method: str, operation: Mapping[str, Any]) -> OperationView:
        body = operation.get("requestBody", {"content": {}})
        media: Mapping[str, Any] = next(iter(body["content"].values()), {})
        responses = [*self._build_responses(operation)]
        return OperationView(
            name=operation["operationId"],
            method=method.upper(),
            path=path,
            summary=render_prose(operation["summary"]),
            description=render_prose(operation["description"]),
            parameters=[_build_parameter(parameter) for parameter in operation.get("parameters", ())],
            body=_format_body(body) if media else Markup(),
            bodies=[(name, _format_json(example["value"])) for name, example in media.get("examples", {}).items()],
            curl=self._build_curl(path, method, operation) if path.startswith("/") else "",
            successes=[response for response in responses if response.status.startswith("2")],
            errors=[response for response in responses if not response.status.startswith("2")],
        )

    def _build_responses(self, operation: Mapping[str, Any]) -> Iterable[ResponseView]:
        for status, response_or_reference in operation["responses"].items():
            response = self._resolve(response_or_reference)
            media: Mapping[str, Any] = next(iter(response.get("content", {}).values()), {})
            yield ResponseView(
                f"{status} {HTTPStatus(int(status)).phrase}",
                render_prose(response["description"]),
                [*response.get("headers", {})],
                format_type(media["schema"]) if media else Markup("nothing"),
                _format_json(media["example"]) if "example" in media else "",
            )

    def _resolve(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the target of a reference, or the value itself if it is none."""
        match = _REFERENCE.fullmatch(value.get("$ref", ""))
        resolved: Mapping[str, Any] = self._document["components"][match[1]][match[2]] if match else value
        return resolved

    def _build_curl(self, path: str, method: str, operation: Mapping[str, Any]) -> str:
        """Build a call for the command line, with the API key from the environment."""
        lines = ["curl" if method == "get" else f"curl -X {method.upper()}"]
        query: dict[str, str] = {}
        if operation["security"]:
            lines.append('-H "Authorization: Bearer $RECEIVER_KEY"')
        for parameter in operation.get("parameters", ()):
            name, example = parameter["name"], parameter.get("example")
            if parameter["in"] == "path":
                path = path.replace(f"{{{name}}}", quote_plus(example))
            elif parameter["in"] == "header":
                lines.append(f"-H {quote(f'{name}: {example}')}")
            elif example:
                query |= example if isinstance(example, dict) else {name: example}
        media = operation.get("requestBody", {"content": {}})["content"].get("application/json")
        if media:
            lines.append("-H 'Content-Type: application/json'")
            lines.append(f"-d {quote(json.dumps(next(iter(media['examples'].values()))['value']))}")
        lines.append(quote("?".join([f"{self.server}{path}", *([urlencode(query)] if query else [])])))
        return " \\\n  ".join(lines)


def render_prose(text: str) -> Markup:
    """Render text with `code`, **bold** and paragraphs as HTML."""
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        html = _CODE.sub(r"<code>\1</code>", str(escape(paragraph)))
        html = _BOLD.sub(r"<strong>\1</strong>", html)
        paragraphs.append(f"<p>{html}</p>")
    return Markup("\n".join(paragraphs))  # noqa: S704  # escaped above


def format_type(schema: Mapping[str, Any]) -> Markup:
    """Return what a schema accepts, in words, with a link to a schema that has a name."""
    match = _REFERENCE.fullmatch(schema.get("$ref", ""))
    if match:
        return Markup('<a href="#schema-{0}">{0}</a>').format(match[2])
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return Markup(" or ").join(format_type(choice) for choice in choices)
    types = schema.get("type", [])
    names = [_format_simple_type(schema, name) for name in ([types] if isinstance(types, str) else types)]
    return Markup(" or ").join(names) or Markup("anything")


def format_limits(schema: Mapping[str, Any]) -> Sequence[str]:
    """Return sentences about the limits of a value, except those that all texts and numbers have."""
    limits = [
        f"{schema.get(minimum, 0)} to {schema[maximum]}{unit}."
        for minimum, maximum, unit in _RANGES
        if schema.get(maximum) is not None
    ]
    if "pattern" in schema and "format" not in schema and schema["pattern"] != NO_NUL:
        limits.append(f"Pattern `{schema['pattern']}`.")
    if "default" in schema:
        limits.append(f"Default: {schema['default']}.")
    if "enum" in schema:
        values = ("null" if value is None else str(value) for value in schema["enum"])
        limits.append(f"One of {', '.join(f'`{value}`' for value in values)}.")
    return limits


def _format_simple_type(schema: Mapping[str, Any], name: str) -> Markup:
    if name == "array":
        return Markup("list of {}").format(format_type(schema.get("items", {})))
    if name == "string" and "format" in schema:
        return escape(_FORMATS.get(schema["format"], "text"))
    return escape(_TYPES.get(name, name))


def _format_description(described: Mapping[str, Any], schema: Mapping[str, Any]) -> Markup:
    text = described.get("description", "").rstrip(".")
    items = schema["items"] if schema.get("type") == "array" else {}
    sentence = f"{text[:1].upper()}{text[1:]}." if text else ""
    return render_prose(" ".join([sentence, *format_limits(schema), *format_limits(items)]))


def _build_fields(schema: Mapping[str, Any]) -> Iterable[FieldRow]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield FieldRow(name, "", format_type(field), name in required, _format_description(field, field))


def _build_parameter(parameter: Mapping[str, Any]) -> FieldRow:
    schema = parameter["schema"]
    return FieldRow(
        parameter["name"],
        parameter["in"],
        format_type(schema),
        parameter.get("required", False),
        _format_description(parameter, schema),
    )


def _format_body(body: Mapping[str, Any]) -> Markup:
    media_types = " or ".join(body["content"])
    body_type = format_type(next(iter(body["content"].values()))["schema"])
    optional = "" if body.get("required") else ", optional"
    return Markup("{} as {}{}").format(body_type, media_types, optional)


def _format_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
