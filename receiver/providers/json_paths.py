"""Values at configured paths of a provider's documents, as text that can be stored.

Whatever a document holds, these functions raise nothing but ValidationError, with messages by path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
from marshmallow import ValidationError

from receiver.domain.callbacks import IncomingCallback
from receiver.schemas.fields import Text
from receiver.schemas.paths import compile_path

_TEXT = Text()
_MAX_TEXT_LENGTH = 1_000
_MAX_FIELDS = 10_000


class JsonPath:
    """A compiled JMESPath, relative to an item, or to the whole document if it begins with `$.`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._from_document = path.startswith("$.")
        self._expression = compile_path(path)

    def __call__(self, item: Any, document: Any) -> Any:
        """Return the value at the path, or None if there is none."""
        try:
            return self._expression.search(document if self._from_document else item)
        except Exception:  # a configured JMESPath function may fail in any way on the provider's values
            return None


def compile_optional_path(path: str | None) -> JsonPath | None:
    """Compile a path; return None for an absent one."""
    return JsonPath(path) if path else None


def compile_paths(paths: Sequence[str] | None) -> tuple[JsonPath, ...]:
    """Compile paths."""
    return tuple(JsonPath(path) for path in paths or ())


def as_text(value: Any) -> str | None:
    """Return text or a number as text; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return value if isinstance(value, str) else str(value)


def as_status(value: Any) -> str | None:
    """Return text, a number or a boolean as text; None for any other value."""
    return str(value).lower() if isinstance(value, bool) else as_text(value)


def as_uuid(text: str | None) -> UUID | None:
    """Return text as a UUID; None if it is not one."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def find_first_text(paths: Sequence[JsonPath], item: Any, document: Any) -> str | None:
    """Return the first text at any of the paths, truncated to what is stored; text that cannot be stored is skipped."""
    for path in paths:
        value = as_status(path(item, document))
        if value and (text := _as_storable(value[:_MAX_TEXT_LENGTH])):
            return text
    return None


def _as_storable(text: str) -> str | None:
    try:
        return str(_TEXT.deserialize(text))
    except ValidationError:
        return None


def join_texts(paths: Sequence[JsonPath], item: Any, document: Any) -> str | None:
    """Return the texts at all the paths, joined by `/`; None if one is missing.

    Raises:
        ValidationError: the text cannot be stored.
    """
    # An integer beyond 64 bits is parsed as a rounded float: two references could become equal, so floats are left out.
    texts = [as_text(value) for value in (path(item, document) for path in paths) if not isinstance(value, float)]
    if not texts or len(texts) < len(paths) or not all(texts):
        return None
    try:
        return str(_TEXT.deserialize("/".join(text or "" for text in texts)))
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


def parse_json(body: bytes) -> Any:
    """Parse JSON.

    Raises:
        ValidationError: the body is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValidationError({"_body": [f"Not valid JSON: {error}."]}) from None


def parse_fields(encoded: str | bytes) -> dict[str, Any]:
    """Parse form fields or a query; the value of a repeated field is a list.

    Raises:
        ValidationError: the fields are not UTF-8, or there are too many.
    """
    try:
        text = encoded.decode("ascii") if isinstance(encoded, bytes) else encoded
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise ValidationError({"_body": [f"Not valid form fields: {error}."]}) from None
    values_by_name: dict[str, list[str]] = {}
    for name, value in pairs:
        values_by_name.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in values_by_name.items()}


@dataclass(frozen=True, slots=True)
class ValueLocation:
    """Where a value is in a callback: in a header, in the query, or at a path of the document.

    `kind` is `header`, `query` or `path`; `json_path` is set for a path only.
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
