"""Values found in a provider's documents by configured paths, as text that can be stored.

Whatever stands at a path, these never raise anything but ValidationError, with its messages by path.
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
_LONG_TEXT = 1_000


class JsonPath:
    """A compiled path, relative to an item, or to the whole document when it begins with `$.`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._whole = path.startswith("$.")
        self._expression = compile_path(path)

    def __call__(self, item: Any, document: Any) -> Any:
        """Give what stands there, None where nothing does."""
        try:
            return self._expression.search(document if self._whole else item)
        except Exception:  # a configured function may fail in any way on what was sent
            return None


def compile_paths(paths: Sequence[str] | None) -> tuple[JsonPath, ...]:
    """Compile paths."""
    return tuple(JsonPath(path) for path in paths or ())


def as_text(value: Any) -> str | None:
    """Give a text or number as text; None for anything else. Large numbers are none: JSON readers round them."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return value if isinstance(value, str) else str(value)


def as_status(value: Any) -> str | None:
    """Give a text, number, true or false as text; None for anything else."""
    return str(value).lower() if isinstance(value, bool) else as_text(value)


def as_uuid(text: str | None) -> UUID | None:
    """Give a text as a UUID; None for one that is none."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def find_first_text(paths: Sequence[JsonPath], item: Any, document: Any) -> str | None:
    """Give the first text that any of the paths leads to, cut to what is kept; what cannot be stored counts as none."""
    for path in paths:
        word = as_status(path(item, document))
        if word and (text := _storable(word[:_LONG_TEXT])):
            return text
    return None


def _storable(text: str) -> str | None:
    try:
        return str(_TEXT.deserialize(text))
    except ValidationError:
        return None


def join_texts(paths: Sequence[JsonPath], item: Any, document: Any) -> str | None:
    """Give the texts that all the paths lead to, joined by `/`; None where one is missing.

    Raises:
        ValidationError: it cannot be stored.
    """
    texts = [as_text(value) for value in (path(item, document) for path in paths) if not isinstance(value, float)]
    if not texts or len(texts) < len(paths) or not all(texts):
        return None
    try:
        return str(_TEXT.deserialize("/".join(text or "" for text in texts)))
    except ValidationError as error:
        raise ValidationError({paths[0].path: error.messages}) from None


def find_items(path: JsonPath | None, document: Any) -> Sequence[Any]:
    """Give the items of a document: itself, the list at a path, or the one thing there."""
    if path is None:
        return (document,)
    found = path(document, document)
    if found is None:
        return ()
    return found if isinstance(found, list) else (found,)


def parse_json(body: bytes) -> Any:
    """Read JSON.

    Raises:
        ValidationError: it is none.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValidationError({"_body": [f"not valid JSON: {error}"]}) from None


def parse_fields(encoded: str | bytes) -> dict[str, Any]:
    """Read form fields or a query; a repeated field is a list.

    Raises:
        ValidationError: they are not in UTF-8, or too many.
    """
    try:
        text = encoded.decode("ascii") if isinstance(encoded, bytes) else encoded
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=10_000)
    except ValueError as error:
        raise ValidationError({"_body": [f"not valid form fields: {error}"]}) from None
    given: dict[str, Any] = {}
    for name, value in pairs:
        known = given.get(name)
        given[name] = value if known is None else [*(known if isinstance(known, list) else [known]), value]
    return given


@dataclass(frozen=True, slots=True)
class ValueLocation:
    """Where a value stands in a delivery: in a header, the query, or the document."""

    kind: str
    name: str
    pick: JsonPath | None = None

    @classmethod
    def of(cls, text: str) -> "ValueLocation":
        """Read `header:NAME`, `query:NAME` or a path."""
        kind, colon, name = text.partition(":")
        if colon and kind in {"header", "query"}:
            return cls(kind, name.lower() if kind == "header" else name)
        return cls("path", text, JsonPath(text))

    def find(self, callback: IncomingCallback, document: Any) -> str | None:
        """Give the text there, or None."""
        if self.kind == "header":
            return callback.headers.get(self.name)
        if self.kind == "query":
            return as_text(parse_query(callback).get(self.name))
        return as_text(self.pick(document, document)) if self.pick else None


def parse_query(callback: IncomingCallback) -> Mapping[str, Any]:
    """Give the query's fields; none when it cannot be read."""
    try:
        return parse_fields(callback.query)
    except ValidationError:
        return {}
