"""The reader of all kinds of bodies."""

from typing import Any

from receiver.domain.documents.charsets import find_charset
from receiver.domain.documents.forms import find_boundary, parse_fields, parse_multipart
from receiver.domain.documents.json_documents import parse_json
from receiver.domain.documents.xml_documents import parse_xml


def parse_document(kind: str, body: bytes, content_type: str = "", *, allows_lines: bool = True) -> Any:
    """Parse a body into its document.

    Args:
        kind: `json`, `form`, `multipart` or `xml`. A form may come as multipart.
        body: the bytes.
        content_type: the `Content-Type`, of which the charset and the boundary count.
        allows_lines: whether JSON may be several documents, one on each line.

    Raises:
        UnreadableDocument: the body cannot be read as its kind.
    """
    charset = find_charset(content_type) if ";" in content_type else ""
    if kind == "json":
        return parse_json(body, charset, allows_lines=allows_lines)
    if kind == "xml":
        return parse_xml(body, charset)
    # A multipart body is never read as URL-encoded: a text in one of its parts would become fields of their own.
    if kind == "multipart" or find_boundary(content_type) or body.startswith(b"--"):
        return parse_multipart(body, content_type)
    return parse_fields(body, charset)
