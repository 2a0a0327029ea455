"""Twilio's signature, against published vectors and Twilio's own library, and every kind of rejected callback."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]  # twilio has no types
from werkzeug.datastructures import MultiDict

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.base import InvalidSecret, InvalidSignature
from receiver.signatures.coverage import Coverage
from receiver.signatures.twilio import Twilio
from tests.support.changes import flip_byte

TOKEN = "12345"
PUBLIC_URL = "https://mycompany.com"
TARGET = "/myapp.php?foo=1&bar=2"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SCHEME = Twilio([TOKEN])

# The vector of https://www.twilio.com/docs/usage/security, and one computed by the documented rule for a JSON body.
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


def build_callback(
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


def build_json_callback(
    body: bytes = JSON_BODY, signature: str = JSON_SIGNATURE, *, target: str = JSON_TARGET
) -> IncomingCallback:
    return build_callback(body, signature, target=target, media_type="application/json")


def expect_rejection(callback: IncomingCallback, scheme: Twilio = SCHEME) -> str:
    """Verify a callback that must be rejected; return the part that failed."""
    with pytest.raises(InvalidSignature) as caught:
        scheme.verify(callback)
    assert TOKEN not in str(caught.value)
    return caught.value.part


def sign_with_twilio(url: str, params: list[tuple[str, str]], token: str = TOKEN) -> str:
    return str(RequestValidator(token).compute_signature(url, MultiDict(params)))


def test_published_form_verifies() -> None:
    assert SCHEME.verify(build_callback()) == 0


def test_signature_covers_body_and_query() -> None:
    assert SCHEME.coverage == Coverage(body=True, query=True)
    assert list(SCHEME.signature_headers) == ["x-twilio-signature"]


def test_json_body_verifies_by_hash_in_url() -> None:
    assert SCHEME.verify(build_json_callback()) == 0


@given(params=pairs)
def test_signature_of_twilio_library_verifies(params: list[tuple[str, str]]) -> None:
    signature = sign_with_twilio(PUBLIC_URL + TARGET, params)
    assert SCHEME.verify(build_callback(urlencode(params).encode(), signature)) == 0


def test_repeated_parameter_is_signed_once_per_distinct_value() -> None:
    params = [("To", "b"), ("To", "a"), ("To", "b"), ("From", "c")]
    assert SCHEME.verify(build_callback(urlencode(params).encode(), sign_with_twilio(PUBLIC_URL + TARGET, params))) == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_url_alone_is_signed_without_body(method: str) -> None:
    signature = sign_with_twilio(PUBLIC_URL + TARGET, [])
    assert SCHEME.verify(build_callback(b"", signature, method=method)) == 0


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
def test_url_may_be_signed_with_or_without_port(configured: str, signed: str) -> None:
    signature = sign_with_twilio(signed + TARGET, list(PARAMS.items()))
    assert SCHEME.verify(build_callback(signature=signature, public_url=configured)) == 0


@pytest.mark.parametrize("signed", ["https://mycompany.com:80", "https://mycompany.com:8443", "http://mycompany.com"])
def test_different_port_or_scheme_is_rejected(signed: str) -> None:
    signature = sign_with_twilio(signed + TARGET, list(PARAMS.items()))
    assert expect_rejection(build_callback(signature=signature)) == "x-twilio-signature"


def test_configured_public_url_replaces_callback_url() -> None:
    proxied = build_callback(public_url="http://10.0.0.1:8080")
    assert Twilio([TOKEN], public_url=PUBLIC_URL).verify(proxied) == 0
    assert expect_rejection(proxied) == "x-twilio-signature"
    assert expect_rejection(build_callback(public_url="")) == "url"


def test_verify_returns_index_of_matching_token() -> None:
    assert Twilio(["retired", TOKEN]).verify(build_callback()) == 1
    assert expect_rejection(build_callback(), Twilio(["retired"])) == "x-twilio-signature"
    assert expect_rejection(build_callback(), Twilio([])) == "x-twilio-signature"


@pytest.mark.parametrize("days", [-10_000, 10_000])
def test_age_of_callback_is_not_checked(days: int) -> None:
    assert SCHEME.verify(build_callback(now=NOW + timedelta(days=days))) == 0
    assert SCHEME.message_id(build_callback()) == ""


@pytest.mark.parametrize("signature", ["", " ", SIGNATURE[:-1], SIGNATURE + "\n", SIGNATURE.lower(), "é€\ud800"])
def test_missing_or_malformed_signature_is_rejected(signature: str) -> None:
    assert expect_rejection(build_callback(signature=signature)) == "x-twilio-signature"


@pytest.mark.parametrize(
    ("callback", "part", "message"),
    [
        (build_callback(signature=""), "x-twilio-signature", "The header x-twilio-signature is missing."),
        (
            build_callback(signature=JSON_SIGNATURE),
            "x-twilio-signature",
            "The signature does not match any configured auth token.",
        ),
        (build_json_callback(b"{}"), "bodySHA256", "The body does not have the hash that the URL contains."),
        (build_callback(target="/\ud800"), "url", "The URL is not valid Unicode."),
        (build_callback(target="/?" + "a=1&" * 10_000 + "b=2"), "url", "The URL has too many parameters."),
        (
            build_callback(public_url=""),
            "url",
            "The public URL is unknown. Set RECEIVER_PUBLIC_URL or public_url.",
        ),
    ],
)
def test_rejection_says_what_is_wrong(callback: IncomingCallback, part: str, message: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        SCHEME.verify(callback)
    assert (caught.value.part, str(caught.value)) == (part, message)


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_signature_byte_is_rejected(position: int, delta: int) -> None:
    signature = flip_byte(SIGNATURE.encode(), position, delta).decode("latin-1")
    assert expect_rejection(build_callback(signature=signature)) == "x-twilio-signature"


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_form_parameter_is_rejected(position: int, delta: int) -> None:
    body = flip_byte(BODY, position, delta)
    assume(parse_qsl(body.decode("latin-1")) != parse_qsl(BODY.decode()))
    assert expect_rejection(build_callback(body)) in {"x-twilio-signature", "body"}


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_json_body_byte_is_rejected(position: int, delta: int) -> None:
    assert expect_rejection(build_json_callback(flip_byte(JSON_BODY, position, delta))) == "bodySHA256"


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_target_byte_is_rejected(position: int, delta: int) -> None:
    target = flip_byte(JSON_TARGET.encode(), position, delta).decode("latin-1")
    assert expect_rejection(build_json_callback(target=target)) in {"x-twilio-signature", "bodySHA256", "body"}


@pytest.mark.parametrize("body", [b"A&B", b"A=1&&B=2", b"A", b"=", b"A=%ff", b"A=\xff", b"A=1&" * 10_001 + b"B=2"])
def test_malformed_form_is_rejected(body: bytes) -> None:
    assert expect_rejection(build_callback(body)) in {"body", "x-twilio-signature"}


def test_name_without_value_cannot_replace_parameter() -> None:
    signature = sign_with_twilio(PUBLIC_URL + TARGET, [("A", "B")])
    assert SCHEME.verify(build_callback(b"A=B", signature)) == 0
    assert expect_rejection(build_callback(b"A&B", signature)) == "body"


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "", "multipart/form-data"])
def test_unsigned_body_is_rejected(media_type: str) -> None:
    signature = sign_with_twilio(PUBLIC_URL + TARGET, [])
    assert expect_rejection(build_callback(b'{"any": "thing"}', signature, media_type=media_type)) == "body"


def test_body_sent_by_get_is_rejected() -> None:
    assert expect_rejection(build_callback(method="GET")) == "body"


def test_hash_in_url_also_covers_form() -> None:
    assert expect_rejection(build_callback(b"", JSON_SIGNATURE, target=JSON_TARGET)) == "bodySHA256"
    assert expect_rejection(build_callback(JSON_BODY, JSON_SIGNATURE, target=JSON_TARGET)) == "body"


def test_second_hash_in_url_cannot_cover_another_body() -> None:
    target = f"{JSON_TARGET}&bodySHA256={sha256(b'other').hexdigest()}"
    signature = sign_with_twilio(PUBLIC_URL + target, [])
    assert expect_rejection(build_json_callback(JSON_BODY, signature, target=target)) == "bodySHA256"
    assert expect_rejection(build_json_callback(b"other", signature, target=target)) == "bodySHA256"


@pytest.mark.parametrize("parameter", ["bodySHA256=", "bodySHA256"])
def test_empty_hash_in_url_is_rejected_despite_signature(parameter: str) -> None:
    target = f"{TARGET}&{parameter}"
    signature = sign_with_twilio(PUBLIC_URL + target, list(PARAMS.items()))
    assert expect_rejection(build_callback(BODY, signature, target=target)) == "bodySHA256"


@given(
    body=st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")),
    signature=st.text(),
    target=st.text() | st.builds("/?bodySHA256={}".format, st.text()),
    media_type=st.sampled_from([FORM_MEDIA_TYPE, "application/json"]) | st.text(),
    method=st.sampled_from(["GET", "POST"]),
    public_url=st.just(PUBLIC_URL) | st.text(),
)
def test_arbitrary_input_is_rejected(
    *, body: bytes, signature: str, target: str, media_type: str, method: str, public_url: str
) -> None:
    expect_rejection(
        build_callback(body, signature, target=target, media_type=media_type, method=method, public_url=public_url)
    )


@pytest.mark.parametrize("token", ["", "\ud800"])
def test_empty_or_invalid_token_is_rejected(token: str) -> None:
    with pytest.raises(InvalidSecret):
        Twilio([TOKEN, token])


def test_repr_hides_tokens() -> None:
    assert TOKEN not in repr(SCHEME)


@pytest.mark.parametrize(
    "signed_query",
    [
        "CallSid=CA1&Caller=sip%3A1234%40192.0.2.1&x=a%2Cb%26c",
        "CallSid=CA1&Caller=sip:1234@192.0.2.1&x=a%2Cb%26c",
        "CallSid=CA1&Caller=sip:1234@192.0.2.1&x=a,b%26c",
    ],
)
def test_query_may_be_signed_with_its_escapes_decoded(signed_query: str) -> None:
    signature = sign_with_twilio(f"{PUBLIC_URL}/callbacks/twilio?{signed_query}", [])
    target = "/callbacks/twilio?CallSid=CA1&Caller=sip%3A1234%40192.0.2.1&x=a%2Cb%26c"
    callback = build_callback(b"", signature, target=target, method="GET")
    assert SCHEME.verify(callback) == 0
    assert SCHEME.normalize_query(callback) == SCHEME.normalize_query(
        build_callback(b"", signature, target=f"/callbacks/twilio?{signed_query}", method="GET")
    )
    expect_rejection(build_callback(b"", signature, target=target.replace("%26", "&"), method="GET"))
    expect_rejection(build_callback(b"", signature, target=target.replace("%3A", "%253A"), method="GET"))
