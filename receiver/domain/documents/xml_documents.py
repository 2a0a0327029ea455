"""XML as a document of objects, lists and texts."""

from contextlib import suppress
from typing import Any

from defusedxml.ElementTree import DefusedXMLParser, ParseError

from receiver.domain.documents.errors import UnreadableDocument

MAX_XML_DEPTH = 200
"""The most elements within each other."""


class XmlDocument(dict[str, Any]):
    """The members of the root element and, by its name unless one of them has it, the root element itself.

    Attributes:
        root: the root element.
    """

    def __init__(self, name: str, root: Any) -> None:
        super().__init__({name: root} | (root if isinstance(root, dict) else {}))
        self.root = root


def parse_xml(content: bytes, charset: str = "") -> XmlDocument:
    """Parse XML into an object with the members of the root element, and the root element by its name.

    An element is its text or, if it has attributes or children, an object: attributes as `@name`, children by their
    name, repeated children as a list, and text beside them as `#text`. Names are without their namespace; white space
    at the ends of a text is left out.

    Args:
        content: the bytes, in the encoding that they declare themselves.
        charset: the charset of the media type, for bytes that are not in their own encoding; after it,
            Latin-1.

    Raises:
        UnreadableDocument: the content is not XML, has a document type or is nested too deeply.
    """
    content = content.lstrip(b" \t\r\n")
    *encodings, last_encoding = dict.fromkeys([None, charset or None, _find_fallback(content)])
    for encoding in encodings:
        with suppress(UnreadableDocument):
            return _parse(content, encoding)
    return _parse(content, last_encoding)


def _find_fallback(content: bytes) -> str | None:
    """Return Latin-1, which has a character for each byte, for content that is not UTF-8; else None.

    Markup is ASCII in all encodings that have bytes beyond it, such as GBK, so that odd bytes change texts only.
    """
    try:
        content.decode()
    except UnicodeDecodeError:
        return "iso-8859-1"
    return None


def _parse(content: bytes, encoding: str | None) -> XmlDocument:
    builder = _DocumentBuilder()
    try:
        parser = DefusedXMLParser(target=builder, encoding=encoding, forbid_dtd=True)
        parser.feed(content)
        parser.close()
    except (ParseError, LookupError, ValueError) as error:  # defusedxml's own errors are ValueErrors
        raise UnreadableDocument(f"Not valid XML: {_describe(error)}.") from None
    [(name, root)] = builder.document.items()
    return XmlDocument(name, root)


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, ParseError) else "it has a document type, or an unknown encoding"


class _DocumentBuilder:
    """Builds the document while the parser reads its elements."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self._open: list[tuple[dict[str, Any], list[str]]] = [(self.document, [])]

    def start(self, _: str, attributes: dict[str, str]) -> None:
        """Add an element's attributes."""
        if len(self._open) > MAX_XML_DEPTH:
            raise UnreadableDocument(f"Not valid XML: it has more than {MAX_XML_DEPTH} elements within each other.")
        self._open.append(({f"@{_remove_namespace(name)}": value for name, value in attributes.items()}, []))

    def end(self, tag: str) -> None:
        """Add an element to its parent."""
        members, texts = self._open.pop()
        text = "".join(texts).strip()
        if members and text:
            members["#text"] = text
        name, value, siblings = _remove_namespace(tag), members or text, self._open[-1][0]
        if name not in siblings:
            siblings[name] = value
        elif isinstance(siblings[name], list):
            siblings[name].append(value)
        else:
            siblings[name] = [siblings[name], value]

    def data(self, text: str) -> None:
        """Add a part of an element's text."""
        self._open[-1][1].append(text)

    def close(self) -> None:
        """Return nothing: the parser requires the method."""


def _remove_namespace(name: str) -> str:
    return name.rpartition("}")[2]
