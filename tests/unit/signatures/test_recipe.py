"""The recipe engine: every location, format, key, token, algorithm and time of a recipe, and what is rejected."""

import hashlib
import hmac
import math
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.base import InvalidSecret, InvalidSignature
from receiver.signatures.recipe import InvalidRecipe, Recipe

NOW = 1_700_000_000
KEY = "sécret"
BODY = b'{"id": "e1", "sig": "s", "n": 7, "t": true, "f": 1.5, "none": null, "deep": {"a b": "\xc3\xbc"}, "list": [1]}'
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC_KEY = PRIVATE_KEY.public_key().public_bytes_raw()


def build_callback(
    headers: dict[str, str] | None = None, body: bytes = BODY, target: str = "/c/acme?b=2&a=%C3%BC", **overrides: Any
) -> IncomingCallback:
    fields: dict[str, Any] = {"method": "POST", "public_url": "https://h.example/in"} | overrides
    received_at = datetime.fromtimestamp(fields.pop("now", NOW), UTC)
    return IncomingCallback(target=target, headers=headers or {}, body=body, received_at=received_at, **fields)


def build_recipe(**overrides: Any) -> Recipe:
    return Recipe(**{"source": "header:X-Sig", "secrets": [KEY]} | overrides)


def compute_mac(content: bytes, algorithm: str = "sha256", key: bytes = KEY.encode()) -> str:
    return hmac.new(key, content, algorithm).hexdigest()


def expect_rejection(scheme: Recipe, callback: IncomingCallback) -> InvalidSignature:
    """Verify a callback that must be rejected; return the error."""
    with pytest.raises(InvalidSignature) as caught:
        scheme.verify(callback)
    return caught.value


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_hmac_of_body_verifies(algorithm: str, encoding: str) -> None:
    digest = hmac.digest(KEY.encode(), BODY, algorithm)
    signature = digest.hex().upper() if encoding == "hex" else b64encode(digest).decode()
    scheme = build_recipe(algorithm=algorithm, encoding=encoding)
    assert scheme.verify(build_callback({"x-sig": signature})) == 0
    assert "does not match any configured secret" in str(
        expect_rejection(scheme, build_callback({"x-sig": signature}, BODY + b" "))
    )


def test_md5_covers_content_followed_by_secret() -> None:
    signature = hashlib.md5(BODY + KEY.encode()).hexdigest()
    assert build_recipe(algorithm="md5").verify(build_callback({"x-sig": signature})) == 0
    assert (
        expect_rejection(build_recipe(algorithm="md5"), build_callback({"x-sig": hashlib.md5(BODY).hexdigest()})).part
        == "x-sig"
    )


@pytest.mark.parametrize("public", [PUBLIC_KEY.hex(), b64encode(PUBLIC_KEY).decode()])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_ed25519_signature_verifies_with_public_key(public: str, encoding: str) -> None:
    digest = PRIVATE_KEY.sign(BODY)
    signature = digest.hex() if encoding == "hex" else b64encode(digest).decode()
    scheme = build_recipe(algorithm="ed25519", encoding=encoding, secrets=["00" * 31 + "01", public])
    assert scheme.verify(build_callback({"x-sig": signature})) == 1
    assert "does not match any configured secret" in str(
        expect_rejection(scheme, build_callback({"x-sig": signature}, b""))
    )
    assert "not 64 bytes" in str(expect_rejection(scheme, build_callback({"x-sig": signature[:-4]})))


def test_equals_compares_value_with_secret() -> None:
    scheme = build_recipe(algorithm="equals", secrets=["one", "two"], prefix="Token ")
    assert scheme.verify(build_callback({"x-sig": "Token two"})) == 1
    for value in ("Token TWO", "Token two ", "Token ", "two", ""):
        expect_rejection(scheme, build_callback({"x-sig": value}))


def test_http_basic_verifies() -> None:
    scheme = build_recipe(source="header:Authorization", algorithm="basic", secrets=["anna:pässword:1"])
    credentials = b64encode("anna:pässword:1".encode()).decode()
    assert scheme.verify(build_callback({"authorization": f"basic {credentials}"})) == 0
    for value in ("", "Basic", "Basic ", f"Bearer {credentials}", f"Basic {credentials}x", "Basic é", "Basic Og=="):
        assert expect_rejection(scheme, build_callback({"authorization": value})).part == "authorization"


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
    ("key_encoding", "secret", "key"),
    [
        ("utf-8", "whsec_é", "whsec_é".encode()),
        ("hex", "00fF", b"\x00\xff"),
        ("base64", "whsec_AP8=", b"\x00\xff"),
        ("base64", "AP8=", b"\x00\xff"),
    ],
)
def test_key_encoding_is_decoded(key_encoding: str, secret: str, key: bytes) -> None:
    scheme = build_recipe(key_encoding=key_encoding, secrets=[secret])
    assert scheme.verify(build_callback({"x-sig": compute_mac(BODY, key=key)})) == 0


@pytest.mark.parametrize(
    ("options", "secret"),
    [
        ({}, ""),
        ({}, "sk-\ud800"),
        ({"key_encoding": "hex"}, "sk-abc"),
        ({"key_encoding": "hex"}, "abc"),
        ({"key_encoding": "hex"}, "éé"),
        ({"key_encoding": "base64"}, "sk-abc"),
        ({"algorithm": "ed25519"}, "ab" * 31),
        ({"algorithm": "ed25519", "key_encoding": "hex"}, b64encode(PUBLIC_KEY).decode()),
        ({"algorithm": "basic"}, "sk-without-colon"),
    ],
)
def test_error_hides_secret_of_invalid_format(options: dict[str, Any], secret: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        build_recipe(secrets=[secret], **options)
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(
    ("token", "content"),
    [
        ("{body}", BODY),
        ("{url}", b"https://h.example/in/c/acme?b=2&a=%C3%BC"),
        ("{url_no_query}", b"https://h.example/in/c/acme"),
        ("{path}", b"/in/c/acme"),
        ("{method}", b"POST"),
        ("{content_type}", b"application/json; v=1"),
        ("{md5_b64}", b64encode(hashlib.md5(BODY).digest())),
        ("{sha256_hex}", hashlib.sha256(BODY).hexdigest().encode()),
        ("{header:X-Wire}", b"\xc3\xbc"),
        ("{query:a}", b"\xc3\xbc"),
        ("{field:id}", b"e1"),
        ("{field:n}", b"7"),
        ("{field:t}", b"true"),
        ("{field:f}", b"1.5"),
        ("x{field:none}", b"x"),
        ("x{field:absent.too}", b"x"),
        ('{field:deep."a b"}', b"\xc3\xbc"),
        ("ü:{method}\n.{body}", "ü:POST\n.".encode() + BODY),
    ],
)
def test_token_is_replaced_by_value(token: str, content: bytes) -> None:
    headers = {"x-sig": compute_mac(content), "content-type": "application/json; v=1", "x-wire": "Ã¼"}
    assert build_recipe(signed=token).verify(build_callback(headers)) == 0


def test_sorted_params_are_distinct_names_and_values() -> None:
    headers = {"x-sig": compute_mac("a1a2b B=ü".encode()), "content-type": FORM_MEDIA_TYPE}
    body = b"b=+B%3D%C3%BC&a=2&a=1&a=2"
    assert build_recipe(signed="{sorted_params}").verify(build_callback(headers, body)) == 0


def test_sorted_params_require_form_body() -> None:
    scheme, headers = build_recipe(signed="{url}{sorted_params}"), {"x-sig": compute_mac(build_callback().url.encode())}
    assert scheme.verify(build_callback(headers, b"")) == 0
    assert expect_rejection(scheme, build_callback(headers)).part == "body"
    assert expect_rejection(scheme, build_callback(headers | {"content-type": "application/json"})).part == "body"


@pytest.mark.parametrize(
    ("unit", "valid", "invalid"),
    [
        ("s", [str(NOW), str(NOW - 60)], ["", f" {NOW}", f"{NOW}.0", "-1", "1_700", "١٦", "9" * 13, f"{NOW}\n", "nan"]),
        ("ms", [f"{NOW}000", f"{NOW - 60}000", f"{NOW + 59}999"], [f"{NOW}", "9" * 16, "é", "\ud800"]),
        (
            "iso",
            ["2023-11-14T22:13:20Z", "2023-11-14t22:13:20.123456789z", "2023-11-14 23:13:20+01:00"],
            [
                "2023-11-14T22:13:20",
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
        assert expect_rejection(scheme, build_callback(body=body)).part == "items"
    for body in (b"[3]", b"[null, {}]", b'[{"sig": []}]', b'[{"sig": 3}]'):
        assert expect_rejection(scheme, build_callback(body=body)).part in {"items", "signature", "body"}


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


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"source": ""}, {"source"}),
        ({"source": "header:"}, {"source"}),
        ({"source": "header:X Y"}, {"source"}),
        ({"source": "a["}, {"source"}),
        ({"source": "pair:t"}, {"source"}),
        (
            {"algorithm": "rot13", "encoding": "x", "format": "y", "unit": "h"},
            {"algorithm", "encoding", "format", "unit"},
        ),
        ({"signed": ""}, {"signed"}),
        ({"signed": "constant"}, {"signed"}),
        ({"signed": "{bodi}"}, {"signed"}),
        ({"signed": "{body"}, {"signed"}),
        ({"signed": "body}{body}"}, {"signed"}),
        ({"signed": "{header:}"}, {"signed"}),
        ({"signed": "{field:a[}"}, {"signed"}),
        ({"signed": "{id}{timestamp}"}, {"signed"}),
        ({"timestamp": "header:t"}, {"timestamp"}),
        ({"timestamp": "pair:t", "signed": "{timestamp}"}, {"timestamp"}),
        ({"tolerance": 3}, {"tolerance"}),
        ({"tolerance": 3, "timestamp": "at"}, {"unit"}),
        ({"id": "header:id", "nonce": "query:n"}, {"id", "nonce"}),
        ({"algorithm": "equals", "id": "id"}, {"id"}),
        ({"format": "pairs"}, {"pair"}),
        ({"pair": "v1"}, {"pair"}),
        ({"separator": ","}, {"separator"}),
        ({"format": "pairs", "pair": "v1", "prefix": "x"}, {"prefix"}),
        ({"items": "a["}, {"items"}),
        ({"algorithm": "ed25519", "key_encoding": "utf-8"}, {"key_encoding"}),
        ({"items": "[", "signed": "{", "timestamp": "(", "unit": "?"}, {"items", "signed", "timestamp", "unit"}),
    ],
)
def test_invalid_recipe_reports_all_errors(options: dict[str, Any], fields: set[str]) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        build_recipe(secrets=[], **options)
    assert caught.value.errors.keys() == fields


def test_unknown_token_error_lists_valid_tokens() -> None:
    with pytest.raises(InvalidRecipe, match=r"Unknown token \{bodi\}. Must be one of: \{body\}, .*\{field:PATH\}."):
        build_recipe(signed="{bodi}")


def test_repr_hides_secrets() -> None:
    assert KEY not in repr(build_recipe())
    assert repr(KEY.encode())[2:-1] not in repr(build_recipe())


def test_replaced_secrets_are_used() -> None:
    scheme = build_recipe(secrets=["other"])
    expect_rejection(scheme, build_callback({"x-sig": compute_mac(BODY)}))
    assert replace(scheme, secrets=[KEY]).verify(build_callback({"x-sig": compute_mac(BODY)})) == 0
    expect_rejection(replace(scheme, secrets=[]), build_callback({"x-sig": compute_mac(BODY)}))


sources = st.sampled_from(["header:x", "query:x", "x", "x.y[0]", "length(x)"])
wire = (
    st.text(st.characters(max_codepoint=255), max_size=20)
    | st.text(max_size=10)
    | st.sampled_from(["\ud800", "t=1,v=2"])
)
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
