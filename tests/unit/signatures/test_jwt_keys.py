"""JWTs by public keys, against joserfc and PyJWT as signers: algorithms, audience, issuer, hashes of body and URL."""

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256, sha512
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSignature
from receiver.signatures.jwt import Jwt
from receiver.signatures.key_sources import ConfiguredKeys, KeyDocument, NamedCertificate
from receiver.signatures.public_keys import parse_public_key
from receiver.signatures.sources import parse_source
from tests.support.signing_keys import (
    PrivateKey,
    build_certificate,
    build_jwks,
    encode_base64url,
    export_jwk,
    export_pem,
    get_ec_key,
    get_ed25519_key,
    get_rsa_key,
)

NOW = 1_767_312_000
BODY = b'{"id":"job-1","status":"done"}'
JWKS_URL = "https://keys.example/jwks.json"
CLAIMS: dict[str, Any] = {
    "iss": "https://accounts.google.com",
    "aud": "https://callbacks.example/callbacks/events",
    "email": "push@project.iam.gserviceaccount.com",
    "email_verified": True,
    "iat": NOW,
    "exp": NOW + 3_600,
}
DOCUMENTS = {JWKS_URL: build_jwks(export_jwk(get_rsa_key(), kid="a"), export_jwk(get_rsa_key(1), kid="b", alg="RS256"))}
GOOGLE = Jwt(
    key_source=KeyDocument(None, JWKS_URL),
    audience=(CLAIMS["aud"],),
    issuer=("accounts.google.com", "https://accounts.google.com"),
    claims={"email": CLAIMS["email"], "email_verified": True},
)
P384, P521 = get_ec_key(0, ec.SECP384R1), get_ec_key(0, ec.SECP521R1)
KEYS: Mapping[str, PrivateKey] = {
    **dict.fromkeys(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], get_rsa_key()),
    "ES256": get_ec_key(),
    "ES384": P384,
    "ES512": P521,
    "Ed25519": get_ed25519_key(),
}


def import_signer(key: Any) -> Any:
    if isinstance(key, str):
        return OctKey.import_key(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ECKey.import_key(key)
    return RSAKey.import_key(key) if hasattr(key, "key_size") else OKPKey.import_key(key)


def sign(key: Any, algorithm: str, claims: Any = CLAIMS, **header: Any) -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jws.serialize_compact({"alg": algorithm, **header}, payload, import_signer(key), algorithms=[algorithm])


def build_callback(
    token: str, body: bytes = BODY, *, header: str = "authorization", now: float = NOW
) -> IncomingCallback:
    value = f"Bearer {token}" if header == "authorization" else token
    return IncomingCallback(
        "POST",
        "/callbacks/acme?a=1",
        {header: value},
        body,
        datetime.fromtimestamp(now, UTC),
        "https://callbacks.example",
    )


def _verify(scheme: Jwt, callback: IncomingCallback, documents: Mapping[str, bytes]) -> None:
    scheme.find_documents(callback)
    scheme.verify(callback, documents)


def expect_rejection(scheme: Jwt, callback: IncomingCallback, documents: Mapping[str, bytes] = DOCUMENTS) -> str:
    with pytest.raises(InvalidSignature) as caught:
        _verify(scheme, callback, documents)
    return caught.value.part


def build_scheme(*keys: PrivateKey, **settings: Any) -> Jwt:
    source = ConfiguredKeys(None, tuple(parse_public_key(export_pem(key)) for key in keys))
    return Jwt(key_source=source, **settings)


def test_token_of_google_verifies_by_jwks() -> None:
    for index, kid in enumerate("ab"):
        callback = build_callback(sign(get_rsa_key(index), "RS256", kid=kid))
        assert list(GOOGLE.find_documents(callback)) == [JWKS_URL]
        assert GOOGLE.verify(callback, DOCUMENTS) == index
    assert GOOGLE.verify(build_callback(sign(get_rsa_key(1), "RS256")), DOCUMENTS) == 1
    assert not GOOGLE.coverage.body


@pytest.mark.parametrize(
    ("claims", "part"),
    [
        ({"aud": "https://other.example"}, "aud"),
        ({"aud": ["https://other.example"]}, "aud"),
        ({"aud": [3, None]}, "aud"),
        ({"aud": None}, "aud"),
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"iss": ["https://accounts.google.com"]}, "iss"),
        ({"email": "other@project.iam.gserviceaccount.com"}, "email"),
        ({"email_verified": False}, "email_verified"),
        ({"email_verified": 1}, "email_verified"),
        ({"email_verified": "true"}, "email_verified"),
        ({"exp": NOW}, "exp"),
        ({"exp": 1e999}, "claims"),
        ({"exp": 10**400}, "exp"),
        ({"nbf": NOW + 301}, "nbf"),
        ({"iat": NOW + 301}, "iat"),
    ],
)
def test_validly_signed_token_for_others_is_rejected(claims: dict[str, Any], part: str) -> None:
    token = sign(get_rsa_key(), "RS256", CLAIMS | claims, kid="a")
    assert expect_rejection(GOOGLE, build_callback(token)) == part


def test_one_of_several_audiences_is_enough() -> None:
    token = sign(get_rsa_key(), "RS256", CLAIMS | {"aud": ["x", CLAIMS["aud"]]})
    assert GOOGLE.verify(build_callback(token), DOCUMENTS) == 0


def test_token_without_time_is_rejected() -> None:
    claims = {name: value for name, value in CLAIMS.items() if name not in {"iat", "exp"}}
    assert expect_rejection(GOOGLE, build_callback(sign(get_rsa_key(), "RS256", claims))) == "iat"
    token = sign(get_rsa_key(), "RS256", claims | {"exp": NOW + 1})
    assert GOOGLE.verify(build_callback(token), DOCUMENTS) == 0


def test_token_counts_until_it_expires() -> None:
    """Google sends the same token for up to one hour."""
    token = sign(get_rsa_key(), "RS256", CLAIMS | {"iat": NOW - 3_500, "exp": NOW + 100})
    assert GOOGLE.verify(build_callback(token), DOCUMENTS) == 0


def test_signature_by_another_key_of_jwks_is_rejected() -> None:
    assert expect_rejection(GOOGLE, build_callback(sign(get_rsa_key(1), "RS256", kid="a"))) == "signature"
    assert expect_rejection(GOOGLE, build_callback(sign(get_rsa_key(), "RS256", kid="c"))) == "key_id"


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (sign(get_ec_key(), "ES256"), "The token's algorithm is not one of the provider's public keys."),
        (sign(get_rsa_key(1), "RS256", kid="a"), "The token's signature does not match any public key."),
    ],
)
def test_rejection_says_what_is_wrong(token: str, message: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        GOOGLE.verify(build_callback(token), DOCUMENTS)
    assert str(caught.value) == message


def test_token_with_critical_extension_is_rejected_before_any_fetch() -> None:
    head = encode_base64url(b'{"alg":"RS256","b64":true,"crit":["b64"]}')
    with pytest.raises(InvalidSignature) as caught:
        GOOGLE.find_documents(build_callback(f"{head}.e30.AAAA"))
    assert caught.value.part == "crit"


def test_public_key_is_no_secret_for_hmac() -> None:
    """The attack of `alg` confusion: the token is signed by HMAC with the text of the public key."""
    scheme = build_scheme(get_rsa_key())
    for secret in (export_pem(get_rsa_key()), export_pem(get_rsa_key()).strip()):
        head, payload = (encode_base64url(json.dumps(part).encode()) for part in ({"alg": "HS256"}, CLAIMS))
        token = sign_hmac(f"{head}.{payload}", secret)
        assert expect_rejection(scheme, build_callback(token)) == "alg"
    documents = {JWKS_URL: build_jwks({"kty": "oct", "kid": "a", "k": encode_base64url(b"secret" * 8)})}
    assert expect_rejection(GOOGLE, build_callback(sign("secret" * 8, "HS256", kid="a")), documents) == "keys"


def sign_hmac(content: str, secret: str) -> str:
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return f"{content}.{encode_base64url(algorithm.sign(content.encode(), secret.encode()))}"


def test_unsigned_token_is_rejected() -> None:
    for token in (
        jwt.encode(CLAIMS, "", algorithm="none"),
        jwt.encode(CLAIMS, "", algorithm="none").rstrip(".") + ".AA",
    ):
        assert expect_rejection(build_scheme(get_rsa_key()), build_callback(token)) == "alg"


@pytest.mark.parametrize("algorithm", KEYS)
def test_algorithm_must_be_one_of_key(algorithm: str) -> None:
    token = sign(KEYS[algorithm], algorithm)
    listed = build_scheme(KEYS[algorithm], algorithms=(algorithm,))
    assert listed.verify(build_callback(token)) == 0
    usual = build_scheme(KEYS[algorithm])
    if algorithm.startswith("PS"):
        assert expect_rejection(usual, build_callback(token)) == "alg"
    else:
        assert usual.verify(build_callback(token)) == 0
    others = tuple(name for name in KEYS if name != algorithm)
    assert expect_rejection(build_scheme(KEYS[algorithm], algorithms=others), build_callback(token)) == "alg"
    for name in others:
        if KEYS[name] is not KEYS[algorithm]:
            assert expect_rejection(build_scheme(KEYS[name], algorithms=tuple(KEYS)), build_callback(token)) == "alg"


def test_pyjwt_signs_by_eddsa() -> None:
    token = jwt.encode(CLAIMS, get_ed25519_key(), algorithm="EdDSA")
    assert build_scheme(get_ed25519_key()).verify(build_callback(token)) == 0


def test_algorithm_of_jwk_is_the_only_one() -> None:
    documents = {JWKS_URL: build_jwks(export_jwk(get_rsa_key(), alg="RS512"))}
    assert expect_rejection(GOOGLE, build_callback(sign(get_rsa_key(), "RS256")), documents) == "alg"
    assert GOOGLE.verify(build_callback(sign(get_rsa_key(), "RS512")), documents) == 0
    pss = {JWKS_URL: build_jwks(export_jwk(get_rsa_key(), alg="PS256"))}
    assert GOOGLE.verify(build_callback(sign(get_rsa_key(), "PS256")), pss) == 0
    assert expect_rejection(GOOGLE, build_callback(sign(get_rsa_key(), "RS256")), pss) == "alg"


@pytest.mark.parametrize(
    "head",
    [
        b'{"alg":"RS256","alg":"none"}',
        b'{"alg":"none","alg":"RS256"}',
        b'{"alg":"RS256","crit":["b64"],"b64":true}',
        b'{"alg":"RS256","b64":true}',
        b'{"alg":"RS256","crit":[]}',
        b'{"alg":"RS256","x":NaN}',
        b'{"alg":"RS256","x":1e999}',
        b'{"alg":"RS256"',
        b'\xff{"alg":"RS256"}',
        '{"alg":"RS256"}'.encode("utf-16"),
        b"[" * 9_000,
    ],
)
def test_malformed_header_is_rejected_despite_valid_signature(head: bytes) -> None:
    content = f"{encode_base64url(head)}.{encode_base64url(json.dumps(CLAIMS).encode())}"
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(content.encode(), get_rsa_key())
    callback = build_callback(f"{content}.{encode_base64url(signature)}")
    assert expect_rejection(build_scheme(get_rsa_key()), callback) in {"alg", "crit"}


@pytest.mark.parametrize("claims", [b'{"iat":1,"iat":2}', b"[]", b"", b'{"iat":NaN}', b'{"a":{"b":1,"b":2}}'])
def test_malformed_claims_are_rejected_despite_valid_signature(claims: bytes) -> None:
    assert (
        expect_rejection(build_scheme(get_rsa_key()), build_callback(sign(get_rsa_key(), "RS256", claims))) == "claims"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda token: f" {token}",
        lambda token: f"{token} ",
        lambda token: f"{token}\n",
        lambda token: f"{token}=",
        lambda token: token.replace(".", ". "),
        lambda token: token + "A" * 20_000,
    ],
)
def test_token_with_other_spelling_is_rejected(change: Any) -> None:
    callback = build_callback(change(sign(get_rsa_key(), "RS256")))
    assert expect_rejection(build_scheme(get_rsa_key()), callback) in {"authorization", "alg", "claims", "signature"}


def test_certificate_of_callback_verifies_while_it_is_valid() -> None:
    url = "https://certs.example/one.pem"
    scheme = Jwt(key_source=NamedCertificate(None, parse_source("header:X-Cert"), ("certs.example",)))
    received = build_callback(sign(get_rsa_key(), "RS256"))
    callback = IncomingCallback(
        "POST", "/", {**received.headers, "x-cert": url}, BODY, received.received_at, received.public_url
    )
    year = datetime.fromtimestamp(NOW, UTC).year
    for shift, part in ((0, None), (-2, "certificate"), (2, "certificate")):
        dates = [datetime(year + shift + offset, 1, 1, tzinfo=UTC) for offset in (0, 1)]
        documents = {url: build_certificate(get_rsa_key(), *dates)}
        if part is None:
            assert scheme.verify(callback, documents) == 0
        else:
            assert expect_rejection(scheme, callback, documents) == part


PLAID = build_scheme(get_ec_key(), source="header:Plaid-Verification", body_hash="request_body_sha256")


def test_token_of_plaid_covers_body() -> None:
    claims = {"iat": NOW, "request_body_sha256": sha256(BODY).hexdigest()}
    callback = build_callback(sign(get_ec_key(), "ES256", claims), header="plaid-verification")
    assert PLAID.verify(callback) == 0
    assert PLAID.coverage.body
    assert list(PLAID.signature_headers) == ["plaid-verification"]
    token = callback.headers["plaid-verification"]
    assert expect_rejection(PLAID, build_callback(token, BODY + b" ", header="plaid-verification")) == (
        "request_body_sha256"
    )
    assert expect_rejection(PLAID, build_callback(token, b"", header="plaid-verification")) == "request_body_sha256"


MESSAGEBIRD = Jwt(
    ["a signing key"],
    source="header:MessageBird-Signature-JWT",
    issuer=("MessageBird",),
    body_hash="payload_hash",
    url_hash="url_hash",
)


def sign_messagebird(body: bytes, algorithm: str = "HS256", **changes: Any) -> str:
    """Return a token as MessageBird's libraries describe it: without `payload_hash` if there is no body."""
    claims = {
        "iss": "MessageBird",
        "jti": "j-1",
        "nbf": NOW - 1,
        "exp": NOW + 1,
        "url_hash": sha256(b"https://callbacks.example/callbacks/acme?a=1").hexdigest(),
    }
    claims |= {"payload_hash": sha256(body).hexdigest()} if body else {}
    return jwt.encode(claims | changes, "a signing key".ljust(13), algorithm=algorithm)


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")  # the length of MessageBird's keys
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("body", [BODY, b""])
def test_token_of_messagebird_covers_body_and_url(algorithm: str, body: bytes) -> None:
    header = "messagebird-signature-jwt"
    token = sign_messagebird(body, algorithm)
    assert MESSAGEBIRD.verify(build_callback(token, body, header=header)) == 0
    assert MESSAGEBIRD.message_id(build_callback(token, body, header=header)) == "j-1"
    assert (MESSAGEBIRD.coverage.body, MESSAGEBIRD.coverage.query) == (True, True)
    assert expect_rejection(MESSAGEBIRD, build_callback(token, body + b"x", header=header)) == "payload_hash"
    other_url = sign_messagebird(body, algorithm, url_hash=sha256(b"https://callbacks.example/").hexdigest())
    assert expect_rejection(MESSAGEBIRD, build_callback(other_url, body, header=header)) == "url_hash"
    other_issuer = sign_messagebird(body, algorithm, iss="Other")
    assert expect_rejection(MESSAGEBIRD, build_callback(other_issuer, body, header=header)) == "iss"


@pytest.mark.parametrize(
    ("algorithm", "encoding", "value"),
    [
        ("sha512", "hex", sha512(BODY).hexdigest()),
        ("sha256", "base64", b64encode(sha256(BODY).digest()).decode()),
        ("sha256", "base64url", encode_base64url(sha256(BODY).digest())),
    ],
)
def test_hash_of_body_has_configured_form(algorithm: str, encoding: str, value: str) -> None:
    scheme = build_scheme(get_ec_key(), body_hash="digest", body_hash_algorithm=algorithm, body_hash_encoding=encoding)
    assert scheme.verify(build_callback(sign(get_ec_key(), "ES256", CLAIMS | {"digest": value}))) == 0
    assert expect_rejection(scheme, build_callback(sign(get_ec_key(), "ES256", CLAIMS))) == "digest"


def test_token_may_be_in_body_or_query() -> None:
    token = sign(get_ec_key(), "ES256")
    body = json.dumps({"token": token}).encode()
    at = datetime.fromtimestamp(NOW, UTC)
    assert build_scheme(get_ec_key(), source="token").verify(IncomingCallback("POST", "/", {}, body, at)) == 0
    in_query = IncomingCallback("GET", f"/?jwt={token}", {}, b"", at)
    scheme = build_scheme(get_ec_key(), source="query:jwt")
    assert scheme.verify(in_query) == 0
    assert list(scheme.signature_headers) == []
    assert expect_rejection(scheme, IncomingCallback("GET", "/", {}, b"", at)) == "jwt"


@given(
    header=st.text() | st.builds("Bearer {}.{}.{}".format, st.text(), st.text(), st.text()),
    body=st.binary(),
    document=st.binary() | st.just(DOCUMENTS[JWKS_URL]),
)
def test_arbitrary_input_is_rejected(header: str, body: bytes, document: bytes) -> None:
    callback = IncomingCallback("POST", "/", {"authorization": header}, body, datetime.fromtimestamp(NOW, UTC))
    expect_rejection(GOOGLE, callback, {JWKS_URL: document})
    GOOGLE.message_id(callback)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3),
    max_leaves=3,
)


@given(claims=st.dictionaries(st.sampled_from([*sorted(CLAIMS), "nbf"]), json_values))
def test_arbitrary_signed_claims_raise_no_other_error(claims: dict[str, Any]) -> None:
    token = sign(get_rsa_key(), "RS256", claims)
    expect_rejection(GOOGLE, build_callback(token))
