"""Twilio's signature: published vectors, Twilio's own library as signer, and everything that is refused."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]  # twilio has no types
from werkzeug.datastructures import MultiDict

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.base import InvalidSecret, SignatureRefused
from receiver.signatures.twilio import Twilio

TOKEN = "12345"
PUBLIC_URL = "https://mycompany.com"
TARGET = "/myapp.php?foo=1&bar=2"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SCHEME = Twilio([TOKEN])

# The vector of https://www.twilio.com/docs/usage/security, and one recomputed from the rule for a JSON body.
PARAMS = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
BODY = urlencode(PARAMS).encode()
SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
JSON_BODY = b'{"property": "value", "boolean": true}'
JSON_TARGET = f"{TARGET}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
JSON_SIGNATURE = "a9nBmqA0ju/hNViExpshrM61xv4="

texts = st.text(st.characters(exclude_categories=["Cs"]))
pairs = st.lists(st.tuples(texts, texts), max_size=8)


def incoming(
    body: bytes = BODY,
    signature: str = SIGNATURE,
    *,
    target: str = TARGET,
    media_type: str = FORM_MEDIA_TYPE,
    method: str = "POST",
    public_url: str = PUBLIC_URL,
    now: datetime = NOW,
) -> IncomingCallback:
    headers = {"content-type": media_type} | ({"x-twilio-signature": signature} if signature else {})
    return IncomingCallback(method, target, headers, body, now, public_url)


def json_delivery(
    body: bytes = JSON_BODY, signature: str = JSON_SIGNATURE, *, target: str = JSON_TARGET
) -> IncomingCallback:
    return incoming(body, signature, target=target, media_type="application/json")


def refusal(given: IncomingCallback, scheme: Twilio = SCHEME) -> str:
    """Give the part of the recipe that failed."""
    with pytest.raises(SignatureRefused) as caught:
        scheme.verify(given)
    assert TOKEN not in str(caught.value)
    return caught.value.part


def by_twilio(url: str, params: list[tuple[str, str]], token: str = TOKEN) -> str:
    return str(RequestValidator(token).compute_signature(url, MultiDict(params)))


def flipped(data: bytes, position: int, actor: int) -> bytes:
    position %= len(data)
    return data[:position] + bytes([(data[position] + actor) % 256]) + data[position + 1 :]


def test_the_published_form_verifies() -> None:
    assert SCHEME.verify(incoming()) == 0


def test_a_json_body_verifies_by_the_hash_in_its_url() -> None:
    assert SCHEME.verify(json_delivery()) == 0


@given(params=pairs)
def test_what_twilios_library_signs_verifies(params: list[tuple[str, str]]) -> None:
    signature = by_twilio(PUBLIC_URL + TARGET, params)
    assert SCHEME.verify(incoming(urlencode(params).encode(), signature)) == 0


def test_a_repeated_parameter_counts_each_distinct_value_once() -> None:
    params = [("To", "b"), ("To", "a"), ("To", "b"), ("From", "c")]
    assert SCHEME.verify(incoming(urlencode(params).encode(), by_twilio(PUBLIC_URL + TARGET, params))) == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_body_the_url_alone_is_signed(method: str) -> None:
    signature = by_twilio(PUBLIC_URL + TARGET, [])
    assert SCHEME.verify(incoming(b"", signature, method=method)) == 0


@pytest.mark.parametrize(
    ("configured", "signed"),
    [
        ("https://mycompany.com", "https://mycompany.com:443"),
        ("https://mycompany.com:443", "https://mycompany.com"),
        ("https://mycompany.com:8443", "https://mycompany.com:8443"),
        ("https://mycompany.com:8443", "https://mycompany.com"),
        ("http://mycompany.com", "http://mycompany.com:80"),
        ("https://user:1@mycompany.com", "https://user:1@mycompany.com:443"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:443"),
        ("https://mycompany.com/in/front", "https://mycompany.com:443/in/front"),
    ],
)
def test_the_url_may_be_signed_with_or_without_its_port(configured: str, signed: str) -> None:
    signature = by_twilio(signed + TARGET, list(PARAMS.items()))
    assert SCHEME.verify(incoming(signature=signature, public_url=configured)) == 0


@pytest.mark.parametrize("signed", ["https://mycompany.com:80", "https://mycompany.com:8443", "http://mycompany.com"])
def test_another_port_or_scheme_is_refused(signed: str) -> None:
    signature = by_twilio(signed + TARGET, list(PARAMS.items()))
    assert refusal(incoming(signature=signature)) == "x-twilio-signature"


def test_a_configured_public_url_stands_in_for_that_of_the_delivery() -> None:
    behind_a_proxy = incoming(public_url="http://10.0.0.1:8080")
    assert Twilio([TOKEN], public_url=PUBLIC_URL).verify(behind_a_proxy) == 0
    assert refusal(behind_a_proxy) == "x-twilio-signature"
    assert refusal(incoming(public_url="")) == "url"


def test_any_live_token_may_have_signed_and_its_place_is_told() -> None:
    assert Twilio(["retired", TOKEN]).verify(incoming()) == 1
    assert refusal(incoming(), Twilio(["retired"])) == "x-twilio-signature"
    assert refusal(incoming(), Twilio([])) == "x-twilio-signature"


@pytest.mark.parametrize("days", [-10_000, 10_000])
def test_no_time_is_signed_so_that_none_is_judged(days: int) -> None:
    assert SCHEME.verify(incoming(now=NOW + timedelta(days=days))) == 0
    assert SCHEME.message_id(incoming()) == ""


@pytest.mark.parametrize("signature", ["", " ", SIGNATURE[:-1], SIGNATURE + "\n", SIGNATURE.lower(), "é€\ud800"])
def test_a_missing_or_malformed_signature_is_refused(signature: str) -> None:
    assert refusal(incoming(signature=signature)) == "x-twilio-signature"


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_the_signature_is_refused(position: int, actor: int) -> None:
    signature = flipped(SIGNATURE.encode(), position, actor).decode("latin-1")
    assert refusal(incoming(signature=signature)) == "x-twilio-signature"


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_a_form_that_changes_its_parameters_is_refused(position: int, actor: int) -> None:
    body = flipped(BODY, position, actor)
    assume(parse_qsl(body.decode("latin-1")) != parse_qsl(BODY.decode()))
    assert refusal(incoming(body)) in {"x-twilio-signature", "body"}


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_a_json_body_is_refused(position: int, actor: int) -> None:
    assert refusal(json_delivery(flipped(JSON_BODY, position, actor))) == "bodySHA256"


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_the_target_is_refused(position: int, actor: int) -> None:
    target = flipped(JSON_TARGET.encode(), position, actor).decode("latin-1")
    assert refusal(json_delivery(target=target)) in {"x-twilio-signature", "bodySHA256", "body"}


@pytest.mark.parametrize("body", [b"A&B", b"A=1&&B=2", b"A", b"=", b"A=%ff", b"A=\xff", b"A=1&" * 10_001 + b"B=2"])
def test_a_form_that_is_not_well_formed_is_refused(body: bytes) -> None:
    assert refusal(incoming(body)) in {"body", "x-twilio-signature"}


def test_a_name_without_a_value_cannot_take_the_place_of_a_parameter() -> None:
    signature = by_twilio(PUBLIC_URL + TARGET, [("A", "B")])
    assert SCHEME.verify(incoming(b"A=B", signature)) == 0
    assert refusal(incoming(b"A&B", signature)) == "body"


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "", "multipart/form-data"])
def test_a_body_that_nothing_signs_is_refused(media_type: str) -> None:
    signature = by_twilio(PUBLIC_URL + TARGET, [])
    assert refusal(incoming(b'{"any": "thing"}', signature, media_type=media_type)) == "body"


def test_a_body_sent_by_get_is_refused() -> None:
    assert refusal(incoming(method="GET")) == "body"


def test_a_hash_in_the_url_binds_a_form_too() -> None:
    assert refusal(incoming(b"", JSON_SIGNATURE, target=JSON_TARGET)) == "bodySHA256"
    assert refusal(incoming(JSON_BODY, JSON_SIGNATURE, target=JSON_TARGET)) == "body"


def test_a_second_hash_in_the_url_cannot_speak_for_another_body() -> None:
    target = f"{JSON_TARGET}&bodySHA256={sha256(b'other').hexdigest()}"
    signature = by_twilio(PUBLIC_URL + target, [])
    assert refusal(json_delivery(JSON_BODY, signature, target=target)) == "bodySHA256"
    assert refusal(json_delivery(b"other", signature, target=target)) == "bodySHA256"


@given(
    body=st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")),
    signature=st.text(),
    target=st.text() | st.builds("/?bodySHA256={}".format, st.text()),
    media_type=st.sampled_from([FORM_MEDIA_TYPE, "application/json"]) | st.text(),
    method=st.sampled_from(["GET", "POST"]),
    public_url=st.just(PUBLIC_URL) | st.text(),
)
def test_whatever_arrives_is_refused_and_never_breaks(
    *, body: bytes, signature: str, target: str, media_type: str, method: str, public_url: str
) -> None:
    refusal(incoming(body, signature, target=target, media_type=media_type, method=method, public_url=public_url))


@pytest.mark.parametrize("token", ["", "\ud800"])
def test_an_empty_or_broken_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidSecret):
        Twilio([TOKEN, token])


def test_a_verifier_never_shows_its_tokens() -> None:
    assert TOKEN not in repr(SCHEME)
