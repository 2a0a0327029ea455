"""JSON within a text of a document, which a path goes through: `Message.id` of Amazon SNS, `message.data` of Pub/Sub.

Where a path goes on below a text that is JSON or the base64 of JSON, an object or an array, the text is replaced by it.
The places are found in the paths when the configuration is read.
"""

import binascii
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

import jmespath

from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.json_documents import parse_json

NestedNames = Mapping[str, "NestedNames"]
"""The names of members that paths go through, each with those below it."""

_URL_SAFE = str.maketrans("-_", "+/")


def find_nested_names(paths: Iterable[str], items: Iterable[str] = ()) -> NestedNames:
    """Return the names that JMESPaths go through from the document on.

    Args:
        paths: the paths of values.
        items: the paths of items; a path goes through its last name, too.
    """
    names: dict[str, Any] = {}
    for path in paths:
        _add_names(jmespath.compile(path).parsed, names, is_last=True)
    for path in items:
        _add_names(jmespath.compile(path).parsed, names, is_last=False)
    return names


def expand_texts(document: Any, names: NestedNames) -> Any:
    """Return a document in which the JSON within texts at `names` is parsed; the document itself if there is none."""
    if not names or not isinstance(document, dict):
        return document
    expanded = document
    for name, inner_names in names.items():
        value = document.get(name)
        inner = parse_text(value) if isinstance(value, str) else value
        inner = expand_texts(inner, inner_names)
        if inner is not value:
            if expanded is document:
                expanded = dict(document)
            expanded[name] = inner
    return expanded


def parse_text(text: str) -> Any:
    """Return the object or array of which a text is the JSON, or the base64 of the JSON; the text itself if neither."""
    candidate = text.strip()
    if not candidate.startswith(("{", "[")):
        candidate = "".join(candidate.split())  # MIME breaks base64 into lines
        try:
            padding = "=" * (-len(candidate) % 4)
            content = b64decode(candidate.translate(_URL_SAFE) + padding, validate=True)
        except (ValueError, binascii.Error):
            return text
        if not content.lstrip().startswith((b"{", b"[")):
            return text
    else:
        content = candidate.encode("utf-8", "surrogatepass")
    try:
        return parse_json(content)
    except UnreadableDocument:
        return text


def _add_names(node: Any, names: dict[str, Any], *, is_last: bool) -> dict[str, Any] | None:
    """Add the names that an expression goes through.

    Args:
        node: the expression.
        names: the names below the value that it starts at.
        is_last: whether the value of the expression is itself a result, so that nothing goes through it.

    Returns:
        The names below its value; None where these cannot be known.
    """
    kind, children = node["type"], node["children"]
    if kind == "field":
        return None if is_last else names.setdefault(node["value"], {})
    if kind == "current":
        return names
    if kind in {"subexpression", "pipe"}:
        below: dict[str, Any] | None = names
        for index, child in enumerate(children):
            if below is None:
                return None
            below = _add_names(child, below, is_last=is_last and index == len(children) - 1)
        return below
    if kind in {"projection", "filter_projection", "value_projection", "flatten", "index_expression"}:
        _add_names(children[0], names, is_last=False)
        return None
    for child in children:
        _add_names(child, names, is_last=is_last)
    return None
