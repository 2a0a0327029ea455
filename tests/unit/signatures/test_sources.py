"""The values that a recipe names."""

from typing import Any

import jmespath
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.sources import compile_path
from tests.support.recipes import build_callback, build_recipe, compute_mac


@pytest.mark.parametrize(
    ("source", "callback"),
    [
        ("header:X-SIG", build_callback({"x-sig": compute_mac(b"POST")})),
        ("query:sig", build_callback(target=f"/c?a=1&sig={compute_mac(b'POST')}")),
        ("auth.sig", build_callback(body=orjson.dumps({"auth": {"sig": compute_mac(b"POST")}}))),
        (
            "sig",
            build_callback(
                {"content-type": f"{FORM_MEDIA_TYPE}; charset=utf-8"}, body=b"a=1&sig=" + compute_mac(b"POST").encode()
            ),
        ),
    ],
)
def test_signature_location_is_header_query_or_body(source: str, callback: IncomingCallback) -> None:
    assert build_recipe(source=source, signed="{method}").verify(callback) == 0


names = st.sampled_from(["a", "b", '"c d"'])
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "c d"]), inner, max_size=3),
)


@given(path=st.lists(names, min_size=1, max_size=4).map(".".join), document=documents)
def test_path_of_names_has_the_result_of_jmespath(path: str, document: Any) -> None:
    assert compile_path(path)(document) == jmespath.search(path, document)
