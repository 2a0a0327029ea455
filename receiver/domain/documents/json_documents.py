"""JSON as providers send it: RFC 8259, and what is often sent in its place."""

import json
import math
import string
from typing import Any

import orjson

from receiver.domain.documents.charsets import decode_text
from receiver.domain.documents.errors import UnreadableDocument

_DIGITS = bytes(ord("0") if chr(byte) in string.digits else ord(" ") for byte in range(256))
_LONG_INTEGER = b"0" * 20
_MAX_INTEGER_CHARS = 1_000
_MAX_EXACT_FLOAT = float(2**53)


class JsonLines(list[Any]):
    """The documents of a body with one JSON value on each line (NDJSON)."""


def parse_json(content: bytes, charset: str = "", *, allows_lines: bool = True) -> Any:
    """Parse JSON.

    What is not JSON by RFC 8259 is read leniently if it is an object or an array, or several of them, one on each line:
    another charset, a byte order mark, bytes that are no text, line breaks and other control characters within texts,
    the escape of half a surrogate pair; NaN and Infinity are null. An integer keeps all its digits.

    Args:
        content: the bytes.
        charset: the declared charset, see `find_charset`.
        allows_lines: whether there may be several documents.

    Raises:
        UnreadableDocument: the content is not JSON.
    """
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return _parse_leniently(content, charset, f"Not valid JSON: {error}.", allows_lines=allows_lines)
    # An integer beyond 64 bits became a rounded float.
    if _LONG_INTEGER in content.translate(_DIGITS):
        try:
            return _DECODER.decode(content.decode())
        except (ValueError, RecursionError):
            return document
    return document


def format_number(number: float) -> str:
    """Return a number as text; a float that is a whole number, such as 12345.0, as an integer."""
    if isinstance(number, float):
        if number.is_integer() and abs(number) <= _MAX_EXACT_FLOAT:
            return str(int(number))
        return orjson.dumps(number).decode()
    return str(number)


def is_exact(number: float) -> bool:
    """Return whether a number is a whole number with all its digits, so that it can identify something."""
    return not isinstance(number, float) or (number.is_integer() and abs(number) <= _MAX_EXACT_FLOAT)


def _parse_leniently(content: bytes, charset: str, message: str, *, allows_lines: bool) -> Any:
    encoding = json.detect_encoding(content)
    if encoding.startswith(("utf-16", "utf-32")):
        text = content.decode(encoding, "replace")
    else:
        text = decode_text(content, charset)
    text = text.removeprefix("\ufeff")
    lines = [line for line in text.split("\n") if line.strip()] if allows_lines else []
    for texts in ([text], lines):
        try:
            documents = [_DECODER.decode(part) for part in texts]
        except (ValueError, RecursionError):
            continue
        if documents and all(isinstance(document, dict | list) for document in documents):
            return JsonLines(documents) if len(documents) > 1 else documents[0]
    raise UnreadableDocument(message)


def _parse_integer(text: str) -> int | None:
    # Python refuses an integer of more than 4,300 digits, whose conversion takes quadratic time.
    return int(text) if len(text) <= _MAX_INTEGER_CHARS else None


def _parse_float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _parse_constant(_: str) -> None:
    """Return null for NaN, Infinity and -Infinity."""


_DECODER = json.JSONDecoder(
    parse_int=_parse_integer, parse_float=_parse_float, parse_constant=_parse_constant, strict=False
)
