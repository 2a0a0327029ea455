"""The recipe engine: every location, format, key, token, algorithm and time of a recipe, and what is rejected."""

import hmac
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.base import InvalidSignature
from receiver.signatures.key_checks import PlainSignatures
from receiver.signatures.key_sources import KeyDocument
from receiver.signatures.parameters import SortedParameters
from receiver.signatures.recipe import Recipe
from receiver.signatures.recipe_compiler import InvalidRecipe
from tests.support.recipes import (
    BODY,
    KEY,
    NOW,
    PRIVATE_KEY,
    PUBLIC_KEY,
    build_callback,
    build_recipe,
    compute_mac,
    expect_rejection,
)
from tests.support.signing_keys import build_jwks, export_jwk

sources = st.sampled_from(["header:x", "query:x", "x", "x.y[0]", "length(x)"])
wire = (
    st.text(st.characters(max_codepoint=255), max_size=20)
    | st.text(max_size=10)
    | st.sampled_from(["\ud800", "t=1,v=2"])
)


@pytest.mark.parametrize(
    ("unit", "valid", "invalid"),
    [
        (
            "s",
            [str(NOW), str(NOW - 60), f"{NOW}.25"],
            ["", f" {NOW}", f"{NOW}.0.0", "-1", "1_700", "١٦", "9" * 13, f"{NOW}\n", "nan"],
        ),
        ("us", [f"{NOW}000000", f"{NOW}000000.5"], [f"{NOW}000", "9" * 19]),
        ("ms", [f"{NOW}000", f"{NOW - 60}000", f"{NOW + 59}999"], [f"{NOW}", "9" * 16, "é", "\ud800"]),
        (
            "iso",
            [
                "2023-11-14T22:13:20Z",
                "2023-11-14t22:13:20.123456789z",
                "2023-11-14 23:13:20+01:00",
                "2023-11-14T22:13:20",
                "2023-11-14 22:13:20 UTC",
                "Tue, 14 Nov 2023 22:13:20 GMT",
                "Tue, 14 Nov 2023 17:13:20 EST",
                "Tue, 14 Nov 2023 23:13:20 +0100",
            ],
            [
                "14 Nov 2023 22:13:20 GMT",
                "Tue, 14 Nov 2023 22:13:20 GMTi",
                "2023-11-14",
                "20231114T221320Z",
                "2023-13-14T22:13:20Z",
                "0001-01-01T00:00:00+23:59",
            ],
        ),
    ],
)
def test_timestamp_must_have_configured_unit(unit: str, valid: list[str], invalid: list[str]) -> None:
    scheme = build_recipe(signed="{timestamp}{body}", timestamp="header:X-Time", unit=unit, tolerance=60)
    for value in valid:
        assert scheme.verify(build_callback({"x-time": value, "x-sig": compute_mac(value.encode() + BODY)})) == 0
    for value in invalid:
        content = value.encode("latin-1", "replace") + BODY
        assert (
            expect_rejection(scheme, build_callback({"x-time": value, "x-sig": compute_mac(content)})).part == "x-time"
        )


def test_stale_timestamp_error_states_age() -> None:
    scheme = build_recipe(signed="{timestamp}", timestamp="header:X-Time", unit="s", tolerance=300)
    headers = {"x-time": str(NOW), "x-sig": compute_mac(str(NOW).encode())}
    late, early = (
        expect_rejection(scheme, build_callback(headers, now=NOW + 412)),
        expect_rejection(scheme, build_callback(headers, now=NOW - 412)),
    )
    assert str(late) == "Signed 412 s ago; the tolerance is 300 s."
    assert str(early) == "Signed 412 s in the future; the tolerance is 300 s."
    assert replace(scheme, tolerance=math.inf).verify(build_callback(headers, now=0)) == 0


def test_timestamp_may_be_in_signed_body() -> None:
    body = b'{"at": "2023-11-14T22:13:20Z"}'
    scheme = build_recipe(timestamp="at", unit="iso", tolerance=1)
    assert scheme.verify(build_callback({"x-sig": compute_mac(body)}, body)) == 0
    assert expect_rejection(scheme, build_callback({"x-sig": compute_mac(body)}, body, now=NOW + 2)).part == "timestamp"
    assert expect_rejection(scheme, build_callback({"x-sig": compute_mac(b"{}")}, b"{}")).part == "timestamp"


def test_any_signature_of_list_may_match() -> None:
    scheme = build_recipe(format="list", prefix="v1,")
    assert scheme.verify(build_callback({"x-sig": f"v2,x v1,zz  v1,{compute_mac(BODY)}"})) == 0
    assert build_recipe(format="list", separator=",").verify(build_callback({"x-sig": f"zz, {compute_mac(BODY)}"})) == 0
    assert "no signature that starts with v1," in str(
        expect_rejection(scheme, build_callback({"x-sig": f"v1a,{compute_mac(BODY)}"}))
    )


def test_values_may_be_pairs_of_signature_header() -> None:
    scheme = build_recipe(format="pairs", pair="s", separator=";", signed="{nonce}{id}", nonce="pair:n", id="pair:i")
    callback = build_callback({"x-sig": f"s={compute_mac(b'abc')};n=a;i=bc"})
    assert scheme.verify(callback) == 0
    assert scheme.message_id(callback) == "bc"
    assert (
        str(expect_rejection(scheme, build_callback({"x-sig": f"s={compute_mac(b'abc')};i=bc"})))
        == "The pair n is missing."
    )


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (
            {"format": "pairs", "pair": "v1", "timestamp": "pairs:t"},
            "Must be header:NAME, query:NAME, pair:NAME or a JMESPath. Did you mean pair:t?",
        ),
        ({"timestamp": "heder:X-Time"}, "Must be header:NAME, query:NAME or a JMESPath. Did you mean header:X-Time?"),
        ({"timestamp": "a b"}, "Must be header:NAME, query:NAME or a JMESPath."),
    ],
)
def test_wrong_source_is_refused_with_what_is_allowed(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        build_recipe(signed="{timestamp}.{body}", **settings)
    assert caught.value.errors["timestamp"] == error


def test_message_id_is_read_from_source() -> None:
    callback = build_callback({"x-id": "m1"})
    assert build_recipe().message_id(callback) == ""
    assert (
        build_recipe(id="header:X-Id", signed="{id}.{body}").message_id(
            replace(callback, headers={"x-sig": "x", "x-id": "m1"})
        )
        == "m1"
    )
    assert build_recipe(id="id").message_id(build_callback({"x-sig": "x"})) == "e1"
    for body in (b"{", b"[]", b'{"id": []}', b"\xff", b""):
        assert build_recipe(id="id").message_id(build_callback({"x-sig": "x"}, body)) == ""


def test_items_may_be_signed_separately() -> None:
    scheme = build_recipe(source="sig", items="[]", signed="{field:a}", secrets=["new", "old"])
    old_item, new_item = (
        {"a": name, "sig": compute_mac(name.encode(), key=key)} for name, key in (("1", b"old"), ("2", b"new"))
    )
    assert scheme.verify(build_callback(body=orjson.dumps([new_item, new_item]))) == 0
    assert scheme.verify(build_callback(body=orjson.dumps([new_item, old_item]))) == 1
    assert (
        expect_rejection(scheme, build_callback(body=orjson.dumps([old_item, new_item | {"a": "3"}]))).part
        == "signature"
    )
    for body in (b"[]", b"{}", b"null", b"3", b'"x"', b"[[]]"):
        error = expect_rejection(scheme, build_callback(body=body))
        assert (error.part, str(error)) == ("items", "The body is malformed: it has no signed items.")
    for body in (b"[3]", b"[null, {}]", b'[{"sig": []}]', b'[{"sig": 3}]'):
        assert expect_rejection(scheme, build_callback(body=body)).part in {"items", "signature", "body"}


def test_items_may_sign_public_url() -> None:
    scheme = build_recipe(source="sig", items="[]", signed="{url}{field:a}", public_url="https://other.example")
    items = [{"a": name, "sig": compute_mac(f"https://other.example/c?b=2{name}".encode())} for name in ("1", "2")]
    assert scheme.verify(build_callback(body=orjson.dumps(items), target="/c?b=2")) == 0


def test_items_may_be_signed_by_keys_of_fetched_document() -> None:
    scheme = build_recipe(
        source="sig",
        secrets=(),
        items="[]",
        signed="{field:a}",
        algorithm="ed25519",
        public_keys=PlainSignatures(KeyDocument(None, "https://keys.example/jwks.json"), "ed25519"),
    )
    items = [{"a": name, "sig": PRIVATE_KEY.sign(name.encode()).hex()} for name in ("1", "2")]
    documents = {"https://keys.example/jwks.json": build_jwks(export_jwk(PRIVATE_KEY))}
    assert scheme.verify(build_callback(body=orjson.dumps(items)), documents) == 0


@pytest.mark.parametrize("signed", ["{header:X-No}", "{query:no}", "{nonce}"])
def test_missing_value_of_content_is_rejected(signed: str) -> None:
    scheme = build_recipe(signed=signed, nonce="header:X-No" if signed == "{nonce}" else "")
    assert "is missing" in str(expect_rejection(scheme, build_callback({"x-sig": compute_mac(b"")})))


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[" * 200_000, b'{"a":' * 5_000, b'{"sig": ["x"]}', b'"\\ud800"', b'{"sig": {"a": 1}}'],
)
def test_unreadable_body_is_rejected(body: bytes) -> None:
    assert expect_rejection(build_recipe(source="sig"), build_callback(body=body)).part in {"body", "signature"}


def test_failing_jmespath_function_is_rejected() -> None:
    assert expect_rejection(build_recipe(source="join('', list)"), build_callback()).part == "body"
    assert expect_rejection(build_recipe(source="to_number(id).x || abs(id)"), build_callback()).part == "body"


@pytest.mark.parametrize("target", ["/c?sig=a&sig=a", "/c?sig", "/c?sig=", "/c", "/c?sig=%ff", "/c?sig=\ud800"])
def test_malformed_query_is_rejected(target: str) -> None:
    assert expect_rejection(build_recipe(source="query:sig"), build_callback(target=target)).part == "sig"


def test_repeated_form_field_is_rejected() -> None:
    headers = {"content-type": FORM_MEDIA_TYPE, "x-sig": compute_mac(b"1")}
    assert expect_rejection(build_recipe(signed="{field:a}"), build_callback(headers, b"a=1&a=2")).part == "body"
    assert build_recipe(signed="{field:a}").verify(build_callback(headers, b"a=1&b=%ff")) == 0


def test_unknown_algorithm_error_names_header() -> None:
    scheme = build_recipe(algorithm_header="X-Alg", algorithm_names={"A": "sha256"})
    error = expect_rejection(scheme, build_callback({"x-sig": compute_mac(BODY), "x-alg": "B"}))
    assert (error.part, str(error)) == ("x-alg", "The header x-alg names an algorithm that is not configured.")


@pytest.mark.parametrize(
    ("timestamp", "value"), [("", b""), ("header:X-No", b""), ("header:X-Time", b"soon"), ("list", b""), ("n", b"7")]
)
def test_timestamp_is_read_as_received_or_empty(timestamp: str, value: bytes) -> None:
    scheme = build_recipe(timestamp=timestamp, signed="{timestamp}.{body}" if timestamp else "{body}")
    assert scheme.read_timestamp(build_callback({"x-time": "soon"})) == value


@pytest.mark.parametrize(
    ("source", "algorithm", "target", "body", "has_signature"),
    [
        ("query:sig", "sha256", "/c?sig=x", b"", True),
        ("query:sig", "equals", "/c?sig=x", b"", True),
        ("query:sig", "equals", "/c?other=x", b"{}", False),
        ("sig", "sha256", "/c", b"{}", True),
        ("sig", "sha256", "/c", b"", False),
    ],
)
def test_plausible_signature_may_be_in_query_or_body(
    source: str, algorithm: str, target: str, body: bytes, has_signature: bool
) -> None:
    scheme = build_recipe(source=source, algorithm=algorithm)
    assert scheme.carries_signature(build_callback(body=body, target=target)) is has_signature


def test_repr_hides_secrets() -> None:
    assert KEY not in repr(build_recipe())
    assert repr(KEY.encode())[2:-1] not in repr(build_recipe())


def test_replaced_secrets_are_used() -> None:
    scheme = build_recipe(secrets=["other"])
    expect_rejection(scheme, build_callback({"x-sig": compute_mac(BODY)}))
    assert replace(scheme, secrets=[KEY]).verify(build_callback({"x-sig": compute_mac(BODY)})) == 0
    expect_rejection(replace(scheme, secrets=[]), build_callback({"x-sig": compute_mac(BODY)}))


recipes = st.builds(
    Recipe,
    source=sources,
    secrets=st.just([PUBLIC_KEY.hex()]),
    algorithm=st.sampled_from(["sha256", "md5", "ed25519", "equals"]),
    encoding=st.sampled_from(["hex", "base64"]),
) | st.builds(
    Recipe,
    source=sources,
    secrets=st.just(["a:b"]),
    format=st.just("pairs"),
    pair=st.just("v"),
    signed=st.sampled_from(["{timestamp}{id}{url}", "{timestamp}{id}{field:a}{sorted_params}{path}"]),
    timestamp=sources | st.just("pair:t"),
    id=sources,
    unit=st.sampled_from(["s", "ms", "iso"]),
    tolerance=st.sampled_from([1e12, 3.0]),
    items=st.sampled_from(["", "[]", "x"]),
)


@given(
    scheme=recipes,
    headers=st.dictionaries(st.sampled_from(["x", "content-type"]), wire | st.just(FORM_MEDIA_TYPE)),
    body=st.binary(max_size=40)
    | wire.map(lambda text: orjson.dumps([{"x": ascii(text)}]))
    | st.just(b'{"x": ["t=1,v=2"]}'),
    query=wire,
)
def test_arbitrary_input_is_rejected(scheme: Recipe, headers: dict[str, str], body: bytes, query: str) -> None:
    callback = build_callback(headers, body, f"/c?x={query}")
    expect_rejection(scheme, callback)
    assert isinstance(scheme.message_id(callback), str)


def test_signed_body_cannot_move_into_timestamp() -> None:
    """Without a separator between them, signed bytes could otherwise be moved from the body into the timestamp."""
    scheme = Recipe(
        source="header:x-sig", secrets=["s"], encoding="hex", signed="{timestamp}{body}", timestamp="header:x-time"
    )
    content = b"2026note=xid=victim&status=done"
    signature = hmac.new(b"s", content, "sha256").hexdigest()

    def split_at(position: int) -> IncomingCallback:
        headers = {"x-sig": signature, "x-time": content[:position].decode()}
        return IncomingCallback("POST", "/", headers, content[position:], datetime(2026, 11, 23, tzinfo=UTC))

    assert scheme.verify(split_at(4)) == 0
    with pytest.raises(InvalidSignature):
        scheme.verify(split_at(len("2026note=x")))


def test_form_with_too_many_fields_is_rejected() -> None:
    scheme = Recipe(source="header:x-sig", secrets=["s"], signed="{url}{sorted_params}")
    headers = {"x-sig": "0" * 64, "content-type": "application/x-www-form-urlencoded"}
    callback = IncomingCallback("POST", "/", headers, b"a&" * 20_000, datetime(2026, 11, 23, tzinfo=UTC))
    with pytest.raises(InvalidSignature, match="more than"):
        scheme.verify(callback)


def test_nonce_beside_body_is_single_use_only_where_it_could_be_moved() -> None:
    scheme = build_recipe(signed="{nonce}{body}", nonce="header:X-No")
    assert [scheme.with_body_kind(kind).uses_nonces for kind in ("json", "xml", "form", "multipart")] == [
        *(False, False),
        *(True, True),
    ]


def test_undecodable_nonce_is_told_apart() -> None:
    scheme = build_recipe(signed="{nonce}", nonce="query:n")
    nonces = [scheme.find_nonces(build_callback({"x-sig": "x"}, target=f"/c?n={n}")) for n in ("a%FF", "a%FE", "a")]
    assert nonces == [["a\\xff"], ["a\\xfe"], ["a"]]


def test_undecodable_message_id_is_told_apart() -> None:
    scheme = build_recipe(signed="{id}", id="query:i")
    ids = [
        scheme.message_id(build_callback({"x-sig": "x"}, target=f"/c?i={i}")) for i in ("a%FF", "a%FE", "%C3%BC", "a")
    ]
    assert ids == ["a\\xff", "a\\xfe", "ü", "a"]


def test_bodies_with_same_signed_fields_have_same_content() -> None:
    scheme = build_recipe(signed="{field:id}")
    one, other, changed = (
        scheme.normalize_body(build_callback(body=body))
        for body in (b'{"id": 1, "a": 1}', b'{"id": 1, "a": 2}', b'{"id": 2, "a": 1}')
    )
    assert one == other != changed


@pytest.mark.parametrize("signed", ["{body}", "{body}.{field:id}", "{url}"])
def test_body_is_its_own_content_unless_only_fields_are_signed(signed: str) -> None:
    assert build_recipe(signed=signed).normalize_body(build_callback()) == BODY


@pytest.mark.parametrize(("signed", "is_same"), [("{sorted_params}", True), ("{url}{sorted_params}", False)])
def test_order_of_parameters_counts_only_if_the_url_is_signed(signed: str, is_same: bool) -> None:
    scheme = build_recipe(signed=signed, parameters=SortedParameters(source="query"))
    one, other = (scheme.normalize_query(build_callback(target=target)) for target in ("/c?a=1&b=2", "/c?b=2&a=1"))
    assert (one == other) is is_same


def test_query_is_decoded_only_for_a_decoded_url() -> None:
    callback = build_callback(target="/c?a=%3A\udcff")
    assert build_recipe(signed="{url}").normalize_query(callback) == b"a=%3A\xff"
    assert build_recipe(signed="{url}", decode_url=True).normalize_query(callback) == b"a=:\xff"
