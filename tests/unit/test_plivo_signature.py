"""Plivo's signature V3: the rule written out by hand as the independent signer, and everything that is refused."""

import hmac
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSecret, SignatureRefused
from receiver.signatures.plivo import PlivoV3

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


def signature_of(content: str, token: str = TOKEN) -> str:
    return b64encode(hmac.digest(token.encode(), content.encode(), "sha256")).decode()


SIGNATURE = signature_of(f"{PUBLIC_URL}/sms?{FORM_CONTENT}.{NONCE}")


def incoming(
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


def refusal(given: IncomingCallback, scheme: PlivoV3 = SCHEME) -> str:
    """Give the part of the recipe that failed."""
    with pytest.raises(SignatureRefused) as caught:
        scheme.verify(given)
    assert TOKEN not in str(caught.value)
    return caught.value.part


def flipped(data: bytes, position: int, actor: int) -> bytes:
    position %= len(data)
    return data[:position] + bytes([(data[position] + actor) % 256]) + data[position + 1 :]


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
def test_the_url_its_sorted_query_and_the_sorted_form_are_signed(
    method: str, target: str, body: bytes, content: str
) -> None:
    signature = signature_of(f"{PUBLIC_URL}{content}.{NONCE}")
    assert SCHEME.verify(incoming(body, signature, target=target, method=method)) == 0


@given(params=st.dictionaries(texts, texts, min_size=1, max_size=8))
def test_any_form_verifies_by_the_rule(params: dict[str, str]) -> None:
    content = "".join(f"{name}{params[name]}" for name in sorted(params))
    signature = signature_of(f"{PUBLIC_URL}/sms?{content}.{NONCE}")
    assert SCHEME.verify(incoming(urlencode(params).encode(), signature)) == 0


@pytest.mark.parametrize("given", [f"AAAA,{SIGNATURE}", f"{SIGNATURE},AAAA", f"AAAA, {SIGNATURE} "])
def test_any_of_several_signatures_may_match(given: str) -> None:
    assert SCHEME.verify(incoming(signature=given)) == 0


def test_any_live_token_may_have_signed_and_its_place_is_told() -> None:
    assert PlivoV3(["retired", TOKEN]).verify(incoming()) == 1
    assert refusal(incoming(), PlivoV3(["retired"])) == SIGNATURE_HEADER


def test_a_configured_public_url_stands_in_for_that_of_the_delivery() -> None:
    behind_a_proxy = incoming(public_url="http://10.0.0.1:8080")
    assert PlivoV3([TOKEN], public_url=PUBLIC_URL).verify(behind_a_proxy) == 0
    assert refusal(behind_a_proxy) == SIGNATURE_HEADER


@pytest.mark.parametrize("days", [-10_000, 10_000])
def test_no_time_is_signed_so_that_none_is_judged(days: int) -> None:
    given = incoming()
    moved = IncomingCallback(
        given.method, given.target, given.headers, given.body, NOW + timedelta(days=days), given.public_url
    )
    assert SCHEME.verify(moved) == 0
    assert SCHEME.message_id(moved) == ""


@pytest.mark.parametrize("header", [SIGNATURE_HEADER, NONCE_HEADER])
def test_a_missing_or_empty_header_is_refused_by_name(header: str) -> None:
    given = incoming()
    rest = {name: value for name, value in given.headers.items() if name != header}
    for headers in (rest, rest | {header: ""}):
        assert refusal(IncomingCallback("POST", "/sms", headers, BODY, NOW, PUBLIC_URL)) == header


@pytest.mark.parametrize("signature", [",", SIGNATURE[:-1], SIGNATURE + "=", SIGNATURE.lower(), "é€\ud800"])
def test_a_malformed_signature_is_refused(signature: str) -> None:
    assert refusal(incoming(signature=signature)) == SIGNATURE_HEADER


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_the_signature_is_refused(position: int, actor: int) -> None:
    signature = flipped(SIGNATURE.encode(), position, actor).decode("latin-1")
    assert refusal(incoming(signature=signature)) == SIGNATURE_HEADER


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_the_nonce_is_refused(position: int, actor: int) -> None:
    nonce = flipped(NONCE.encode(), position, actor).decode("latin-1")
    assert refusal(incoming(nonce=nonce)) == SIGNATURE_HEADER


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_a_form_that_changes_its_parameters_is_refused(position: int, actor: int) -> None:
    body = flipped(BODY, position, actor)
    assume(sorted(parse_qsl(body.decode("latin-1"))) != sorted(parse_qsl(BODY.decode())))
    assert refusal(incoming(body)) in {SIGNATURE_HEADER, "body"}


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_a_query_that_changes_its_parameters_is_refused(position: int, actor: int) -> None:
    query = b"From=15550001111&Status=sent"
    signature = signature_of(f"{PUBLIC_URL}/sms?{query.decode()}.{NONCE}")
    moved = flipped(query, position, actor).decode("latin-1")
    assume(parse_qsl(moved) != parse_qsl(query.decode()))
    given = incoming(b"", signature, target=f"/sms?{moved}", method="GET")
    assert refusal(given) in {SIGNATURE_HEADER, "url"}


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
def test_a_body_that_nothing_signs_or_that_is_malformed_is_refused(body: bytes, media_type: str, method: str) -> None:
    assert refusal(incoming(body, media_type=media_type, method=method)) == "body"


@pytest.mark.parametrize("target", ["/?a=%ff", "/?" + "a=1&" * 10_001, "/\ud800"])
def test_a_malformed_url_is_refused(target: str) -> None:
    assert refusal(incoming(target=target)) == "url"


@given(
    body=st.binary(),
    signature=st.text(),
    nonce=st.text(),
    target=st.text(),
    method=st.sampled_from(["GET", "POST"]),
    public_url=st.text(),
)
def test_whatever_arrives_is_refused_and_never_breaks(
    *, body: bytes, signature: str, nonce: str, target: str, method: str, public_url: str
) -> None:
    refusal(incoming(body, signature, target=target, nonce=nonce, method=method, public_url=public_url))


@pytest.mark.parametrize("token", ["", "\ud800"])
def test_an_empty_or_broken_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidSecret):
        PlivoV3([token])


def test_a_verifier_never_shows_its_tokens() -> None:
    assert TOKEN not in repr(SCHEME)
