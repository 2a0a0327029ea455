"""XML as documents."""

import time
from contextlib import suppress
from typing import Any

import pytest

from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.xml_documents import MAX_XML_DEPTH, parse_xml

BILLION_LAUGHS = b"""<!DOCTYPE a [<!ENTITY b "xxxxxxxxxx"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>"""


@pytest.mark.parametrize(
    ("content", "document"),
    [
        (b"<a>1</a>", {"a": "1"}),
        (b"<a/>", {"a": ""}),
        (b"<a>\n  <b> 1 </b>\n</a>", {"a": {"b": "1"}}),
        (b"<a><b>1</b><b>2</b><b><c/></b></a>", {"a": {"b": ["1", "2", {"c": ""}]}}),
        (b'<a x="1" y=""/>', {"a": {"@x": "1", "@y": ""}}),
        (b'<a x="1">t<b>2</b>u</a>', {"a": {"@x": "1", "#text": "tu", "b": "2"}}),
        (b'<n:a xmlns:n="urn:n" n:x="1"><n:b>2</n:b></n:a>', {"a": {"@x": "1", "b": "2"}}),
        (b'<a><![CDATA[{"b":"<c>"}]]>&lt;&#252;</a>', {"a": '{"b":"<c>"}<ü'}),
        ("<a>ü</a>".encode(), {"a": "ü"}),
        ('<?xml version="1.0" encoding="ISO-8859-1"?><a>ü</a>'.encode("latin-1"), {"a": "ü"}),
        ('<?xml version="1.0" encoding="windows-1252"?><a>€</a>'.encode("cp1252"), {"a": "€"}),
        ("<a>ü</a>".encode("utf-16"), {"a": "ü"}),
    ],
)
def test_element_is_text_or_object(content: bytes, document: dict[str, Any]) -> None:
    assert parse_xml(content).root == document["a"]


def test_charset_of_media_type_counts_for_other_bytes() -> None:
    assert parse_xml("<a>ü</a>".encode("latin-1"), "iso8859-1") == {"a": "ü"}
    assert parse_xml("<a>ü</a>".encode(), "iso8859-1") == {"a": "ü"}
    assert parse_xml("<a>€</a>".encode("cp1252"), "cp1252") == {"a": "€"}


@pytest.mark.parametrize(
    "content",
    [
        b"<a><id>1</id><t>caf\xe9</t></a>",
        b'<?xml version="1.0" encoding="UTF-8"?><a><id>1</id><t>\x93</t></a>',
        '<?xml version="1.0" encoding="GBK"?><a><id>1</id><t>\u5b57\u7b26</t></a>'.encode("gbk"),
        b'\n<?xml version="1.0"?><a><id>1</id></a>',
    ],
)
def test_odd_bytes_of_a_text_do_not_spoil_the_rest(content: bytes) -> None:
    assert parse_xml(content)["id"] == "1"


def test_names_begin_with_the_root_element_or_below_it() -> None:
    assert parse_xml(b"<a><b>1</b></a>") == {"a": {"b": "1"}, "b": "1"}
    assert parse_xml(b'<a x="1"><a>2</a></a>') == {"a": "2", "@x": "1"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"<a>",
        b"<a></b>",
        b"<a/><b/>",
        b"<a>\xff</b>",
        b"X<a/>",
        b"\x0c<a/>",
        b"<a>&nbsp;</a>",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b'<?xml version="1.0" encoding="big5"?><a>',
        b"<!DOCTYPE a><a/>",
        BILLION_LAUGHS,
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a/>',
        b"<a>" * (MAX_XML_DEPTH + 1) + b"</a>" * (MAX_XML_DEPTH + 1),
    ],
)
def test_malformed_or_dangerous_xml_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableDocument):
        parse_xml(content)
    with pytest.raises(UnreadableDocument):
        parse_xml(content, "big5")


def test_depth_of_elements_is_limited() -> None:
    parse_xml(b"<a>" * MAX_XML_DEPTH + b"</a>" * MAX_XML_DEPTH)
    with pytest.raises(UnreadableDocument, match=r"^Not valid XML: it has more than 200 elements within each other\.$"):
        parse_xml(b"<a>" * (MAX_XML_DEPTH + 1) + b"</a>" * (MAX_XML_DEPTH + 1))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<a>", "no element found: line 1, column 3"),
        (b"<!DOCTYPE a><a/>", "it has a document type, or an unknown encoding"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "it has a document type, or an unknown encoding"),
    ],
)
def test_message_says_why_xml_is_not_valid(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=f"^Not valid XML: {reason}\\.$"):
        parse_xml(content)


@pytest.mark.parametrize("unit", [b"<a>", b"<a/>", b"x", b"&lt;", b'<a b="1"/>', b"<!--x-->", b"<"])
def test_hostile_xml_takes_linear_time(unit: bytes) -> None:
    started = time.process_time()
    with suppress(UnreadableDocument):
        parse_xml(b"<r>" + unit * (1_000_000 // len(unit)) + b"</r>")
    assert time.process_time() - started < 3
