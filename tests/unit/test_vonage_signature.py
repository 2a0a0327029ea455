"""Vonage's signed webhooks: PyJWT as the independent signer, and everything that is refused."""

import hmac
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSecret, SignatureRefused
from receiver.signatures.vonage import VonageJWT

SECRET = "a signature secret of forty characters.."
OTHER_SECRET = "another secret, of forty characters too."
AT = 1_767_312_000
BODY = b'{"message_uuid":"aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab","status":"delivered"}'
CLAIMS: dict[str, Any] = {
    "iat": AT,
    "jti": "c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5",
    "iss": "Vonage",
    "payload_hash": sha256(BODY).hexdigest(),
    "api_key": "a1b2c3d",
    "application_id": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
}
SCHEME = VonageJWT([SECRET])


def token_of(*, secret: str = SECRET, without: str = "", **claims: Any) -> str:
    given = {name: value for name, value in (CLAIMS | claims).items() if name != without}
    return jwt.encode(given, secret, algorithm="HS256")


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def handmade(head: bytes, claims: bytes = orjson.dumps(CLAIMS)) -> str:
    """Give a token with these very bytes, rightly signed."""
    content = f"{encoded(head)}.{encoded(claims)}"
    return f"{content}.{encoded(hmac.digest(SECRET.encode(), content.encode(), 'sha256'))}"


TOKEN = token_of()


def incoming(token: str = TOKEN, body: bytes = BODY, now: float = AT) -> IncomingCallback:
    return IncomingCallback("POST", "/", {"authorization": f"Bearer {token}"}, body, datetime.fromtimestamp(now, UTC))


def refusal(given: IncomingCallback, scheme: VonageJWT = SCHEME) -> str:
    """Give the part of the recipe that failed."""
    with pytest.raises(SignatureRefused) as caught:
        scheme.verify(given)
    assert SECRET not in str(caught.value)
    return caught.value.part


def changed(text: str, position: int, actor: int) -> str:
    position %= len(text)
    return text[:position] + chr((ord(text[position]) + actor) % 256) + text[position + 1 :]


def test_a_signed_webhook_verifies_and_tells_its_id() -> None:
    assert SCHEME.verify(incoming()) == 0
    assert SCHEME.message_id(incoming()) == CLAIMS["jti"]


@given(body=st.binary(), secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=32))
def test_what_the_other_library_signs_verifies(body: bytes, secret: str) -> None:
    token = token_of(secret=secret, payload_hash=sha256(body).hexdigest())
    assert VonageJWT([secret]).verify(incoming(token, body)) == 0


def test_any_live_secret_may_have_signed_and_its_place_is_told() -> None:
    assert VonageJWT([OTHER_SECRET, SECRET]).verify(incoming()) == 1
    assert refusal(incoming(), VonageJWT([OTHER_SECRET])) == "signature"
    assert refusal(incoming(), VonageJWT([])) == "signature"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_authorization_scheme_has_no_case(scheme: str) -> None:
    given = IncomingCallback("POST", "/", {"authorization": f"{scheme} {TOKEN}"}, BODY, datetime.fromtimestamp(AT, UTC))
    assert SCHEME.verify(given) == 0


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"authorization": TOKEN}, {"authorization": "Basic x"}])
def test_without_a_bearer_token_it_is_refused(headers: dict[str, str]) -> None:
    given = IncomingCallback("POST", "/", headers, BODY, datetime.fromtimestamp(AT, UTC))
    assert refusal(given) == "authorization"
    assert SCHEME.message_id(given) == ""


@pytest.mark.parametrize("token", ["", ".", "a.b", f"{TOKEN}.", f".{TOKEN}", f"{TOKEN}.{TOKEN}"])
def test_a_token_of_other_than_three_parts_is_refused(token: str) -> None:
    assert refusal(incoming(token)) == "authorization"


@pytest.mark.parametrize("alg", ["none", "None", "HS384", "HS512", "RS256", "hs256", "", None, 256, ["HS256"]])
def test_another_algorithm_is_refused_though_its_signature_is_right(alg: Any) -> None:
    assert refusal(incoming(handmade(orjson.dumps({"typ": "JWT", "alg": alg})))) == "alg"


def test_an_unsigned_token_is_refused() -> None:
    assert refusal(incoming(jwt.encode(CLAIMS, "", algorithm="none"))) == "alg"
    head, claims, _ = TOKEN.split(".")
    assert refusal(incoming(f"{head}.{claims}.")) == "signature"


def test_a_token_with_critical_extensions_is_refused() -> None:
    assert refusal(incoming(handmade(b'{"alg":"HS256","crit":["b64"],"b64":false}'))) == "crit"


@pytest.mark.parametrize("age", [0, 300, -300])
def test_the_tolerance_has_two_sides_and_its_bounds_are_within(age: float) -> None:
    assert SCHEME.verify(incoming(now=AT + age)) == 0


@pytest.mark.parametrize("age", [300.5, -300.5, 1e8, -1e8])
def test_a_stale_or_future_token_is_refused(age: float) -> None:
    assert refusal(incoming(now=AT + age)) == "iat"
    assert VonageJWT([SECRET], tolerance=2e8).verify(incoming(now=AT + age)) == 0


@pytest.mark.parametrize("iat", [None, "1767312000", True, [], {}, 2**63, -(2**63), 1.7e308])
def test_a_time_that_is_no_number_of_seconds_near_now_is_refused(iat: Any) -> None:
    assert refusal(incoming(token_of(iat=iat) if iat is not None else token_of(without="iat"))) == "iat"


def test_an_expired_token_is_refused() -> None:
    token = token_of(exp=AT + 60)
    assert SCHEME.verify(incoming(token, now=AT + 59)) == 0
    assert refusal(incoming(token, now=AT + 60)) == "exp"
    assert refusal(incoming(token_of(exp="never"))) == "exp"


@pytest.mark.parametrize(
    "claim", ["", "é", 1, None, [], sha256(b"other").hexdigest(), sha256(BODY).hexdigest().upper()]
)
def test_a_token_for_another_body_is_refused(claim: Any) -> None:
    assert refusal(incoming(token_of(payload_hash=claim))) == "payload_hash"


def test_a_token_for_no_body_is_refused() -> None:
    assert refusal(incoming(token_of(without="payload_hash"))) == "payload_hash"


@given(position=st.integers(0, len(BODY) - 1), actor=st.integers(1, 255))
def test_any_changed_byte_of_the_body_is_refused(position: int, actor: int) -> None:
    body = bytearray(BODY)
    body[position] = (body[position] + actor) % 256
    assert refusal(incoming(body=bytes(body))) == "payload_hash"


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_the_token_is_refused(position: int, actor: int) -> None:
    assert refusal(incoming(changed(TOKEN, position, actor))) in {"authorization", "alg", "signature"}


@pytest.mark.parametrize("signature", [lambda text: text + "=", lambda text: text + "\n", lambda text: text[:-1]])
def test_base64url_stands_in_its_one_form_only(signature: Any) -> None:
    head, claims, given = TOKEN.split(".")
    assert refusal(incoming(f"{head}.{claims}.{signature(given)}")) == "signature"


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b"1", b"[" * 100_000, b'{"a":1e999}', b"\xff", b'"\\ud800"', b"{" * 5_000]
)
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    assert refusal(incoming(handmade(text))) == "alg"
    assert refusal(incoming(handmade(b'{"alg":"HS256"}', text))) == "claims"


@pytest.mark.parametrize("jti", [None, 1, ["a"]])
def test_an_id_that_is_no_text_is_none(jti: Any) -> None:
    assert SCHEME.message_id(incoming(token_of(jti=jti))) == ""


@given(header=st.text() | st.builds("Bearer {}.{}.{}".format, st.text(), st.text(), st.text()), body=st.binary())
def test_whatever_arrives_is_refused_and_never_breaks(header: str, body: bytes) -> None:
    given = IncomingCallback("POST", "/", {"authorization": header}, body, datetime.fromtimestamp(AT, UTC))
    refusal(given)
    SCHEME.message_id(given)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda values: st.lists(values, max_size=3),
    max_leaves=3,
)


@given(
    head=st.binary() | st.just(b'{"alg":"HS256"}'), claims=st.dictionaries(st.sampled_from(sorted(CLAIMS)), json_values)
)
def test_whatever_a_holder_of_the_secret_signs_never_breaks(head: bytes, claims: dict[str, Any]) -> None:
    refusal(incoming(handmade(head, orjson.dumps(claims))))


@pytest.mark.parametrize("secret", ["", "\ud800"])
def test_an_empty_or_broken_secret_is_refused(secret: str) -> None:
    with pytest.raises(InvalidSecret):
        VonageJWT([SECRET, secret])


def test_a_verifier_never_shows_its_secrets() -> None:
    assert SECRET not in repr(SCHEME)
