"""JSON that is parsed quickly is what strict parsing makes of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.outbound.submit import InvalidSubmission
from receiver.web.bodies import _parse_quickly, _parse_strictly

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def parse_quickly(body: bytes) -> Any:
    """Return what is parsed quickly, or None."""
    try:
        return _parse_quickly(body)
    except (ValueError, TypeError):
        return None


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": ":", "a": 2}',
        b'{"a": 1, "a": "\\u003a"}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": {"b": 1, "b": [{"c": 2}]}}',
        b"9223372036854775808",
        b'{"a":[-9223372036854775809]}',
        b'{"a": 18446744073709551616}',
        b'{"a": 9.3e18}',
        b'{"a": 1E+30}',
        b'{"a": 1e400}',
        b'{"a": NaN}',
        b'"\\ud800"',
        b"\xff",
        b"[" * 300 + b"]" * 300,
        b"",
    ],
)
def test_doubtful_json_is_not_parsed_quickly(body: bytes) -> None:
    assert parse_quickly(body) is None


def test_usual_json_is_parsed_quickly() -> None:
    document = {"text": 'a: "b"\n é', "numbers": [7, -0.5, 2348000000001, 2**53 - 1], "deep": {"er": [None, True, {}]}}
    for body in (json.dumps(document, ensure_ascii=False), json.dumps(document, ensure_ascii=False, indent=2)):
        assert parse_quickly(body.encode()) == document


@given(DOCUMENTS, st.booleans())
def test_quick_parsing_agrees_with_strict_parsing(document: Any, is_ascii: bool) -> None:
    body = json.dumps(document, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    parsed = parse_quickly(body)

    assert parsed is None or json.dumps(parsed) == json.dumps(_parse_strictly(body))


def test_strict_parsing_refuses_repeated_names() -> None:
    with pytest.raises(InvalidSubmission):
        _parse_strictly(b'{"a": 1, "a": 2}')
