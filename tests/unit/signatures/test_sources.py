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
from receiver.signatures.sources import VerificationContext, compile_path, parse_source
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


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("header:X Sig", "Must be header: followed by a name in ASCII without spaces or colons."),
        ("query:a:b", "Must be query: followed by a name in ASCII without spaces or colons."),
        (
            "header:X_Sig",
            "Must not contain an underscore: web servers drop such headers, so that it is never received.",
        ),
        ("a[", "Must be header:NAME, query:NAME or a JMESPath."),
        ("heder:X-Sig", "Must be header:NAME, query:NAME or a JMESPath. Did you mean header:X-Sig?"),
        ("heder:", "Must be header:NAME, query:NAME or a JMESPath."),
        ("heder:X Sig", "Must be header:NAME, query:NAME or a JMESPath."),
        ("heder:X:Sig", "Must be header:NAME, query:NAME or a JMESPath."),
        ("header X", "Must be header:NAME, query:NAME or a JMESPath."),
        ("header[1:2", "Must be header:NAME, query:NAME or a JMESPath."),
    ],
)
def test_error_of_a_source_suggests_only_what_is_valid(source: str, error: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_source(source)
    assert str(caught.value) == error


def test_error_of_a_path_names_no_pairs_by_default() -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        compile_path("a[")
    assert str(caught.value) == "Must be header:NAME, query:NAME or a JMESPath."


def test_name_of_a_header_has_no_case_but_that_of_a_parameter() -> None:
    callback = build_callback({"x-sig": compute_mac(b"Bc")}, target="/c?N=B&n=b&o=c")
    assert build_recipe(source="header:X-SIG", signed="{query:N}{query:o}").verify(callback) == 0
    expect_rejection(build_recipe(source="header:X-SIG", signed="{query:n}{query:o}"), callback)


PAIRS = {"format": "pairs", "pair": "s", "signed": "{nonce}", "nonce": "pair:n"}


@pytest.mark.parametrize(
    ("options", "callback", "part", "error"),
    [
        (
            {"source": "query:sig"},
            build_callback(target="/c?sig=1&sig=2"),
            "sig",
            "The query sig is malformed: it occurs more than once.",
        ),
        (
            PAIRS,
            build_callback({"x-sig": "s=1,n=1,n=1"}),
            "signature",
            "The pair n is malformed: it occurs more than once.",
        ),
        ({"source": "a.sig"}, build_callback(body=b"{}"), "signature", "The field a.sig is missing."),
        (
            {"source": "sig"},
            build_callback(body=b'{"sig":[1]}'),
            "body",
            "The body is malformed: sig is neither text nor a number.",
        ),
        (
            {"source": "join('', a)"},
            build_callback(body=b'{"a":[1]}'),
            "body",
            "The body is malformed: a path of the recipe fails on it.",
        ),
        ({"source": "sig"}, build_callback(body=b"{"), "body", "The body is malformed: it is not JSON."),
        (
            {"source": "sig"},
            build_callback({"content-type": FORM_MEDIA_TYPE}, b"a&" * 10_001),
            "body",
            "The body is malformed: it is not a form.",
        ),
        (
            {"source": "sig", "body_kind": "multipart"},
            build_callback(body=b"--b"),
            "body",
            "The body is malformed: it is not multipart.",
        ),
        (
            {"source": "sig", "body_kind": "xml"},
            build_callback(body=b"<a>"),
            "body",
            "The body is malformed: it is not XML.",
        ),
        (
            {"signed": "{sorted_params}"},
            build_callback({"x-sig": "1", "content-type": FORM_MEDIA_TYPE}, b"a&" * 10_001),
            "body",
            "There are more than 10000 parameters.",
        ),
    ],
)
def test_rejection_states_the_value_and_what_is_wrong(
    options: dict[str, Any], callback: IncomingCallback, part: str, error: str
) -> None:
    rejection = expect_rejection(build_recipe(**options), callback)
    assert (rejection.part, str(rejection)) == (part, error)


def test_boolean_is_signed_as_in_json() -> None:
    callback = build_callback({"x-sig": compute_mac(b"true,false,")}, b'{"yes":true,"no":false,"none":null}')
    assert build_recipe(signed="{field:yes},{field:no},{field:none}").verify(callback) == 0


def test_signed_items_on_lines_of_their_own_are_rejected() -> None:
    scheme = build_recipe(source="sig", items="[]", signed="{field:a}")
    items = [{"a": name, "sig": compute_mac(name.encode())} for name in ("1", "2")]
    assert scheme.verify(build_callback(body=orjson.dumps(items))) == 0
    rejection = expect_rejection(scheme, build_callback(body=b"\n".join(map(orjson.dumps, items))))
    assert str(rejection) == "The body is malformed: it is not JSON."


@pytest.mark.parametrize("signed", ["{url}", "{sorted_params}", "{query:sig}"])
@pytest.mark.parametrize("query", ["\ud800=1&sig=1", "a=\ud800&sig=1", "€=1&sig=1"])
def test_target_of_other_characters_than_bytes_is_rejected(signed: str, query: str) -> None:
    scheme = build_recipe(signed=signed, parameters=SortedParameters("query"))
    expect_rejection(scheme, build_callback({"x-sig": "0" * 64}, target=f"/c?{query}"))


def test_decoded_url_is_verified_with_the_rest_of_its_callback() -> None:
    scheme = build_recipe(
        signed="{url}{field:id}{sorted_params}", decode_url=True, public_url="https://other.example", body_kind="form"
    )
    headers = {"x-sig": compute_mac(b"https://other.example/c?a=x:y7id7"), "content-type": "text/plain"}
    assert scheme.verify(build_callback(headers, b"id=7", "/c?a=x%3Ay")) == 0


def test_context_has_the_url_and_the_media_type_of_its_callback() -> None:
    callback = build_callback(body=b"[1]")
    assert VerificationContext(callback).public_url == "https://h.example/in"
    assert VerificationContext(callback).read_document() == [1]
    form = build_callback({"content-type": FORM_MEDIA_TYPE}, b"a=1")
    assert VerificationContext(form).read_document() == {"a": "1"}


steps = st.sampled_from(["a", "b", '"c d"', "[a]"])
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "c d"]), inner, max_size=3),
)


@given(path=st.lists(steps, min_size=1, max_size=4).map(".".join), document=documents)
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
