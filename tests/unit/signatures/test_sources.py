"""The values that a recipe names."""

from typing import Any

import jmespath
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.base import CallbackAuth
from receiver.signatures.parameters import SortedParameters
from receiver.signatures.recipe import Recipe
from receiver.signatures.sources import compile_path
from tests.support.recipes import build_callback, build_recipe, compute_mac, expect_rejection


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


FRAGMENTS = [
    *(b'{"id":', b'"r"', b"}", b"[", b"]", b",", b"NaN", b'"\\ud83d"', b"\n", b"\x00", b"\xff", b"9" * 30, b'"a":'),
    *(b"id=", b"&", b"%E9", b"--b", b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n', b"--b--"),
    *(b"<a>", b"</a>", b"<!DOCTYPE a>", b"e30", b'{"id":"r","\\ud83d":"\\ud83d","a":"{}","n":1.0}'),
]
SCHEMES = [
    build_recipe(body_kind=kind, **options)
    for kind in ("", "json", "form", "multipart", "xml")
    for options in (
        {"signed": "{field:id}{field:a.b}"},
        {"signed": "{field:id}", "items": "a"},
        {"signed": "{sorted_params}", "parameters": SortedParameters("json")},
        {"signed": "{sorted_params}", "parameters": SortedParameters("form")},
        {"signed": "{raw:a}"},
        {"source": "a.b", "algorithm": "equals"},
        {"source": "id", "algorithm": "equals", "items": "a"},
    )
]


@given(
    scheme=st.sampled_from(SCHEMES),
    body=st.binary(max_size=100) | st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3)).map(b"".join),
    content_type=st.sampled_from(["", FORM_MEDIA_TYPE, "multipart/form-data; boundary=b", "x; charset=utf-16"]),
)
def test_arbitrary_bodies_of_any_kind_are_rejected(scheme: Recipe, body: bytes, content_type: str) -> None:
    callback = build_callback({"x-sig": "0" * 64, "content-type": content_type}, body)
    expect_rejection(scheme, callback)
    auth = CallbackAuth(scheme)
    auth.find_nonces(callback)
    auth.find_content(callback)
    auth.redact(callback)
