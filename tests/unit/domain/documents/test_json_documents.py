"""JSON as providers send it."""

import json
import re
import time
from contextlib import suppress
from typing import Any

import pytest

from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.json_documents import JsonLines, format_number, is_exact, parse_json


@pytest.mark.parametrize(
    ("content", "document"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        ('\ufeff{"a":"ü"}'.encode("utf-16"), {"a": "ü"}),
        ('{"a":"ü"}'.encode("utf-16-le"), {"a": "ü"}),
        ('{"a":"ü"}'.encode("utf-32-be"), {"a": "ü"}),
        (b'{"a":"hi \\ud83d","b":1}', {"a": "hi \ud83d", "b": 1}),
        (b'{"a":"caf\xe9","b":1}', {"a": "caf\udce9", "b": 1}),
        (b'{"a":NaN,"b":[Infinity,-Infinity,1e999]}', {"a": None, "b": [None, None, None]}),
        (b'{"a":"x\ny\x00\tz"}', {"a": "x\ny\x00\tz"}),
        (b'{"a":18446744073709551615}', {"a": 2**64 - 1}),
        (b'{"a":18446744073709551617}', {"a": 2**64 + 1}),
        (b'{"a":1000000000000000000000000000000}', {"a": 10**30}),
        (b'{"a":' + b"9" * 1_000 + b"}", {"a": 10**1_000 - 1}),
        (b'{"a":' + b"9" * 1_001 + b',"b":1}', {"a": None, "b": 1}),
        ('{"a":"\ud83d"}'.encode("utf-16-le", "surrogatepass"), {"a": "\ufffd"}),
        (
            b'{"a":"12345678901234567890","b":0.12345678901234567890}',
            {"a": "12345678901234567890", "b": 0.12345678901234568},
        ),
        (b"[]", []),
        (b"7", 7),
    ],
)
def test_json_is_read_as_it_is_sent(content: bytes, document: Any) -> None:
    assert parse_json(content) == document


def test_declared_charset_counts_for_what_is_not_utf8() -> None:
    assert parse_json(b'{"a":"caf\xe9"}', "iso8859-1") == {"a": "café"}
    assert parse_json('{"a":"café"}'.encode(), "iso8859-1") == {"a": "café"}


@pytest.mark.parametrize("content", [b'{"a":1}\n{"a":2}', b'{"a":1}\r\n\r\n{"a":"\xe9"}\r\n', b"\n[1, 2]\n[2]\n[3]"])
def test_json_on_each_line_is_a_list(content: bytes) -> None:
    document = parse_json(content)
    assert isinstance(document, JsonLines)
    assert len(document) == len([line for line in content.split(b"\n") if line.strip()])


def test_lines_are_parsed_only_where_they_are_allowed() -> None:
    started = time.process_time()
    with pytest.raises(UnreadableDocument):
        parse_json(b"{}\n" * 300_000, allows_lines=False)
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"NaN",
        b"Infinity",
        b"no json",
        b'{"a":1',
        b'{"a":1} x',
        b'{"a":1}{"a":2}',
        b'{"a":1}\n{"a":',
        b"1\n2",
        b'{"a":1}\x80\x00\x00\x01{"a":2}',
        b'{"a":1}\x80\x00\n{"a":2}',
        b"[" * 100_000,
        b"\xff\xfe",
        b"a=1&b=2",
    ],
)
def test_other_bytes_are_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableDocument):
        parse_json(content)


@pytest.mark.parametrize(
    "unit", [b"[", b'{"a":', b'"', b"9", b"-", b"[]\n", b'{"a":1}\n', b"\xff", b"\\ud83d", b'["\x01",', b"1e9,"]
)
def test_hostile_json_takes_linear_time(unit: bytes) -> None:
    started = time.process_time()
    for content in (
        unit * (1_000_000 // len(unit)),
        b'["' + unit * (1_000_000 // len(unit)),
        b'["\x01",' + unit * 10_000,
    ):
        with suppress(UnreadableDocument):
            parse_json(content)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("number", "text", "exact"),
    [
        (12345, "12345", True),
        (12345.0, "12345", True),
        (-0.0, "0", True),
        (2.0**53, "9007199254740992", True),
        (2.0**60, "1.152921504606847e+18", False),
        (12.5, "12.5", False),
        (10**30, "1" + "0" * 30, True),
    ],
)
def test_whole_number_is_text_without_decimals(number: float, text: str, exact: bool) -> None:
    assert (format_number(number), is_exact(number)) == (text, exact)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Input is a zero-length, empty document: line 1 column 1 (char 0)"),
        (b'{"a":1', "unexpected end of data: line 1 column 7 (char 6)"),
    ],
)
def test_message_says_where_json_is_not_valid(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=f"^{re.escape(f'Not valid JSON: {reason}.')}$"):
        parse_json(content)


def test_lenient_reading_does_not_change_json() -> None:
    document: Any = {"a": [1, 2.5, True, None, "ü", {"b": {}}], "c": "\U0001f600"}
    assert parse_json(json.dumps(document).encode()) == document
