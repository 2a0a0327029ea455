"""Plivo's signature V3, against a hand-written signer, and every kind of rejected callback."""

import hmac
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSecret, InvalidSignature
from receiver.signatures.plivo import PlivoV3
from tests.support.changes import flip_byte

TOKEN = "my_auth_token"
NONCE = "05429567804466091622"
PUBLIC_URL = "https://answer.example"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
BODY = b"To=%2B15551112222&From=15550001111&Status=delivered&MessageUUID=a-b"
FORM_CONTENT = "From15550001111MessageUUIDa-bStatusdeliveredTo+15551112222"
SCHEME = PlivoV3([TOKEN])
SIGNATURE_HEADER = "x-plivo-signature-v3"
NONCE_HEADER = "x-plivo-signature-v3-nonce"

texts = st.text(st.characters(exclude_categories=["Cs"]))


def sign(content: str, token: str = TOKEN) -> str:
    return b64encode(hmac.digest(token.encode(), content.encode(), "sha256")).decode()


SIGNATURE = sign(f"{PUBLIC_URL}/sms?{FORM_CONTENT}.{NONCE}")


def build_callback(
    body: bytes = BODY,
    signature: str = SIGNATURE,
    *,
    target: str = "/sms",
    nonce: str = NONCE,
    method: str = "POST",
    media_type: str = "application/x-www-form-urlencoded",
    public_url: str = PUBLIC_URL,
) -> IncomingCallback:
    headers = {"content-type": media_type, SIGNATURE_HEADER: signature, NONCE_HEADER: nonce}
    return IncomingCallback(method, target, headers, body, NOW, public_url)


def expect_rejection(callback: IncomingCallback, scheme: PlivoV3 = SCHEME) -> str:
    """Verify a callback that must be rejected; return the part that failed."""
    with pytest.raises(InvalidSignature) as caught:
        scheme.verify(callback)
    assert TOKEN not in str(caught.value)
    return caught.value.part


@pytest.mark.parametrize(
    ("method", "target", "body", "content"),
    [
        ("POST", "/sms", BODY, f"/sms?{FORM_CONTENT}"),
        ("POST", "/sms?b=2&a=1", BODY, f"/sms?a=1&b=2.{FORM_CONTENT}"),
        ("POST", "/sms?a=2&a=1", b"x=2&x=1", "/sms?a=1&a=2.x1x2"),
        ("POST", "/sms?a=1", b"", "/sms?a=1"),
        ("POST", "/sms", b"", "/sms"),
        ("POST", "/sms", b"x=", "/sms?x"),
        ("GET", "/sms?To=%2B1555&From=1+2&x=", b"", "/sms?From=1 2&To=+1555&x="),
        ("GET", "/sms", b"", "/sms"),
    ],
)
def test_signature_covers_url_sorted_query_and_sorted_form(method: str, target: str, body: bytes, content: str) -> None:
    signature = sign(f"{PUBLIC_URL}{content}.{NONCE}")
    assert SCHEME.verify(build_callback(body, signature, target=target, method=method)) == 0


@given(params=st.dictionaries(texts, texts, min_size=1, max_size=8))
def test_any_form_verifies(params: dict[str, str]) -> None:
    content = "".join(f"{name}{params[name]}" for name in sorted(params))
    signature = sign(f"{PUBLIC_URL}/sms?{content}.{NONCE}")
    assert SCHEME.verify(build_callback(urlencode(params).encode(), signature)) == 0


@pytest.mark.parametrize("value", [f"AAAA,{SIGNATURE}", f"{SIGNATURE},AAAA", f"AAAA, {SIGNATURE} "])
def test_any_of_several_signatures_may_match(value: str) -> None:
    assert SCHEME.verify(build_callback(signature=value)) == 0


@pytest.mark.parametrize(
    ("callback", "part", "message"),
    [
        (build_callback(signature=""), SIGNATURE_HEADER, f"The header {SIGNATURE_HEADER} is missing."),
        (build_callback(nonce=""), NONCE_HEADER, f"The header {NONCE_HEADER} is missing."),
        (build_callback(b"x=1"), SIGNATURE_HEADER, "No signature matches any configured auth token."),
        (build_callback(nonce="\ud800"), "url", "The URL or the nonce is not valid Unicode."),
        (build_callback(target="/sms?a=%FF"), "url", "The URL's query is malformed."),
    ],
)
def test_rejection_says_what_is_wrong(callback: IncomingCallback, part: str, message: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        SCHEME.verify(callback)
    assert (caught.value.part, str(caught.value)) == (part, message)


def test_verify_returns_index_of_matching_token() -> None:
    assert PlivoV3(["retired", TOKEN]).verify(build_callback()) == 1
    assert expect_rejection(build_callback(), PlivoV3(["retired"])) == SIGNATURE_HEADER


def test_configured_public_url_replaces_callback_url() -> None:
    proxied = build_callback(public_url="http://10.0.0.1:8080")
    assert PlivoV3([TOKEN], public_url=PUBLIC_URL).verify(proxied) == 0
    assert expect_rejection(proxied) == SIGNATURE_HEADER


@pytest.mark.parametrize("days", [-10_000, 10_000])
def test_age_of_callback_is_not_checked(days: int) -> None:
    callback = replace(build_callback(), received_at=NOW + timedelta(days=days))
    assert SCHEME.verify(callback) == 0
    assert SCHEME.message_id(callback) == ""


@pytest.mark.parametrize("header", [SIGNATURE_HEADER, NONCE_HEADER])
def test_missing_or_empty_header_is_rejected_by_name(header: str) -> None:
    callback = build_callback()
    other_headers = {name: value for name, value in callback.headers.items() if name != header}
    for headers in (other_headers, other_headers | {header: ""}):
        assert expect_rejection(replace(callback, headers=headers)) == header


@pytest.mark.parametrize("signature", [",", SIGNATURE[:-1], SIGNATURE + "=", SIGNATURE.lower(), "é€\ud800"])
def test_malformed_signature_is_rejected(signature: str) -> None:
    assert expect_rejection(build_callback(signature=signature)) == SIGNATURE_HEADER


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_signature_byte_is_rejected(position: int, delta: int) -> None:
    signature = flip_byte(SIGNATURE.encode(), position, delta).decode("latin-1")
    assert expect_rejection(build_callback(signature=signature)) == SIGNATURE_HEADER


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_nonce_byte_is_rejected(position: int, delta: int) -> None:
    nonce = flip_byte(NONCE.encode(), position, delta).decode("latin-1")
    assert expect_rejection(build_callback(nonce=nonce)) == SIGNATURE_HEADER


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_form_parameter_is_rejected(position: int, delta: int) -> None:
    body = flip_byte(BODY, position, delta)
    assume(sorted(parse_qsl(body.decode("latin-1"))) != sorted(parse_qsl(BODY.decode())))
    assert expect_rejection(build_callback(body)) in {SIGNATURE_HEADER, "body"}


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_query_parameter_is_rejected(position: int, delta: int) -> None:
    query = b"From=15550001111&Status=sent"
    signature = sign(f"{PUBLIC_URL}/sms?{query.decode()}.{NONCE}")
    flipped = flip_byte(query, position, delta).decode("latin-1")
    assume(parse_qsl(flipped) != parse_qsl(query.decode()))
    callback = build_callback(b"", signature, target=f"/sms?{flipped}", method="GET")
    assert expect_rejection(callback) in {SIGNATURE_HEADER, "url"}


@pytest.mark.parametrize(
    ("body", "media_type", "method"),
    [
        (b'{"any": "thing"}', "application/json", "POST"),
        (BODY, "application/x-www-form-urlencoded", "GET"),
        (b"A&B", "application/x-www-form-urlencoded", "POST"),
        (b"A=%ff", "application/x-www-form-urlencoded", "POST"),
        (b"\xff=1", "application/x-www-form-urlencoded", "POST"),
    ],
)
def test_unsigned_or_malformed_body_is_rejected(body: bytes, media_type: str, method: str) -> None:
    assert expect_rejection(build_callback(body, media_type=media_type, method=method)) == "body"


@pytest.mark.parametrize("target", ["/?a=%ff", "/?" + "a=1&" * 10_001, "/\ud800"])
def test_malformed_url_is_rejected(target: str) -> None:
    assert expect_rejection(build_callback(target=target)) == "url"


@given(
    body=st.binary(),
    signature=st.text(),
    nonce=st.text(),
    target=st.text(),
    method=st.sampled_from(["GET", "POST"]),
    public_url=st.text(),
)
def test_arbitrary_input_is_rejected(
    *, body: bytes, signature: str, nonce: str, target: str, method: str, public_url: str
) -> None:
    expect_rejection(build_callback(body, signature, target=target, nonce=nonce, method=method, public_url=public_url))


@pytest.mark.parametrize("token", ["", "\ud800"])
def test_empty_or_invalid_token_is_rejected(token: str) -> None:
    with pytest.raises(InvalidSecret):
        PlivoV3([token])


def test_repr_hides_tokens() -> None:
    assert TOKEN not in repr(SCHEME)


def test_query_in_other_order_is_the_same_query() -> None:
    first, second, other = (build_callback(target=target) for target in ("/sms?b=2&a=1", "/sms?a=%31&b=2", "/sms?a=2"))
    assert SCHEME.normalize_query(first) == SCHEME.normalize_query(second) == b"a=1&b=2"
    assert SCHEME.normalize_query(other) == b"a=2"
