"""The recipe engine: every place, format, key, token, algorithm and time of a recipe, and what it refuses."""

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
from receiver.signatures.base import InvalidSecret, SignatureRefused
from receiver.signatures.recipe import InvalidRecipe, Recipe

NOW = 1_700_000_000
KEY = "sécret"
BODY = b'{"id": "e1", "sig": "s", "n": 7, "t": true, "f": 1.5, "none": null, "deep": {"a b": "\xc3\xbc"}, "list": [1]}'
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = PRIVATE.public_key().public_bytes_raw()


def incoming(
    headers: dict[str, str] | None = None, body: bytes = BODY, target: str = "/c/acme?b=2&a=%C3%BC", **overrides: Any
) -> IncomingCallback:
    given: dict[str, Any] = {"method": "POST", "public_url": "https://h.example/in"} | overrides
    at = datetime.fromtimestamp(given.pop("now", NOW), UTC)
    return IncomingCallback(target=target, headers=headers or {}, body=body, received_at=at, **given)


def recipe(**overrides: Any) -> Recipe:
    return Recipe(**{"source": "header:X-Sig", "secrets": [KEY]} | overrides)


def mac(content: bytes, algorithm: str = "sha256", key: bytes = KEY.encode()) -> str:
    return hmac.new(key, content, algorithm).hexdigest()


def refusal(scheme: Recipe, callback: IncomingCallback) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        scheme.verify(callback)
    return caught.value


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_an_hmac_of_the_body_is_verified(algorithm: str, encoding: str) -> None:
    digest = hmac.digest(KEY.encode(), BODY, algorithm)
    given = digest.hex().upper() if encoding == "hex" else b64encode(digest).decode()
    scheme = recipe(algorithm=algorithm, encoding=encoding)
    assert scheme.verify(incoming({"x-sig": given})) == 0
    assert "matches no live secret" in str(refusal(scheme, incoming({"x-sig": given}, BODY + b" ")))


def test_an_md5_is_of_the_content_followed_by_the_secret() -> None:
    given = hashlib.md5(BODY + KEY.encode()).hexdigest()
    assert recipe(algorithm="md5").verify(incoming({"x-sig": given})) == 0
    assert refusal(recipe(algorithm="md5"), incoming({"x-sig": hashlib.md5(BODY).hexdigest()})).part == "x-sig"


@pytest.mark.parametrize("public", [PUBLIC.hex(), b64encode(PUBLIC).decode()])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_an_ed25519_signature_is_verified_by_the_public_key(public: str, encoding: str) -> None:
    signature = PRIVATE.sign(BODY)
    given = signature.hex() if encoding == "hex" else b64encode(signature).decode()
    scheme = recipe(algorithm="ed25519", encoding=encoding, secrets=["00" * 31 + "01", public])
    assert scheme.verify(incoming({"x-sig": given})) == 1
    assert "matches no live secret" in str(refusal(scheme, incoming({"x-sig": given}, b"")))
    assert "not 64 bytes" in str(refusal(scheme, incoming({"x-sig": given[:-4]})))


def test_the_secret_itself_may_be_what_is_sent() -> None:
    scheme = recipe(algorithm="equals", secrets=["one", "two"], prefix="Token ")
    assert scheme.verify(incoming({"x-sig": "Token two"})) == 1
    for value in ("Token TWO", "Token two ", "Token ", "two", ""):
        refusal(scheme, incoming({"x-sig": value}))


def test_http_basic_is_verified() -> None:
    scheme = recipe(source="header:Authorization", algorithm="basic", secrets=["anna:pässword:1"])
    given = b64encode("anna:pässword:1".encode()).decode()
    assert scheme.verify(incoming({"authorization": f"basic {given}"})) == 0
    for value in ("", "Basic", "Basic ", f"Bearer {given}", f"Basic {given}x", "Basic é", "Basic Og=="):
        assert refusal(scheme, incoming({"authorization": value})).part == "authorization"


@pytest.mark.parametrize(
    ("source", "callback"),
    [
        ("header:X-SIG", incoming({"x-sig": mac(b"POST")})),
        ("query:sig", incoming(target=f"/c?a=1&sig={mac(b'POST')}")),
        ("auth.sig", incoming(body=orjson.dumps({"auth": {"sig": mac(b"POST")}}))),
        (
            "sig",
            incoming({"content-type": f"{FORM_MEDIA_TYPE}; charset=utf-8"}, body=b"a=1&sig=" + mac(b"POST").encode()),
        ),
    ],
)
def test_a_signature_may_stand_in_header_query_or_body(source: str, callback: IncomingCallback) -> None:
    assert recipe(source=source, signed="{method}").verify(callback) == 0


@pytest.mark.parametrize(
    ("key_encoding", "secret", "key"),
    [
        ("utf-8", "whsec_é", "whsec_é".encode()),
        ("hex", "00fF", b"\x00\xff"),
        ("base64", "whsec_AP8=", b"\x00\xff"),
        ("base64", "AP8=", b"\x00\xff"),
    ],
)
def test_a_key_is_decoded(key_encoding: str, secret: str, key: bytes) -> None:
    scheme = recipe(key_encoding=key_encoding, secrets=[secret])
    assert scheme.verify(incoming({"x-sig": mac(BODY, key=key)})) == 0


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
        ({"algorithm": "ed25519", "key_encoding": "hex"}, b64encode(PUBLIC).decode()),
        ({"algorithm": "basic"}, "sk-without-colon"),
    ],
)
def test_a_secret_of_another_form_is_refused_without_being_shown(options: dict[str, Any], secret: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        recipe(secrets=[secret], **options)
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
def test_a_token_stands_for_its_piece(token: str, content: bytes) -> None:
    headers = {"x-sig": mac(content), "content-type": "application/json; v=1", "x-wire": "Ã¼"}
    assert recipe(signed=token).verify(incoming(headers)) == 0


def test_sorted_parameters_are_names_and_values_of_the_form_each_once() -> None:
    headers = {"x-sig": mac("a1a2b B=ü".encode()), "content-type": FORM_MEDIA_TYPE}
    body = b"b=+B%3D%C3%BC&a=2&a=1&a=2"
    assert recipe(signed="{sorted_params}").verify(incoming(headers, body)) == 0


def test_a_body_that_is_no_form_is_refused_where_its_parameters_are_signed() -> None:
    scheme, headers = recipe(signed="{url}{sorted_params}"), {"x-sig": mac(incoming().url.encode())}
    assert scheme.verify(incoming(headers, b"")) == 0
    assert refusal(scheme, incoming(headers)).part == "body"
    assert refusal(scheme, incoming(headers | {"content-type": "application/json"})).part == "body"


@pytest.mark.parametrize(
    ("unit", "good", "bad"),
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
def test_a_time_is_of_its_unit_and_nothing_else(unit: str, good: list[str], bad: list[str]) -> None:
    scheme = recipe(signed="{timestamp}{body}", timestamp="header:X-Time", unit=unit, tolerance=60)
    for value in good:
        assert scheme.verify(incoming({"x-time": value, "x-sig": mac(value.encode() + BODY)})) == 0
    for value in bad:
        content = value.encode("latin-1", "replace") + BODY
        assert refusal(scheme, incoming({"x-time": value, "x-sig": mac(content)})).part == "x-time"


def test_a_refused_time_tells_how_far_off_it_is() -> None:
    scheme = recipe(signed="{timestamp}", timestamp="header:X-Time", unit="s", tolerance=300)
    headers = {"x-time": str(NOW), "x-sig": mac(str(NOW).encode())}
    late, early = refusal(scheme, incoming(headers, now=NOW + 412)), refusal(scheme, incoming(headers, now=NOW - 412))
    assert str(late) == "signed 412 s ago; 300 s are tolerated"
    assert str(early) == "signed 412 s in the future; 300 s are tolerated"
    assert replace(scheme, tolerance=math.inf).verify(incoming(headers, now=0)) == 0


def test_a_time_may_stand_in_the_body_that_is_signed() -> None:
    body = b'{"at": "2023-11-14T22:13:20Z"}'
    scheme = recipe(timestamp="at", unit="iso", tolerance=1)
    assert scheme.verify(incoming({"x-sig": mac(body)}, body)) == 0
    assert refusal(scheme, incoming({"x-sig": mac(body)}, body, now=NOW + 2)).part == "timestamp"
    assert refusal(scheme, incoming({"x-sig": mac(b"{}")}, b"{}")).part == "timestamp"


def test_any_signature_of_a_list_may_match() -> None:
    scheme = recipe(format="list", prefix="v1,")
    assert scheme.verify(incoming({"x-sig": f"v2,x v1,zz  v1,{mac(BODY)}"})) == 0
    assert recipe(format="list", separator=",").verify(incoming({"x-sig": f"zz, {mac(BODY)}"})) == 0
    assert "no signature that starts with v1," in str(refusal(scheme, incoming({"x-sig": f"v1a,{mac(BODY)}"})))


def test_pieces_may_be_pairs_of_the_signatures_header() -> None:
    scheme = recipe(format="pairs", pair="s", separator=";", signed="{nonce}{id}", nonce="pair:n", id="pair:i")
    callback = incoming({"x-sig": f"s={mac(b'abc')};n=a;i=bc"})
    assert scheme.verify(callback) == 0
    assert scheme.message_id(callback) == "bc"
    assert str(refusal(scheme, incoming({"x-sig": f"s={mac(b'abc')};i=bc"}))) == "the pair n is missing"


def test_the_messages_id_is_given_only_where_the_signature_covers_it() -> None:
    callback = incoming({"x-id": "m1"})
    assert recipe().message_id(callback) == ""
    assert (
        recipe(id="header:X-Id", signed="{id}.{body}").message_id(
            replace(callback, headers={"x-sig": "x", "x-id": "m1"})
        )
        == "m1"
    )
    assert recipe(id="id").message_id(incoming({"x-sig": "x"})) == "e1"
    for body in (b"{", b"[]", b'{"id": []}', b"\xff", b""):
        assert recipe(id="id").message_id(incoming({"x-sig": "x"}, body)) == ""


def test_each_item_may_be_signed_by_itself() -> None:
    scheme = recipe(source="sig", items="[]", signed="{field:a}", secrets=["new", "old"])
    one, two = ({"a": name, "sig": mac(name.encode(), key=key)} for name, key in (("1", b"old"), ("2", b"new")))
    assert scheme.verify(incoming(body=orjson.dumps([two, two]))) == 0
    assert scheme.verify(incoming(body=orjson.dumps([two, one]))) == 1
    assert refusal(scheme, incoming(body=orjson.dumps([one, two | {"a": "3"}]))).part == "signature"
    for body in (b"[]", b"{}", b"null", b"3", b'"x"', b"[[]]"):
        assert refusal(scheme, incoming(body=body)).part == "items"
    for body in (b"[3]", b"[null, {}]", b'[{"sig": []}]', b'[{"sig": 3}]'):
        assert refusal(scheme, incoming(body=body)).part in {"items", "signature", "body"}


@pytest.mark.parametrize("signed", ["{header:X-No}", "{query:no}", "{nonce}"])
def test_a_missing_piece_of_the_content_is_refused(signed: str) -> None:
    scheme = recipe(signed=signed, nonce="header:X-No" if signed == "{nonce}" else "")
    assert "is missing" in str(refusal(scheme, incoming({"x-sig": mac(b"")})))


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[" * 200_000, b'{"a":' * 5_000, b'{"sig": ["x"]}', b'"\\ud800"', b'{"sig": {"a": 1}}'],
)
def test_a_body_that_a_path_cannot_read_is_refused(body: bytes) -> None:
    assert refusal(recipe(source="sig"), incoming(body=body)).part in {"body", "signature"}


def test_an_expression_that_fails_on_a_strangers_values_refuses() -> None:
    assert refusal(recipe(source="join('', list)"), incoming()).part == "body"
    assert refusal(recipe(source="to_number(id).x || abs(id)"), incoming()).part == "body"


@pytest.mark.parametrize("target", ["/c?sig=a&sig=a", "/c?sig", "/c?sig=", "/c", "/c?sig=%ff", "/c?sig=\ud800"])
def test_a_malformed_query_is_refused(target: str) -> None:
    assert refusal(recipe(source="query:sig"), incoming(target=target)).part == "sig"


def test_a_field_of_a_form_that_is_there_twice_is_refused() -> None:
    headers = {"content-type": FORM_MEDIA_TYPE, "x-sig": mac(b"1")}
    assert refusal(recipe(signed="{field:a}"), incoming(headers, b"a=1&a=2")).part == "body"
    assert recipe(signed="{field:a}").verify(incoming(headers, b"a=1&b=%ff")) == 0


@pytest.mark.parametrize(
    ("options", "faults"),
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
def test_a_recipe_that_cannot_work_tells_every_fault(options: dict[str, Any], faults: set[str]) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        recipe(secrets=[], **options)
    assert caught.value.faults.keys() == faults


def test_an_unknown_token_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(InvalidRecipe, match=r"\{bodi\} is not known; known are \{body\} .*\{field:PATH\}"):
        recipe(signed="{bodi}")


def test_a_recipe_never_shows_its_secrets() -> None:
    assert KEY not in repr(recipe())
    assert repr(KEY.encode())[2:-1] not in repr(recipe())


def test_a_recipe_with_other_secrets_is_another_recipe() -> None:
    scheme = recipe(secrets=["other"])
    refusal(scheme, incoming({"x-sig": mac(BODY)}))
    assert replace(scheme, secrets=[KEY]).verify(incoming({"x-sig": mac(BODY)})) == 0
    refusal(replace(scheme, secrets=[]), incoming({"x-sig": mac(BODY)}))


sources = st.sampled_from(["header:x", "query:x", "x", "x.y[0]", "length(x)"])
wire = (
    st.text(st.characters(max_codepoint=255), max_size=20)
    | st.text(max_size=10)
    | st.sampled_from(["\ud800", "t=1,v=2"])
)
recipes = st.builds(
    Recipe,
    source=sources,
    secrets=st.just([PUBLIC.hex()]),
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
def test_whatever_a_stranger_sends_is_refused_and_never_breaks(
    scheme: Recipe, headers: dict[str, str], body: bytes, query: str
) -> None:
    callback = incoming(headers, body, f"/c?x={query}")
    refusal(scheme, callback)
    assert isinstance(scheme.message_id(callback), str)


def test_a_piece_that_looks_like_body_is_no_timestamp() -> None:
    """Where nothing stands between them, signed bytes could otherwise be moved from the body into the timestamp."""
    recipe = Recipe(
        source="header:x-sig", secrets=["s"], encoding="hex", signed="{timestamp}{body}", timestamp="header:x-time"
    )
    content = b"2026note=xid=victim&status=done"
    signature = hmac.new(b"s", content, "sha256").hexdigest()

    def moved(border: int) -> IncomingCallback:
        headers = {"x-sig": signature, "x-time": content[:border].decode()}
        return IncomingCallback("POST", "/", headers, content[border:], datetime(2026, 11, 23, tzinfo=UTC))

    assert recipe.verify(moved(4)) == 0
    with pytest.raises(SignatureRefused):
        recipe.verify(moved(len("2026note=x")))


def test_a_form_of_very_many_fields_is_refused_and_not_sorted() -> None:
    recipe = Recipe(source="header:x-sig", secrets=["s"], signed="{url}{sorted_params}")
    headers = {"x-sig": "0" * 64, "content-type": "application/x-www-form-urlencoded"}
    many = IncomingCallback("POST", "/", headers, b"a&" * 20_000, datetime(2026, 11, 23, tzinfo=UTC))
    with pytest.raises(SignatureRefused, match="more than"):
        recipe.verify(many)
