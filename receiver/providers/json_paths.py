"""Values at configured paths of a provider's documents, as text that can be stored.

Whatever a document holds, these functions raise nothing but ValidationError, with messages by path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from jmespath.visitor import TreeInterpreter
from marshmallow import ValidationError

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents import forms, json_documents
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.json_documents import format_number, is_exact
from receiver.providers.path_getters import build_getter
from receiver.schemas.fields import Text
from receiver.schemas.paths import compile_path

_TEXT = Text()
_MAX_TEXT_LENGTH = 1_000
BODY = "_body"
"""The key of errors of a body as a whole."""


class JsonPath:
    """A compiled JMESPath, relative to an item, or to the whole document if it begins with `$.`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._from_document = path.startswith("$.")
        self._expression = compile_path(path)
        self._get = build_getter(self._expression) or self._expression.search

    def __call__(self, item: Any, document: Any) -> Any:
        """Return the value at the path, or None if there is none."""
        try:
            return self._get(document if self._from_document else item)
        except Exception:  # a configured JMESPath function may fail in any way on the provider's values
            return None

    def leads_to_empty_list(self, document: Any) -> bool:
        """Return whether the path, which has no items in a document, leads to an empty list."""
        try:
            return _leads_to_empty_list(self._expression.parsed, document)
        except Exception:  # as above
            return False


class ValuePath(Protocol):
    """A path as configured, and its value for an item of a document."""

    @property
    def path(self) -> str:
        """The text of the path."""

    def __call__(self, item: Any, document: Any) -> Any:
        """Return the value, or None if there is none."""


def compile_optional_path(path: str | None) -> JsonPath | None:
    """Compile a path; return None for an absent one."""
    return JsonPath(path) if path else None


def compile_paths(paths: Sequence[str] | None) -> tuple[JsonPath, ...]:
    """Compile paths."""
    return tuple(JsonPath(path) for path in paths or ())


def compile_locations(locations: Sequence[str] | None) -> tuple[ValuePath, ...]:
    """Compile locations of values."""
    return tuple(compile_location(location) for location in locations or ())


def compile_location(text: str) -> ValuePath:
    """Compile the location of a value; see `ValueLocation`."""
    location = ValueLocation.parse(text)
    return location.json_path or location


def is_outside_document(path: ValuePath) -> bool:
    """Return whether a value is in a header or in the query, so that it must be bound to a callback."""
    return isinstance(path, ValueLocation) and path.json_path is None


def bind_location(path: ValuePath, callback: IncomingCallback) -> ValuePath:
    """Return a path for one callback; see `ValueLocation.bind`."""
    return path.bind(callback) if isinstance(path, ValueLocation) else path


def as_text(value: Any) -> str | None:
    """Return text or a number as text; None for any other value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return format_number(value)


def as_status(value: Any) -> str | None:
    """Return text, a number or a boolean as text; None for any other value."""
    return str(value).lower() if isinstance(value, bool) else as_text(value)


def as_uuid(text: str | None) -> UUID | None:
    """Return text as a UUID; None if it is not one."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def find_first_text(paths: Sequence[ValuePath], item: Any, document: Any) -> str | None:
    """Return the first text at any of the paths, truncated to what is stored; text that cannot be stored is skipped."""
    for path in paths:
        value = as_status(path(item, document))
        if value and (text := _as_storable(value[:_MAX_TEXT_LENGTH])):
            return text
    return None


def _as_storable(text: str) -> str | None:
    try:
        # A byte that is no text is shown as U+FFFD.
        if not text.isascii():
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return _TEXT.load(text)
    except (ValidationError, UnicodeEncodeError):
        return None


def join_texts(paths: Sequence[ValuePath], item: Any, document: Any) -> str | None:
    """Return the texts at all the paths, joined by `/`; None if one is missing.

    Raises:
        ValidationError: the text cannot be stored.
    """
    texts = []
    for path in paths:
        value = path(item, document)
        # A rounded number could make two references equal.
        text = None if isinstance(value, float) and not is_exact(value) else as_text(value)
        if not text:
            return None
        texts.append(text)
    if not texts:
        return None
    try:
        return _TEXT.load("/".join(texts))
    except ValidationError as error:
        raise ValidationError({paths[0].path: error.messages}) from None


def find_items(path: JsonPath | None, document: Any) -> Sequence[Any]:
    """Return the items of a document: the document itself without a path, else the list or the single value there."""
    if path is None:
        return (document,)
    items = path(document, document)
    if items is None:
        return ()
    return items if isinstance(items, list) else (items,)


def leads_to_empty_list(path: JsonPath | None, document: Any) -> bool:
    """Return whether a document without items has an empty list in their place, rather than nothing."""
    return document == [] if path is None else path.leads_to_empty_list(document)


def parse_json(body: bytes) -> Any:
    """Parse JSON; see `receiver.domain.documents.json_documents.parse_json`.

    Raises:
        ValidationError: the body is not JSON.
    """
    try:
        return json_documents.parse_json(body)
    except UnreadableDocument as error:
        raise build_body_error(error) from None


def parse_fields(encoded: str | bytes) -> dict[str, Any]:
    """Parse form fields or a query; see `receiver.domain.documents.forms.parse_fields`.

    Raises:
        ValidationError: there are too many fields.
    """
    try:
        return forms.parse_fields(encoded)
    except UnreadableDocument as error:
        raise build_body_error(error) from None


def build_body_error(error: UnreadableDocument) -> ValidationError:
    """Return the error of a body that cannot be read."""
    return ValidationError({BODY: [str(error)]})


@dataclass(frozen=True, slots=True)
class BoundValue:
    """The value of one callback at a location outside the document."""

    path: str
    value: str | None

    def __call__(self, item: Any, document: Any) -> str | None:
        """Return the value, which is the same for all items."""
        return self.value


@dataclass(frozen=True, slots=True)
class ValueLocation:
    """Where a value is in a callback: in a header, in the query, or at a path of the document.

    `kind` is `header`, `query` or `path`; `json_path` is set for a path only. A location in a header or in the query
    has no value until it is bound to a callback.
    """

    kind: str
    name: str
    json_path: JsonPath | None = None

    @classmethod
    def parse(cls, text: str) -> "ValueLocation":
        """Parse `header:NAME`, `query:NAME` or a path."""
        kind, colon, name = text.partition(":")
        if colon and kind in {"header", "query"}:
            return cls(kind, name.lower() if kind == "header" else name)
        return cls("path", text, JsonPath(text))

    def __call__(self, item: Any, document: Any) -> Any:
        """Return the value at the path, or None if there is none."""
        return self.json_path(item, document) if self.json_path else None

    @property
    def path(self) -> str:
        """The location as it is configured."""
        return self.name if self.json_path else f"{self.kind}:{self.name}"

    def bind(self, callback: IncomingCallback) -> "ValuePath":
        """Return the location for one callback: a path, or the value of the header or query parameter."""
        return self.json_path or BoundValue(self.path, self.find(callback, None))

    def find(self, callback: IncomingCallback, document: Any, query: Mapping[str, Any] | None = None) -> str | None:
        """Return the text at this location, or None if there is none; `query` is the parsed query, if it is at hand."""
        if self.kind == "header":
            return callback.headers.get(self.name)
        if self.kind == "query":
            return as_text((parse_query(callback) if query is None else query).get(self.name))
        return as_text(self.json_path(document, document)) if self.json_path else None


def parse_query(callback: IncomingCallback) -> Mapping[str, Any]:
    """Return the fields of a callback's query; empty if the query cannot be parsed."""
    try:
        return parse_fields(callback.query)
    except ValidationError:
        return {}


def _leads_to_empty_list(node: Any, document: Any) -> bool:
    """Return whether an expression without items ends at an empty list, and not at a member that is missing."""
    if node["type"] not in {"projection", "flatten"}:
        return bool(TreeInterpreter().visit(node, document) == [])
    container = node["children"][0]
    elements = TreeInterpreter().visit(container, document)
    if elements == []:
        return _leads_to_empty_list(container, document)
    return elements is not None and node["type"] == "flatten"
