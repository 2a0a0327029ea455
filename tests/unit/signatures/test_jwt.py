"""JWTs by shared secrets as Vonage signs them, against PyJWT as signer, and every kind of rejected token."""

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
from receiver.signatures.base import InvalidSecret, InvalidSignature
from receiver.signatures.jwt import Jwt
from tests.support.changes import change_character

SECRET = "a signature secret of forty characters.."
OTHER_SECRET = "another secret, of forty characters too."
SIGNED_AT = 1_767_312_000
BODY = b'{"message_uuid":"aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab","status":"delivered"}'
CLAIMS: dict[str, Any] = {
    "iat": SIGNED_AT,
    "jti": "c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5",
    "iss": "Vonage",
    "payload_hash": sha256(BODY).hexdigest(),
    "api_key": "a1b2c3d",
    "application_id": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
}


def build_scheme(*secrets: str, **settings: Any) -> Jwt:
    return Jwt(secrets, **{"algorithms": ("HS256",), "body_hash": "payload_hash"} | settings)


SCHEME = build_scheme(SECRET)


def build_token(*, secret: str = SECRET, without: str = "", **claims: Any) -> str:
    payload = {name: value for name, value in (CLAIMS | claims).items() if name != without}
    return jwt.encode(payload, secret, algorithm="HS256")


def encode_base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_token(head: bytes, claims: bytes = orjson.dumps(CLAIMS)) -> str:
    """Return a correctly signed token with exactly these bytes."""
    content = f"{encode_base64url(head)}.{encode_base64url(claims)}"
    return f"{content}.{encode_base64url(hmac.digest(SECRET.encode(), content.encode(), 'sha256'))}"


TOKEN = build_token()


def build_callback(token: str = TOKEN, body: bytes = BODY, now: float = SIGNED_AT) -> IncomingCallback:
    return IncomingCallback("POST", "/", {"authorization": f"Bearer {token}"}, body, datetime.fromtimestamp(now, UTC))


def expect_rejection(callback: IncomingCallback, scheme: Jwt = SCHEME) -> str:
    """Verify a callback that must be rejected; return the part that failed."""
    with pytest.raises(InvalidSignature) as caught:
        scheme.verify(callback)
    assert SECRET not in str(caught.value)
    return caught.value.part


def test_signed_webhook_verifies_and_has_message_id() -> None:
    assert SCHEME.verify(build_callback()) == 0
    assert SCHEME.message_id(build_callback()) == CLAIMS["jti"]


@given(body=st.binary(), secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=32))
def test_signature_of_pyjwt_verifies(body: bytes, secret: str) -> None:
    token = build_token(secret=secret, payload_hash=sha256(body).hexdigest())
    assert build_scheme(secret).verify(build_callback(token, body)) == 0


def test_verify_returns_index_of_matching_secret() -> None:
    assert build_scheme(OTHER_SECRET, SECRET).verify(build_callback()) == 1
    assert expect_rejection(build_callback(), build_scheme(OTHER_SECRET)) == "signature"
    assert expect_rejection(build_callback(), build_scheme()) == "signature"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_authorization_scheme_is_case_insensitive(scheme: str) -> None:
    headers = {"authorization": f"{scheme} {TOKEN}"}
    callback = IncomingCallback("POST", "/", headers, BODY, datetime.fromtimestamp(SIGNED_AT, UTC))
    assert SCHEME.verify(callback) == 0


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"authorization": TOKEN}, {"authorization": "Basic x"}])
def test_missing_bearer_token_is_rejected(headers: dict[str, str]) -> None:
    callback = IncomingCallback("POST", "/", headers, BODY, datetime.fromtimestamp(SIGNED_AT, UTC))
    assert expect_rejection(callback) == "authorization"
    assert SCHEME.message_id(callback) == ""


@pytest.mark.parametrize("token", ["", ".", "a.b", f"{TOKEN}.", f".{TOKEN}", f"{TOKEN}.{TOKEN}"])
def test_token_without_three_parts_is_rejected(token: str) -> None:
    assert expect_rejection(build_callback(token)) == "authorization"


@pytest.mark.parametrize("alg", ["none", "None", "HS384", "HS512", "RS256", "hs256", "", None, 256, ["HS256"]])
def test_other_algorithm_is_rejected_despite_valid_signature(alg: Any) -> None:
    assert expect_rejection(build_callback(sign_token(orjson.dumps({"typ": "JWT", "alg": alg})))) == "alg"


def test_unsigned_token_is_rejected() -> None:
    assert expect_rejection(build_callback(jwt.encode(CLAIMS, "", algorithm="none"))) == "alg"
    head, claims, _ = TOKEN.split(".")
    assert expect_rejection(build_callback(f"{head}.{claims}.")) == "signature"


def test_token_with_critical_extensions_is_rejected() -> None:
    assert expect_rejection(build_callback(sign_token(b'{"alg":"HS256","crit":["b64"],"b64":false}'))) == "crit"


@pytest.mark.parametrize("age", [0, 300, -300])
def test_tolerance_is_two_sided_and_inclusive(age: float) -> None:
    assert SCHEME.verify(build_callback(now=SIGNED_AT + age)) == 0


@pytest.mark.parametrize("age", [300.5, -300.5, 1e8, -1e8])
def test_stale_or_future_token_is_rejected(age: float) -> None:
    assert expect_rejection(build_callback(now=SIGNED_AT + age)) == "iat"
    assert build_scheme(SECRET, tolerance=2e8).verify(build_callback(now=SIGNED_AT + age)) == 0


@pytest.mark.parametrize("iat", [None, "1767312000", True, [], {}, 2**63, -(2**63), 1.7e308])
def test_invalid_iat_is_rejected(iat: Any) -> None:
    assert (
        expect_rejection(build_callback(build_token(iat=iat) if iat is not None else build_token(without="iat")))
        == "iat"
    )


def test_expired_token_is_rejected() -> None:
    token = build_token(exp=SIGNED_AT + 60)
    assert SCHEME.verify(build_callback(token, now=SIGNED_AT + 59)) == 0
    assert expect_rejection(build_callback(token, now=SIGNED_AT + 60)) == "exp"
    assert expect_rejection(build_callback(build_token(exp="never"))) == "exp"


def test_token_that_is_not_valid_yet_is_rejected() -> None:
    token = build_token(nbf=SIGNED_AT + 301)
    assert expect_rejection(build_callback(token)) == "nbf"
    assert SCHEME.verify(build_callback(token, now=SIGNED_AT + 1)) == 0
    assert expect_rejection(build_callback(build_token(nbf="never"))) == "nbf"


@pytest.mark.parametrize(
    "claim", ["", "é", 1, None, [], sha256(b"other").hexdigest(), sha256(BODY).hexdigest().upper()]
)
def test_token_for_another_body_is_rejected(claim: Any) -> None:
    assert expect_rejection(build_callback(build_token(payload_hash=claim))) == "payload_hash"


def test_token_without_payload_hash_is_rejected() -> None:
    assert expect_rejection(build_callback(build_token(without="payload_hash"))) == "payload_hash"


@given(position=st.integers(0, len(BODY) - 1), delta=st.integers(1, 255))
def test_changed_body_byte_is_rejected(position: int, delta: int) -> None:
    body = bytearray(BODY)
    body[position] = (body[position] + delta) % 256
    assert expect_rejection(build_callback(body=bytes(body))) == "payload_hash"


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_token_byte_is_rejected(position: int, delta: int) -> None:
    assert expect_rejection(build_callback(change_character(TOKEN, position, delta))) in {
        "authorization",
        "alg",
        "signature",
    }


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (build_callback("a.b"), "The header authorization is not Bearer with a signed JWT."),
        (build_callback(sign_token(b'{"alg":"none"}')), "The token must be signed with HS256 or HS512."),
        (
            build_callback(build_token(secret=OTHER_SECRET)),
            "The token's signature does not match any configured secret.",
        ),
        (build_callback(now=SIGNED_AT + 301), "Signed 301 s ago; the tolerance is 300 s."),
        (build_callback(build_token(iat="now")), "The claim iat is not a number of seconds."),
        (build_callback(build_token(exp=SIGNED_AT)), "The token has expired."),
        (build_callback(build_token(nbf=SIGNED_AT + 301)), "The token is not valid yet."),
        (build_callback(build_token(aud="acme"), b"{}"), "The claim payload_hash is not the hash of the body."),
        (build_callback(build_token(aud="other")), "The token is for another audience."),
        (build_callback(build_token(aud="acme", iss="other")), "The token is of another issuer."),
        (build_callback(build_token(aud="acme", api_key="x")), "The claim api_key does not have the configured value."),
        (build_callback(build_token(aud="acme", url="00")), "The claim url is not the hash of the URL."),
    ],
)
def test_rejection_says_what_is_wrong(callback: IncomingCallback, message: str) -> None:
    scheme = build_scheme(
        SECRET,
        algorithms=("HS256", "HS512"),
        audience=("acme",),
        issuer=("Vonage",),
        claims={"api_key": CLAIMS["api_key"]},
        url_hash="url",
    )
    with pytest.raises(InvalidSignature) as caught:
        scheme.verify(callback)
    assert str(caught.value) == message


def test_rejection_names_all_algorithms_of_secrets() -> None:
    with pytest.raises(InvalidSignature, match=r"^The token must be signed with HS256 or HS384 or HS512\.$"):
        build_scheme(SECRET, algorithms=()).verify(build_callback(sign_token(b'{"alg":"none"}')))


def test_claim_may_have_any_of_several_values() -> None:
    scheme = build_scheme(SECRET, claims={"api_key": ["other", CLAIMS["api_key"]]})
    assert scheme.verify(build_callback()) == 0
    assert expect_rejection(build_callback(build_token(api_key="third")), scheme) == "api_key"
    assert expect_rejection(build_callback(build_token(api_key=["other", CLAIMS["api_key"]])), scheme) == "api_key"


def test_hash_with_half_a_surrogate_pair_is_rejected() -> None:
    claims = orjson.dumps(CLAIMS).replace(CLAIMS["payload_hash"].encode(), b"\\ud800")
    assert expect_rejection(build_callback(sign_token(b'{"alg":"HS256"}', claims))) == "payload_hash"


@pytest.mark.parametrize("seconds", [10**12, -(10**12)])
def test_time_beyond_all_times_is_rejected_at_any_tolerance(seconds: int) -> None:
    scheme = build_scheme(SECRET, tolerance=1e13)
    assert expect_rejection(build_callback(build_token(iat=seconds)), scheme) == "iat"
    assert scheme.verify(build_callback(build_token(iat=seconds - seconds // 10**12))) == 0


def test_length_of_token_is_limited() -> None:
    head, limit = b'{"alg":"HS256"}', 16 << 10
    size = len(f"Bearer {sign_token(head)}")
    padding = b" " * ((limit - size) * 3 // 4)
    tokens = [sign_token(head, orjson.dumps(CLAIMS) + padding + b" " * more) for more in range(4)]
    longest = max((token for token in tokens if len(token) <= limit - 7), key=len)
    assert len(longest) == limit - 7
    assert SCHEME.verify(build_callback(longest)) == 0
    for token in tokens:
        if len(token) > len(longest):
            assert expect_rejection(build_callback(token)) == "authorization"
    assert len(tokens[-1]) > len(longest)


def test_url_hash_is_of_the_configured_public_url() -> None:
    token = build_token(url_hash=sha256(b"https://public.example/").hexdigest())
    scheme = build_scheme(SECRET, url_hash="url_hash", public_url="https://public.example")
    assert scheme.verify(build_callback(token)) == 0
    assert expect_rejection(build_callback(token), build_scheme(SECRET, url_hash="url_hash")) == "url_hash"


def test_token_in_body_is_read_by_the_kind_of_the_body() -> None:
    scheme = build_scheme(SECRET, source="token", body_hash="")
    callback = IncomingCallback("POST", "/", {}, f"token={TOKEN}".encode(), datetime.fromtimestamp(SIGNED_AT, UTC))
    assert scheme.with_body_kind("form").verify(callback) == 0
    assert scheme.with_body_kind("form").message_id(callback) == CLAIMS["jti"]
    assert expect_rejection(callback, scheme) == "body"


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"{}", "The field token is missing."), (b'{"token":"a.b"}', "The field token is not a signed JWT.")],
)
def test_missing_or_malformed_token_of_body_is_rejected(body: bytes, message: str) -> None:
    callback = IncomingCallback("POST", "/", {}, body, datetime.fromtimestamp(SIGNED_AT, UTC))
    with pytest.raises(InvalidSignature) as caught:
        build_scheme(SECRET, source="token", body_hash="").verify(callback)
    assert (caught.value.part, str(caught.value)) == ("token", message)


@pytest.mark.parametrize("change", [lambda text: text + "=", lambda text: text + "\n", lambda text: text[:-1]])
def test_base64url_must_be_canonical(change: Any) -> None:
    head, claims, signature = TOKEN.split(".")
    assert expect_rejection(build_callback(f"{head}.{claims}.{change(signature)}")) == "signature"


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b"1", b"[" * 10_000, b'{"a":1e999}', b"\xff", b'"\\ud800"', b"{" * 5_000]
)
def test_token_part_must_be_json_object(text: bytes) -> None:
    assert expect_rejection(build_callback(sign_token(text))) == "alg"
    assert expect_rejection(build_callback(sign_token(b'{"alg":"HS256"}', text))) == "claims"


@pytest.mark.parametrize("jti", [None, 1, ["a"]])
def test_message_id_is_empty_unless_jti_is_text(jti: Any) -> None:
    assert SCHEME.message_id(build_callback(build_token(jti=jti))) == ""


@given(header=st.text() | st.builds("Bearer {}.{}.{}".format, st.text(), st.text(), st.text()), body=st.binary())
def test_arbitrary_input_is_rejected(header: str, body: bytes) -> None:
    callback = IncomingCallback("POST", "/", {"authorization": header}, body, datetime.fromtimestamp(SIGNED_AT, UTC))
    expect_rejection(callback)
    SCHEME.message_id(callback)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda values: st.lists(values, max_size=3),
    max_leaves=3,
)


@given(
    head=st.binary() | st.just(b'{"alg":"HS256"}'), claims=st.dictionaries(st.sampled_from(sorted(CLAIMS)), json_values)
)
def test_arbitrary_signed_claims_raise_no_other_error(head: bytes, claims: dict[str, Any]) -> None:
    expect_rejection(build_callback(sign_token(head, orjson.dumps(claims))))


@pytest.mark.parametrize("secret", ["", "\ud800"])
def test_empty_or_invalid_secret_is_rejected(secret: str) -> None:
    with pytest.raises(InvalidSecret):
        build_scheme(SECRET, secret)


def test_repr_hides_secrets() -> None:
    assert SECRET not in repr(SCHEME)
