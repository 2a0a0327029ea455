"""The reader of all kinds of bodies."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.nested import expand_texts, find_nested_names
from receiver.domain.documents.reader import parse_document

MULTIPART = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n1\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "content_type", "document"),
    [
        ("json", b'{"id":1}', "text/plain", {"id": 1}),
        ("json", b'{"id":"\xe9"}', "text/plain; charset=ISO-8859-1", {"id": "é"}),
        ("form", b"id=1", "application/json", {"id": "1"}),
        ("form", b"id=%E9", "x; charset=ISO-8859-1", {"id": "é"}),
        ("form", PART, MULTIPART, {"id": "1"}),
        ("form", b"A preamble.\r\n" + PART, MULTIPART, {"id": "1"}),
        ("multipart", PART, MULTIPART, {"id": "1"}),
        ("xml", b"<id>1</id>", "text/plain", {"id": "1"}),
        ("xml", b"<id>\x80</id>", "text/xml; charset=windows-1252", {"id": "€"}),
    ],
)
def test_kind_decides_how_a_body_is_read(kind: str, body: bytes, content_type: str, document: object) -> None:
    assert parse_document(kind, body, content_type) == document


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_multipart_is_never_read_as_urlencoded(content_type: str) -> None:
    """The media type is hardly ever signed: with another one, a customer's text would be the job that is reported."""
    body = PART.replace(b"1\r\n", b"&id=victim&status=done&\r\n")
    with pytest.raises(UnreadableDocument, match="no boundary"):
        parse_document("form", body, content_type)


def test_urlencoded_fields_are_never_read_as_multipart() -> None:
    with pytest.raises(UnreadableDocument, match="no boundary"):
        parse_document("multipart", b"id=1")


def test_json_may_be_lines_unless_one_document_is_required() -> None:
    assert parse_document("json", b"[1]\n[2]") == [[1], [2]]
    with pytest.raises(UnreadableDocument):
        parse_document("json", b"[1]\n[2]", allows_lines=False)


FRAGMENTS = [
    *(b'{"id":', b'"', b"}", b"[", b"]", b"1e999", b"NaN", b"\\ud83d", b"\n", b"\r\n", b"\x00", b"\xff\xfe", b"9" * 30),
    *(b"id=", b"&", b"%E9", b"%", b";", b"--b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n', b"--b--"),
    *(
        b"<a>",
        b"</a>",
        b'<a b="c"/>',
        b"<!DOCTYPE a>",
        b"<![CDATA[",
        b"]]>",
        b"&amp;",
        b'<?xml version="1.0"?>',
        b"e30",
    ),
]
CONTENT_TYPES = [
    "",
    MULTIPART,
    "multipart/form-data",
    "x; charset=utf-16",
    "x; charset=big5",
    "x; charset=\xff",
    "; ;=",
]


@given(
    kind=st.sampled_from(["json", "form", "multipart", "xml"]),
    body=st.binary(max_size=200) | st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3)).map(b"".join),
    content_type=st.sampled_from(CONTENT_TYPES) | st.text(max_size=30),
)
def test_arbitrary_bytes_are_a_document_or_unreadable(kind: str, body: bytes, content_type: str) -> None:
    with suppress(UnreadableDocument):
        expand_texts(parse_document(kind, body, content_type), find_nested_names(["id.a", "a.b.c"]))
