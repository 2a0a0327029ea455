"""The writer of bodies: what it writes, the reader reads as the same document."""

from typing import Any

import pytest

from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.reader import parse_document
from receiver.domain.documents.writer import CONTENT_TYPES, write_document, write_fields
from receiver.domain.documents.xml_documents import XmlDocument

MULTIPART = CONTENT_TYPES["multipart"]


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("json", {"a": "ü\n", "b": [1, 2**70, None], "c": {"d": True}}),
        ("json", ["half a pair: \ud83d"]),
        ("form", {"a b": "ü&=", "c": ["1", "2"], "d": "not text: \udcff"}),
        ("multipart", {"name": "line\r\nline ü", "c": ["1", "2"], "d": "not text: \udcff"}),
    ],
)
def test_written_document_is_read_again(kind: str, document: Any) -> None:
    content_type = CONTENT_TYPES[kind]
    assert parse_document(kind, write_document(kind, document, content_type), content_type) == document


def test_json_is_written_without_spaces() -> None:
    assert write_document("json", {"a": [1, 2], "b": "ü"}) == b'{"a":[1,2],"b":"\\u00fc"}'


def test_multipart_ends_with_its_boundary() -> None:
    assert write_document("multipart", {"a": "1"}, MULTIPART) == (
        b'--boundary\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--boundary--\r\n'
    )


def test_form_with_boundary_is_written_as_multipart() -> None:
    body = write_document("form", {"a": "1"}, MULTIPART)
    assert body.startswith(b"--boundary\r\n")
    assert parse_document("form", body, MULTIPART) == {"a": "1"}


def test_object_in_a_form_is_json() -> None:
    assert write_fields({"a": {"b": [1]}}) == "a=%7B%22b%22%3A+%5B1%5D%7D"


def test_written_xml_is_read_again() -> None:
    root = {"@id": "7", "job": [{"state": "DONE <&>"}, "text"], "note": {"@lang": "en", "#text": "ü"}}
    document = parse_document("xml", write_document("xml", {"report": root}))
    assert isinstance(document, XmlDocument)
    assert document.root == root


def test_file_in_multipart_is_refused() -> None:
    with pytest.raises(UnreadableDocument, match=r"^The content of a file in multipart cannot be written again\.$"):
        write_document("multipart", {"file": {"filename": "a.txt", "content_type": ""}}, MULTIPART)
