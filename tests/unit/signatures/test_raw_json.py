"""The JSON text of one member, as it stands in the body."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.signatures.raw_json import find_raw_member

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(
    document=st.dictionaries(st.sampled_from(["a", "data", "ü", '"', ""]), values),
    indent=st.none() | st.integers(0, 2),
    is_ascii=st.booleans(),
)
def test_member_is_returned_as_written(document: dict[str, Any], indent: int | None, is_ascii: bool) -> None:
    body = json.dumps(document, indent=indent, ensure_ascii=is_ascii).encode()
    member = find_raw_member(body, "data")
    assert (None if member is None else json.loads(member)) == document.get("data")
    assert member is None or member in body


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b'{"data": {"b":1, "a":[ ] } }', b'{"b":1, "a":[ ] }'),
        (b' {"x":{"data":1},"data":"\\u00fc\xc3\xbc"}\n', '"\\u00fcü"'.encode()),
        (b'{"d\\u0061ta":1}', b"1"),
        (b'{"data":' + b"9" * 10_000 + b"}", b"9" * 10_000),
        (b'\xef\xbb\xbf{"a":"caf\xe9","data":{"b":"\xe9\n"}}', b'{"b":"\xe9\n"}'),
        (b"{}", None),
        (b"{ }", None),
        (b"{} \n", None),
    ],
)
def test_text_is_kept_byte_by_byte(body: bytes, member: bytes | None) -> None:
    assert find_raw_member(body, "data") == member


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b'"data"', b'{"data"}', b'{"data":}', b'{"data":1', b'{"data":1,}', b'{"data":1}x'),
        *(b'{1:2,"data":1}', b'{"data":1 "a":2}', b"\xff", b"\xef\xbb\xbf", b'{"data":' + b"[" * 200_000, b"{}{}"),
        *(b'{"data":1,"data":1}', b'{"data":1,"a":0,"dat\\u0061":2}', b'{"data":1}\n{"data":2}', b"{}x"),
        b'{"data":1' + b',"a":1' * 10_000 + b"}",
    ],
)
def test_other_text_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        find_raw_member(body, "data")


def test_name_in_another_charset_is_refused() -> None:
    assert find_raw_member('{"é":1}'.encode(), "é") == b"1"
    with pytest.raises(ValueError, match="utf-8"):
        find_raw_member('{"é":1,'.encode() + b'"\xe9":2}', "é")
