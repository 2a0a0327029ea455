"""What a response says to people: the message of an error at the places where APIs usually have it, on one line."""

import re
from collections.abc import Iterable, Mapping
from html import unescape
from typing import Any

from receiver.domain.documents.charsets import decode_text, find_charset
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.json_documents import parse_json

MAX_MESSAGE_CHARS = 300
_MAX_READ_CHARS = 64 << 10
_MAX_STRIPPED_CHARS = 4 << 10
_MAX_DEPTH = 4
_MAX_ERRORS = 5

# The members that are read, by their names in lower case without - and _, in the order in which they are shown. Of the
# second group only the first one with a text is shown: APIs repeat the same message under several names.
_LABELS = ("field", "param", "title", "error")
_TEXTS = (
    "message",
    "msg",
    "errormessage",
    "errordescription",
    "detail",
    "description",
    "reason",
    "faultstring",
    "fault",
)
_LISTS = ("errors", "messages", "details")

_TITLE = re.compile(r"<title[^<>]{0,200}>([^<]{1,2000})", re.IGNORECASE)
_INVISIBLE = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]{0,2000}>")


def add_message(detail: str, headers: Mapping[str, str], body: bytes, *, quotes_json: bool = True) -> str:
    """Return a detail with the message of a response after it, unless the detail contains the message.

    Args:
        detail: why a request has its status.
        headers: the headers of the response, with names in lower case.
        body: the raw body.
        quotes_json: whether JSON without a message is quoted.
    """
    message = find_message(headers, body, quotes_json=quotes_json)
    if not message or re.search(rf"(?<!\w){re.escape(message)}(?!\w)", detail):
        return detail
    return f"{detail.removesuffix('.')}. The provider responded: {message}"


def find_message(headers: Mapping[str, str], body: bytes, *, quotes_json: bool = True) -> str | None:
    """Return the message of a response, of at most `MAX_MESSAGE_CHARS` characters; None if there is none.

    It is at the place where APIs usually have it. Of a body that is not JSON, the message is its media type and the
    beginning of its text, or the title of an HTML page. See `add_message` for the arguments.
    """
    if not body.strip():
        return None
    try:
        document = parse_json(body)
    except UnreadableDocument:
        return describe_unreadable(headers, body)
    if not document:
        return None
    return shorten(_read(document, _MAX_DEPTH) or (decode_text(body[:_MAX_READ_CHARS]) if quotes_json else "")) or None


def describe_unreadable(headers: Mapping[str, str], body: bytes) -> str:
    """Return what a body is that is not JSON: empty, or its media type and the beginning of its text."""
    if not body.strip():
        return "empty"
    content_type = headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip()
    kind = f"not JSON ({shorten(media_type)})" if media_type else "not JSON"
    if b"\0" in body[:_MAX_READ_CHARS]:
        return f"{kind}: {len(body)} bytes"
    text = decode_text(body[:_MAX_READ_CHARS], find_charset(content_type))
    return shorten(f"{kind}: {_strip_tags(text) if text.lstrip().startswith('<') else text}")


def shorten(text: str) -> str:
    """Return a text on one line of at most `MAX_MESSAGE_CHARS` characters, without any that is not printable."""
    printable = "".join(char if char.isprintable() else " " for char in text[:_MAX_READ_CHARS])
    line = " ".join(printable.split())
    return line if len(line) <= MAX_MESSAGE_CHARS else f"{line[: MAX_MESSAGE_CHARS - 1]}…"


def _strip_tags(text: str) -> str:
    """Return the title of an HTML page, or the text of a page without one or of XML."""
    title = _TITLE.search(text)
    if title and title[1].strip():
        return unescape(title[1])
    return unescape(_TAG.sub(" ", _INVISIBLE.sub(" ", text[:_MAX_STRIPPED_CHARS])))


def _read(value: Any, depth: int) -> str:
    """Return the texts of a value at the usual places; "" if there is none."""
    if isinstance(value, str):
        return value.strip()
    if depth == 0:
        return ""
    if isinstance(value, list):
        return "; ".join(_drop_repeated(_read(element, depth - 1) for element in value[:_MAX_ERRORS]))
    if not isinstance(value, dict):
        return ""
    members: dict[str, Any] = {}
    for name, member in value.items():
        members.setdefault(name.lower().replace("_", "").replace("-", ""), member)
    texts = (_read(members.get(name), depth - 1) for name in _TEXTS)
    errors = (_read_errors(members.get(name), depth - 1) for name in _LISTS)
    labels = [_read(members.get(name), depth - 1) for name in _LABELS]
    return ": ".join(_drop_repeated([*labels, next(filter(None, texts), ""), next(filter(None, errors), "")]))


def _read_errors(value: Any, depth: int) -> str:
    """Return the texts of several errors: a list, or an object of fields and their errors."""
    own_text = _read(value, depth)
    if own_text or not isinstance(value, dict):
        return own_text
    fields = list(value.items())[:_MAX_ERRORS]
    return "; ".join(f"{name}: {text}" for name, error in fields if (text := _read(error, depth)))


def _drop_repeated(texts: Iterable[str]) -> list[str]:
    """Return the texts that are not empty and not a part of another one before them."""
    kept: list[str] = []
    for text in texts:
        if text and not any(text in other for other in kept):
            kept.append(text)
    return kept
