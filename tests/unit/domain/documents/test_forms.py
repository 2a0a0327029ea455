"""URL-encoded and multipart fields."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import pytest

from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.forms import MAX_FIELDS, MAX_PARTS, find_boundary, parse_fields, parse_multipart

REPEATED = "&".join(f"a={number}" for number in range(10_000))
MULTIPART = "multipart/form-data; boundary=b"
OTHER_BOUNDARY = "it does not begin with the boundary of its Content-Type."


def build_part(name: str, content: str, more: str = "") -> str:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{content}\r\n'


def build_multipart(*parts: str) -> bytes:
    return "".join([*parts, "--b--\r\n"]).encode()


PART = build_multipart(build_part("a", "1"))


@pytest.mark.parametrize(
    ("encoded", "fields"),
    [
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&b=2&a=3&a=4", {"a": ["1", "3", "4"], "b": "2"}),
        (b"a=&a=+", {"a": ["", " "]}),
        (b"a=1&a=1&b=2&b=3&b=2", {"a": "1", "b": ["2", "3"]}),
        (b"a=%C3%BC&b=\xc3\xbc", {"a": "ü", "b": "ü"}),
        (b"a=%E9&b=%C3%BC", {"a": "\udce9", "b": "ü"}),
        (b"a=caf\xe9", {"a": "caf\udce9"}),
        (b"a", {"a": ""}),
        (b"a=&b=\xe9", {"a": "", "b": "\udce9"}),
        ("a=日", {"a": "?"}),
        (b"", {}),
    ],
)
def test_repeated_field_is_a_list_of_different_values(encoded: str | bytes, fields: dict[str, object]) -> None:
    assert parse_fields(encoded) == fields


def test_declared_charset_counts_for_values_that_are_not_utf8() -> None:
    assert parse_fields(b"a=caf%E9&b=%C3%BC&%E9=1", "iso8859-1") == {"a": "café", "b": "ü", "é": "1"}


@pytest.mark.parametrize("field", ["a", "a=é"])
def test_number_of_fields_is_limited(field: str) -> None:
    with pytest.raises(UnreadableDocument, match=r"^Not valid form fields: Max number of fields exceeded\.$"):
        parse_fields("&".join([field] * (MAX_FIELDS + 1)))


def measure(parse: Callable[[str], object]) -> float:
    """Return the shortest of several times in which a form of repeated names is parsed, in seconds."""
    times = []
    for _ in range(7):
        started = time.perf_counter()
        parse(REPEATED)
        times.append(time.perf_counter() - started)
    return min(times)


def test_repeated_names_take_linear_time() -> None:
    """The standard library's parser is linear; a list that is copied for each name takes many times as long."""
    assert measure(parse_fields) < 6 * measure(lambda text: parse_qsl(text, keep_blank_values=True))


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        ([build_part("id", "m1"), build_part("state", "")], {"id": "m1", "state": ""}),
        ([build_part("a", "1"), build_part("a", "2"), build_part("a", "1")], {"a": ["1", "2"]}),
        ([build_part("json", '{"a":\r\n1}')], {"json": '{"a":\r\n1}'}),
        (
            [build_part("f", "\x00\x01", '; filename="a.png"\r\nContent-Type: image/png')],
            {"f": {"filename": "a.png", "content_type": "image/png"}},
        ),
        ([build_part("f", "x", '; filename="a"')], {"f": {"filename": "a", "content_type": ""}}),
        (["--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n"], {"": "1"}),
        (["--b \t\r\n", build_part("a", "1").removeprefix("--b\r\n")], {"a": "1"}),
        ([], {}),
    ],
)
def test_parts_are_fields(parts: list[str], fields: dict[str, Any]) -> None:
    assert parse_multipart(build_multipart(*parts), MULTIPART) == fields


def test_part_is_read_in_its_charset() -> None:
    body = (
        build_multipart(build_part("a", "é", "\r\nContent-Type: text/plain; charset=latin-1"))
        .decode()
        .encode("latin-1")
    )
    assert parse_multipart(body, MULTIPART) == {"a": "é"}
    assert parse_multipart(body.replace(b"; charset=latin-1", b""), MULTIPART) == {"a": "\udce9"}


@pytest.mark.parametrize("preamble", [b"\r\n", b"\n\n", b"A preamble.\r\n", b"not the --b\r\n"])
def test_preamble_is_ignored(preamble: bytes) -> None:
    assert parse_multipart(preamble + build_multipart(build_part("a", "1")), MULTIPART) == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (PART, "multipart/form-data", "its Content-Type has no boundary."),
        (PART, "multipart/form-data; boundary=c", OTHER_BOUNDARY),
        (PART, 'multipart/form-data; boundary="日"', OTHER_BOUNDARY),
        (b"", MULTIPART, OTHER_BOUNDARY),
        (
            b"preamble --b\r\n--other\r\n\r\n" + PART,
            MULTIPART,
            OTHER_BOUNDARY,
        ),
        (
            b"--other\r\n\r\nx\r\n" + PART + b"--other--",
            MULTIPART,
            OTHER_BOUNDARY,
        ),
    ],
)
def test_boundary_must_be_that_of_the_content_type(body: bytes, content_type: str, message: str) -> None:
    with pytest.raises(UnreadableDocument, match=f"^{re.escape(f'Not valid multipart: {message}')}$"):
        parse_multipart(body, content_type)


@pytest.mark.parametrize(
    "body",
    [
        PART[:-8],
        b"--b\r\nx: y\r\n\r\n1\r\n--b--",
        b"--b\r\n\xff: y\r\n\r\n1\r\n--b--",
        build_multipart(*[build_part("a", "1")] * (MAX_PARTS + 1)),
    ],
)
def test_malformed_multipart_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableDocument, match=r"^Not valid multipart\.$"):
        parse_multipart(body, MULTIPART)


@pytest.mark.parametrize(
    "unit", [b"--b", b"\r\n--b ", b"\r\n--b\r\n", b"--b\r\nContent-Disposition: form-data\r\n\r\n", b"\r"]
)
def test_hostile_multipart_takes_linear_time(unit: bytes) -> None:
    started = time.process_time()
    for start in (b"", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n'):
        with suppress(UnreadableDocument):
            parse_multipart(start + unit * (1_000_000 // len(unit)), MULTIPART)
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (MULTIPART, "b"),
        ('Multipart/Form-Data;charset=x; boundary="a b"', "a b"),
        ("text/plain; boundary=b", ""),
        ("", ""),
    ],
)
def test_boundary_is_that_of_multipart(content_type: str, boundary: str) -> None:
    assert find_boundary(content_type) == boundary
