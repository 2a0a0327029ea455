"""The writer of all kinds of bodies, the inverse of `receiver.domain.documents.reader`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, SubElement, tostring

from receiver.domain.callbacks import FORM_MEDIA_TYPE
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.forms import find_boundary

CONTENT_TYPES: Mapping[str, str] = {
    "json": "application/json",
    "form": FORM_MEDIA_TYPE,
    "multipart": "multipart/form-data; boundary=boundary",
    "xml": "application/xml",
}
"""The `Content-Type` of each kind of body."""

_FILE_KEYS = {"filename", "content_type"}
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def write_document(kind: str, document: Any, content_type: str = "") -> bytes:
    """Return the body of a document.

    Args:
        kind: `json`, `form`, `multipart` or `xml`.
        document: of XML an object with the root element by its name; else as `parse_document` returns it. An object in
            a form is written as JSON.
        content_type: the `Content-Type`, of which the boundary counts. A form with a boundary is written as multipart.

    Raises:
        UnreadableDocument: a part is a file, whose content is not in the document.
    """
    if kind == "json":
        return json.dumps(document, separators=(",", ":")).encode()
    if kind == "xml":
        [(name, root)] = document.items()
        return _write_xml(name, root)
    boundary = find_boundary(content_type)
    if kind == "form" and not boundary:
        return write_fields(document).encode()
    if any(isinstance(value, Mapping) and value.keys() == _FILE_KEYS for value in document.values()):
        raise UnreadableDocument("The content of a file in multipart cannot be written again.")
    return write_multipart(_list_fields(document), boundary)


def write_fields(document: Mapping[str, Any]) -> str:
    """Return URL-encoded fields; each item of a list is a field, an object is written as JSON."""
    return urlencode(list(_list_fields(document)), errors="surrogateescape")


def write_multipart(fields: Iterable[tuple[str, str]], boundary: str) -> bytes:
    """Encode fields by RFC 7578, their names escaped as browsers do it (WHATWG, HTML, 4.10.21.8)."""
    lines = []
    for name, text in fields:
        lines += [f"--{boundary}", f'Content-Disposition: form-data; name="{name.translate(_ESCAPES)}"', "", text]
    return "\r\n".join([*lines, f"--{boundary}--", ""]).encode(errors="surrogateescape")


def _list_fields(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        for item in value if isinstance(value, list) else [value]:
            yield name, item if isinstance(item, str) else json.dumps(item)


def _write_xml(name: str, root: Any) -> bytes:
    element = Element(name)
    _fill_element(element, root)
    return tostring(element)


def _fill_element(element: Element, content: Any) -> None:
    """Write a text into an element, or its attributes, children and text as `parse_xml` names them."""
    if not isinstance(content, Mapping):
        element.text = str(content)
        return
    for name, value in content.items():
        if name.startswith("@"):
            element.set(name[1:], str(value))
        elif name == "#text":
            element.text = str(value)
        else:
            for item in value if isinstance(value, list) else [value]:
                _fill_element(SubElement(element, name), item)
