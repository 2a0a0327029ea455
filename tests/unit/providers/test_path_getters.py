"""Getters return what jmespath's interpreter returns, for any document."""

from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.providers.path_getters import build_getter

NAMES = st.sampled_from(["a", "b", "c"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=20,
)
SIMPLE = ["a", "a.b", "a.b.c", "a[]", "a[].b", "a.b[].c.a", "a[].b[]", "a[].b[].c", "a[][]", "[]", "[].a"]
OTHERS = ["a[0]", "a[*].b", "*.a", "a || b", "a | b", "@", "a[?b=='1']", "{a: b}", "length(a)", "'a'"]


@pytest.mark.parametrize("path", SIMPLE)
@given(document=DOCUMENTS)
def test_getter_returns_what_jmespath_returns(path: str, document: Any) -> None:
    expression = jmespath.compile(path)
    get = build_getter(expression)

    assert get is not None
    assert get(document) == expression.search(document)


@pytest.mark.parametrize("path", OTHERS)
def test_getter_is_built_for_names_and_lists_only(path: str) -> None:
    assert build_getter(jmespath.compile(path)) is None
