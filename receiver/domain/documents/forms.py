"""Form fields: URL-encoded in a body or a query, or as parts of a multipart body."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from receiver.domain.documents.charsets import decode_text, find_charset
from receiver.domain.documents.errors import UnreadableDocument

MAX_FIELDS = 10_000
"""The most fields of a form or a query."""
MAX_PARTS = 1_000
"""The most parts of a multipart body."""
_FIRST_DELIMITER = re.compile(rb"^--[^\r\n]*", re.MULTILINE)
"""The first line of a multipart body that may be a delimiter; a preamble, which is ignored, may stand before it."""


def parse_fields(encoded: str | bytes, charset: str = "") -> dict[str, Any]:
    """Parse URL-encoded fields; the values of a repeated name are a list, in which equal values count once.

    Raises:
        UnreadableDocument: there are too many fields.
    """
    # Latin-1 has a character for each byte.
    text = encoded if isinstance(encoded, str) else encoded.decode("latin-1")
    try:
        if text.isascii():
            with suppress(UnicodeDecodeError):
                return _group_values(
                    parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
                )
        pairs = parse_qsl(text, keep_blank_values=True, encoding="latin-1", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise UnreadableDocument(f"Not valid form fields: {error}.") from None
    return _group_values((_decode(name, charset), _decode(value, charset)) for name, value in pairs)


def parse_multipart(body: bytes, content_type: str) -> dict[str, Any]:
    """Parse the parts of a multipart body.

    A part is text, a file the object `{"filename": …, "content_type": …}` without its content. The values of a repeated
    name are a list, in which equal values count once.

    Raises:
        UnreadableDocument: the body does not begin with the boundary of its `Content-Type`, is not valid multipart or
            has too many parts.
    """
    boundary = find_boundary(content_type)
    if not boundary:
        raise UnreadableDocument("Not valid multipart: its Content-Type has no boundary.")
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    # The media type is hardly ever signed: another boundary would be one that is within the text of a part.
    first_delimiter = _FIRST_DELIMITER.search(body)
    if first_delimiter is None or first_delimiter[0].rstrip() not in {delimiter, delimiter + b"--"}:
        raise UnreadableDocument("Not valid multipart: it does not begin with the boundary of its Content-Type.")
    decoder = MultipartDecoder(delimiter[2:], max_parts=MAX_PARTS)
    try:
        decoder.receive_data(body[first_delimiter.start() :])
        decoder.receive_data(None)
        return _group_values(_iterate_parts(decoder))
    # The last one: werkzeug expects a line break after the headers of a part.
    except (ValueError, HTTPException, AttributeError):
        raise UnreadableDocument("Not valid multipart.") from None


def find_boundary(content_type: str) -> str:
    """Return the boundary of a multipart body; "" if its `Content-Type` has none."""
    media_type, options = parse_options_header(content_type)
    return options.get("boundary", "") if media_type.lower().startswith("multipart/") else ""


def _iterate_parts(decoder: MultipartDecoder) -> Iterator[tuple[str, Any]]:
    name, value, charset = "", None, ""
    content: list[bytes]
    while not isinstance(event := decoder.next_event(), Epilogue):
        if isinstance(event, Field | File):
            name, content_type = event.name or "", event.headers.get("content-type", "")
            value = {"filename": event.filename, "content_type": content_type} if isinstance(event, File) else None
            charset, content = find_charset(content_type), []
        elif isinstance(event, Data):
            content.append(event.data)
            if not event.more_data:
                yield name, value or decode_text(b"".join(content), charset)


def _decode(text: str, charset: str) -> str:
    return decode_text(text.encode("latin-1", "replace"), charset)


def _group_values(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the value of each name, or the list of its different values."""
    values_by_name: dict[str, dict[Any, Any]] = {}
    for name, value in pairs:
        key = value if isinstance(value, str) else tuple(value.items())
        values_by_name.setdefault(name, {})[key] = value
    return {
        name: list(values.values()) if len(values) > 1 else next(iter(values.values()))
        for name, values in values_by_name.items()
    }
