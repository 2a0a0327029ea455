"""Bodies of callbacks and responses for people: indented or as fields, and raw, always as text of limited size."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

import orjson
from markupsafe import escape

from receiver.domain.callbacks import FORM_MEDIA_TYPE
from receiver.domain.documents.forms import find_boundary

MAX_BODY_BYTES = 12_000
"""The size to which a body is cut, as HTML: most of a page of 60 kB is left to the rest of it."""
_MAX_NAME_BYTES, _MARKUP_BYTES = 200, 80
_MIN_ESCAPES, _ESCAPES_SHARE = 4, 0.1
_INDENT = "  "
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_XML_TOKEN = re.compile(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<[^>]*>|[^<]+", re.DOTALL)
_ESCAPED_BYTE = re.compile(r"\\x[0-9a-f]{2}")
_INVISIBLE = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\x80-\x9f]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart body: its headers, and its content, cut."""

    headers: str
    content: str


@dataclass(frozen=True, slots=True)
class Body:
    """A body as a page shows it.

    Attributes:
        kind: what it is, for people, such as `JSON`.
        raw: the text with escapes for control characters, cut.
        size: the number of characters of the whole text.
        is_cut: whether only the beginning is shown.
        pretty: the text indented, cut; None for a kind that is not indented.
        fields: the fields of a form, decoded.
        parts: the parts of a multipart body.
    """

    kind: str
    raw: str
    size: int
    is_cut: bool
    pretty: str | None = None
    fields: Sequence[tuple[str, str]] = ()
    parts: Sequence[Part] = ()


def describe_body(text: str, headers: Mapping[str, str], max_bytes: int = MAX_BODY_BYTES) -> Body:
    r"""Return a body as a page shows it.

    Args:
        text: the body as the API returns it: UTF-8, with other bytes as `\xff`.
        headers: the headers that it came with, with names in lower case.
        max_bytes: the size to which each text is cut, in bytes of HTML.
    """
    content_type, head = headers.get("content-type", ""), text[:max_bytes]
    raw = _cut(_show_controls(head), max_bytes)
    body = Body(_find_kind(text, content_type), raw, len(text), is_cut=len(raw) < len(_show_controls(text)))
    match body.kind:
        case "multipart":
            parts = _split_parts(head, find_boundary(content_type))
            return replace(body, parts=[_limit_part(part, max_bytes) for part in parts])
        case "form":
            return replace(body, fields=list_fields(head, max_bytes))
        case "JSON":
            return replace(body, pretty=_cut(_show_controls(_indent_json(head)), max_bytes))
        case "XML":
            return replace(body, pretty=_cut(_show_controls(_indent_xml(head)), max_bytes))
    return body


def _find_kind(text: str, content_type: str) -> str:
    start = text.lstrip()[:1]
    if not start:
        return "empty"
    if find_boundary(content_type):
        return "multipart"
    if len(_ESCAPED_BYTE.findall(text)) > max(_MIN_ESCAPES, len(text) * _ESCAPES_SHARE):
        return "binary"
    if FORM_MEDIA_TYPE in content_type.lower():
        return "form"
    if start in "{[" and _is_json(text):
        return "JSON"
    return "XML" if start == "<" else "text"


def list_fields(encoded: str, max_bytes: int = MAX_BODY_BYTES) -> Sequence[tuple[str, str]]:
    """Return the decoded fields of a form or a query, as many as fit into `max_bytes`."""
    return limit_fields(parse_qsl(encoded, keep_blank_values=True, errors="backslashreplace"), max_bytes)


def limit_fields(pairs: Iterable[tuple[str, str]], max_bytes: int = MAX_BODY_BYTES) -> Sequence[tuple[str, str]]:
    """Return names with their values, as many as fit into `max_bytes` as HTML; a long value is cut."""
    fields: list[tuple[str, str]] = []
    rest = max_bytes
    for name, value in pairs:
        field = (_cut(_show_controls(name), _MAX_NAME_BYTES), _cut(_show_controls(value), max_bytes // 4))
        rest -= sum(len(escape(text)) for text in field) + _MARKUP_BYTES
        if rest < 0:
            break
        fields.append(field)
    return fields


def _is_json(text: str) -> bool:
    """Return whether a text is JSON, or several JSON documents, one on each line."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        lines = text.splitlines()
        if len(lines) == 1:
            return False
        return all(_is_json(line) for line in lines if line.strip())
    return True


def _indent_json(text: str) -> str:
    """Return JSON with line breaks and indentation; numbers, escapes and repeated names stay as they are written."""
    lines, depth, previous = [""], 0, ""
    for lexeme in _JSON_TOKEN.findall(text):
        if lexeme in "}]":
            depth -= 1
        is_empty = lexeme in "}]" and previous in "{[" and previous
        is_new_document = depth == 0 and previous and previous not in "{[,:" and lexeme not in "}],:"
        if ((previous and previous in "{[,") or lexeme in "}]" or is_new_document) and not is_empty:
            lines.append(_INDENT * depth)
        lines[-1] += ": " if lexeme == ":" else lexeme
        if lexeme in "{[":
            depth += 1
        previous = lexeme
    return "\n".join(lines)


def _indent_xml(text: str) -> str:
    """Return XML with line breaks and indentation; nothing in it is interpreted."""
    lines, depth, previous = [""], 0, ""
    for token in _XML_TOKEN.findall(text):
        if not token.strip():
            continue
        kind = _classify_xml(token)
        if kind == "close":
            depth = max(depth - 1, 0)
        is_inline = (kind == "text" and previous == "open") or (kind == "close" and previous in {"open", "text"})
        if is_inline:
            lines[-1] += token.strip() if kind == "text" else token
        else:
            lines.append(_INDENT * depth + token.strip())
        if kind == "open":
            depth += 1
        previous = kind
    return "\n".join(lines).lstrip("\n")


def _classify_xml(token: str) -> str:
    if not token.startswith("<"):
        return "text"
    if token.startswith("</"):
        return "close"
    return "other" if token.startswith(("<!", "<?")) or token.endswith("/>") else "open"


def _split_parts(text: str, boundary: str) -> Iterator[Part]:
    """Yield the parts of a multipart body as they stand there."""
    for section in re.split(rf"(?:^|\r?\n)--{re.escape(boundary)}", text)[1:]:
        if section.startswith("--"):
            return
        headers, _, content = section.lstrip("\r\n").replace("\r\n", "\n").partition("\n\n")
        yield Part(headers, content)


def _limit_part(part: Part, max_bytes: int) -> Part:
    share = max_bytes // 4
    return Part(_cut(_show_controls(part.headers), share), _cut(_show_controls(part.content), share))


def _show_controls(text: str) -> str:
    """Return a text in which control characters, and characters that reorder or hide text, are escapes."""
    visible = _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\r\n", "\n"))
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", visible)


def _cut(text: str, max_bytes: int) -> str:
    """Return the beginning of a text that is at most so large as HTML in UTF-8."""
    cut = text[:max_bytes]
    while (size := len(str(escape(cut)).encode())) > max_bytes:
        cut = cut[: min(len(cut) - 1, len(cut) * max_bytes // size)]
    return cut
