"""Recipes with public keys: plain signatures of every type, and detached JWSs, by independent signers."""

import json
from base64 import b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSignature
from receiver.signatures.checks import MAX_PUBLIC_KEY_VERIFICATIONS
from receiver.signatures.jose import MAX_TOKEN_BYTES
from receiver.signatures.key_checks import DetachedSignatures, PlainSignatures
from receiver.signatures.key_sources import ConfiguredKeys, KeyDocument, KeySource
from receiver.signatures.public_keys import parse_public_key
from receiver.signatures.recipe import Recipe
from receiver.signatures.sources import parse_source
from tests.support.changes import flip_byte
from tests.support.recipes import BODY, build_callback
from tests.support.signing_keys import (
    PrivateKey,
    build_jwks,
    encode_base64url,
    export_jwk,
    export_pem,
    get_ec_key,
    get_ed25519_key,
    get_rsa_key,
)

JWKS_URL = "https://keys.example/jwks.json"
P521 = get_ec_key(0, ec.SECP521R1)


def build_keys(*keys: PrivateKey) -> ConfiguredKeys:
    return ConfiguredKeys(None, tuple(parse_public_key(export_pem(key)) for key in keys))


def build_recipe(kind: str, source: KeySource, **settings: Any) -> Recipe:
    options = {name: settings.pop(name) for name in ("hash_name", "padding", "signature_format") if name in settings}
    return Recipe(
        **{"source": "header:X-Sig", "secrets": (), "encoding": "base64"} | settings,
        algorithm=kind,
        public_keys=PlainSignatures(source, kind, **options),
    )


def sign(kind: str, content: bytes, number: int = 0) -> bytes:
    if kind == "rsa":
        return get_rsa_key(number).sign(content, padding.PKCS1v15(), hashes.SHA256())
    if kind == "ecdsa":
        return get_ec_key(number).sign(content, ec.ECDSA(hashes.SHA256()))
    return get_ed25519_key(number).sign(content)


PAIRS: dict[str, tuple[PrivateKey, PrivateKey]] = {
    "rsa": (get_rsa_key(), get_rsa_key(1)),
    "ecdsa": (get_ec_key(), get_ec_key(1)),
    "ed25519": (get_ed25519_key(), get_ed25519_key(1)),
}
each_kind = pytest.mark.parametrize("kind", PAIRS)


def expect_rejection(
    scheme: Recipe, callback: IncomingCallback, documents: dict[str, bytes] | None = None
) -> InvalidSignature:
    with pytest.raises(InvalidSignature) as caught:
        scheme.verify(callback, documents or {})
    return caught.value


@each_kind
def test_signature_verifies_by_any_configured_key(kind: str) -> None:
    scheme = build_recipe(kind, build_keys(*PAIRS[kind]))
    for number in (0, 1):
        signature = b64encode(sign(kind, BODY, number)).decode()
        assert scheme.verify(build_callback({"x-sig": signature})) == number
        assert "does not match any public key" in str(
            expect_rejection(scheme, build_callback({"x-sig": signature}, BODY + b" "))
        )
        assert list(scheme.find_documents(build_callback())) == []


@each_kind
@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
def test_signature_is_decoded(kind: str, encoding: str) -> None:
    signature = sign(kind, BODY)
    text = {"hex": signature.hex().upper(), "base64": b64encode(signature).decode()}.get(encoding)
    scheme = build_recipe(kind, build_keys(PAIRS[kind][0]), encoding=encoding)
    assert scheme.verify(build_callback({"x-sig": text or encode_base64url(signature)})) == 0


@each_kind
@pytest.mark.parametrize("value", ["", " ", "AAAA", "é", "=" * 4, "not base64!", "a" * 100_000])
def test_malformed_signature_is_rejected(kind: str, value: str) -> None:
    assert expect_rejection(build_recipe(kind, build_keys(PAIRS[kind][0])), build_callback({"x-sig": value})).part == (
        "x-sig"
    )


@each_kind
@given(position=st.integers(0, len(BODY) - 1), delta=st.integers(1, 255))
def test_changed_byte_is_rejected(kind: str, position: int, delta: int) -> None:
    scheme = build_recipe(kind, build_keys(PAIRS[kind][0]))
    signature = sign(kind, BODY)
    expect_rejection(scheme, build_callback({"x-sig": b64encode(signature).decode()}, flip_byte(BODY, position, delta)))
    changed = flip_byte(signature, position % len(signature), delta)
    expect_rejection(scheme, build_callback({"x-sig": b64encode(changed).decode()}))


def test_key_of_other_type_is_not_tried() -> None:
    scheme = build_recipe("rsa", build_keys(get_ec_key()))
    signature = b64encode(sign("ecdsa", BODY)).decode()
    assert "no public key for rsa" in str(expect_rejection(scheme, build_callback({"x-sig": signature})))


def test_number_of_verifications_is_limited() -> None:
    keys = build_keys(*(get_ed25519_key(number + 1) for number in range(9)))
    scheme = build_recipe("ed25519", keys, format="list")
    signatures = [b64encode(sign("ed25519", BODY, number)).decode() for number in range(1, 5)]
    assert "too many signatures" in str(expect_rejection(scheme, build_callback({"x-sig": " ".join(signatures)})))
    assert scheme.verify(build_callback({"x-sig": " ".join(signatures[:3])})) == 0


def test_key_of_jwks_is_selected_by_id() -> None:
    """ShipEngine's signature: validly signed by another key of the same JWKS is not enough."""
    documents = {JWKS_URL: build_jwks(*(export_jwk(get_rsa_key(number), kid=f"k{number}") for number in (0, 1)))}
    scheme = build_recipe(
        "rsa",
        KeyDocument(parse_source("header:X-Key-Id"), JWKS_URL),
        signed="{timestamp}.{body}",
        timestamp="header:X-Time",
        encoding="hex",
    )
    headers = {
        "x-sig": sign("rsa", b"2026-11-29." + BODY, 1).hex(),
        "x-time": "2026-11-29",
        "x-key-id": "k1",
    }
    assert list(scheme.find_documents(build_callback(headers))) == [JWKS_URL]
    assert scheme.verify(build_callback(headers), documents) == 1
    expect_rejection(scheme, build_callback(headers | {"x-key-id": "k0"}), documents)
    assert expect_rejection(scheme, build_callback(headers | {"x-key-id": "k2"}), documents).part == "key_id"


def test_jwks_without_usable_key_is_rejected() -> None:
    """A key for HMAC in a public document is no secret."""
    documents = {JWKS_URL: build_jwks({"kty": "oct", "k": encode_base64url(b"a shared secret")})}
    scheme = build_recipe("rsa", KeyDocument(None, JWKS_URL))
    assert expect_rejection(scheme, build_callback({"x-sig": "AAAA"}), documents).part == "keys"


def build_detached(source: KeySource, algorithms: tuple[str, ...] = (), **settings: Any) -> Recipe:
    return Recipe(
        **{"source": "header:X-Jws", "secrets": ()} | settings,
        algorithm="jws",
        public_keys=DetachedSignatures(source, algorithms),
    )


def sign_detached(key: Any, algorithm: str, content: bytes = BODY, **header: Any) -> str:
    token = jws.serialize_compact({"alg": algorithm, **header}, content, key, algorithms=[algorithm])
    head, _, signature = token.split(".")
    return f"{head}..{signature}"


EC_SIGNER = ECKey.import_key(get_ec_key())
RSA_SIGNER = RSAKey.import_key(get_rsa_key())


def test_detached_jws_verifies() -> None:
    scheme = build_detached(build_keys(get_rsa_key(), get_ec_key()))
    assert scheme.verify(build_callback({"x-jws": sign_detached(EC_SIGNER, "ES256")})) == 1
    assert scheme.verify(build_callback({"x-jws": sign_detached(RSA_SIGNER, "RS512")})) == 0
    for content in (b"\0\0\x17", b""):  # the base64 of the first ends in X
        callback = build_callback({"x-jws": sign_detached(EC_SIGNER, "ES256", content)}, content)
        assert scheme.verify(callback) == 1
    expect_rejection(scheme, build_callback({"x-jws": sign_detached(EC_SIGNER, "ES256")}, BODY + b" "))


def test_unencoded_payload_verifies_if_header_says_so() -> None:
    header = encode_base64url(b'{"alg":"ES256","b64":false,"crit":["b64"]}')
    signature = get_ec_key().sign(header.encode() + b"." + BODY, ec.ECDSA(hashes.SHA256()))
    raw = encode_raw(signature)
    scheme = build_detached(build_keys(get_ec_key()))
    assert scheme.verify(build_callback({"x-jws": f"{header}..{raw}"})) == 0
    encoded = encode_base64url(b'{"alg":"ES256"}')
    expect_rejection(scheme, build_callback({"x-jws": f"{encoded}..{raw}"}))


def encode_raw(der: bytes) -> str:
    return encode_base64url(b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(der)))


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ({"crit": ["exp"], "exp": 1}, "crit"),
        ({"crit": []}, "crit"),
        ({"b64": False}, "crit"),
        ({"b64": 0, "crit": ["b64"]}, "crit"),
        ({"b64": [], "crit": ["b64"]}, "crit"),
        ({"b64": False, "crit": ["b64", "x"]}, "crit"),
        ({"alg": "none"}, "alg"),
        ({"alg": "HS256"}, "alg"),
        ({"alg": "ES384"}, "alg"),
        ({"alg": "PS256"}, "alg"),
        ({"alg": 3}, "alg"),
    ],
)
def test_header_with_other_algorithm_or_extension_is_rejected(header: dict[str, Any], part: str) -> None:
    head = encode_base64url(json.dumps({"alg": "ES256"} | header).encode())
    signature = encode_raw(get_ec_key().sign(f"{head}.{encode_base64url(BODY)}".encode(), ec.ECDSA(hashes.SHA256())))
    callback = build_callback({"x-jws": f"{head}..{signature}"})
    rejection = expect_rejection(build_detached(build_keys(get_ec_key(), get_rsa_key())), callback)
    assert rejection.part == part
    if isinstance(header.get("alg"), str):
        assert str(rejection) == "The token's algorithm is not one of the provider's public keys."


def test_key_of_a_detached_jws_is_selected_by_id() -> None:
    documents = {JWKS_URL: build_jwks(*(export_jwk(get_ec_key(number), kid=f"k{number}") for number in (0, 1)))}
    scheme = build_detached(KeyDocument(None, JWKS_URL))
    assert scheme.verify(build_callback({"x-jws": sign_detached(EC_SIGNER, "ES256", kid="k0")}), documents) == 0
    expect_rejection(scheme, build_callback({"x-jws": sign_detached(EC_SIGNER, "ES256", kid="k1")}), documents)


def test_number_of_detached_signatures_is_limited() -> None:
    keys, token = [get_ec_key(number) for number in range(3)], sign_detached(EC_SIGNER, "ES256")

    def verify(key_count: int, token_count: int) -> int:
        scheme = build_detached(build_keys(*keys[:key_count]), format="list")
        return scheme.verify(build_callback({"x-jws": " ".join([token] * token_count)}))

    assert MAX_PUBLIC_KEY_VERIFICATIONS == 32
    assert verify(2, 16) == 0
    with pytest.raises(InvalidSignature) as caught:
        verify(3, 11)
    message = "There are too many signatures for the number of keys."
    assert (caught.value.part, str(caught.value)) == ("signature", message)


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token.replace("..", f".{encode_base64url(BODY)}."),
        lambda token: token + ".",
        lambda token: token.replace("..", "."),
        lambda token: "." + token,
        lambda token: token + "a" * (MAX_TOKEN_BYTES + 1 - len(token)),
    ],
)
def test_token_that_is_no_detached_jws_is_rejected(change: Any) -> None:
    callback = build_callback({"x-jws": change(sign_detached(EC_SIGNER, "ES256"))})
    rejection = expect_rejection(build_detached(build_keys(get_ec_key())), callback)
    assert (rejection.part, str(rejection)) == (
        "signature",
        "The signature is not a detached JWS: header, two dots, signature.",
    )


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda token: token + "=", "signature"),
        (lambda token: f" {token}"[:-1], "alg"),
        (lambda _: "..", "alg"),
        (lambda token: token + "a" * (MAX_TOKEN_BYTES - len(token)), "signature"),
    ],
)
def test_malformed_part_of_a_detached_jws_is_rejected(change: Any, part: str) -> None:
    callback = build_callback({"x-jws": change(sign_detached(EC_SIGNER, "ES256"))})
    rejection = expect_rejection(build_detached(build_keys(get_ec_key())), callback)
    assert rejection.part == part
    assert "detached" not in str(rejection)


def test_url_in_header_is_refused_unless_it_is_configured() -> None:
    documents = {JWKS_URL: build_jwks(export_jwk(get_ec_key(), kid="1"))}
    scheme = build_detached(KeyDocument(None, JWKS_URL))
    evil = build_callback({"x-jws": sign_detached(EC_SIGNER, "ES256", jku="https://evil.example/jwks", kid="1")})
    assert list(scheme.find_documents(evil)) == [JWKS_URL]
    rejection = expect_rejection(scheme, evil, documents)
    assert (rejection.part, str(rejection)) == ("jku", "The token names another JWKS than jwks_url.")
    assert build_detached(build_keys(get_ec_key())).verify(evil) == 0
    assert scheme.verify(build_callback({"x-jws": sign_detached(EC_SIGNER, "ES256", jku=JWKS_URL)}), documents) == 0


TRUELAYER = "eyJhbGciOiJFUzUxMiIsImtpZCI6IjQ1ZmM3NWNmLTU2NDktNDEzNC04NGIzLTE5MmMyYzc4ZTk5MCIsInRsX3ZlcnNpb24iOiIyIiwidGxfaGVhZGVycyI6IlgtVGwtV2ViaG9vay1UaW1lc3RhbXAsQ29udGVudC1UeXBlIiwiamt1IjoiaHR0cHM6Ly93ZWJob29rcy50cnVlbGF5ZXIuY29tLy53ZWxsLWtub3duL2p3a3MifQ..AB9S1dzZTmw0tofUjJNGO7Kt_jZsahPyIrBTdhfxBWOI3KoLALkMy6ka1MjpZQx06_hQUJnanu9K_LS6V9lNaNGiAX5Cos5RWQfbeBCZWqAvIpXO3FvIzyJKRaTYK8FBG4lfJYPi76_pIkCLGKWeq8__7ElpMVRcLTM5IBKWL8isVZn_"  # noqa: E501  # as it is published
TRUELAYER_URL = "https://webhooks.truelayer.com/.well-known/jwks"
TRUELAYER_KEY = {
    "kty": "EC",
    "alg": "ES512",
    "kid": "45fc75cf-5649-4134-84b3-192c2c78e990",
    "crv": "P-521",
    "x": "oLuW4nFqoUuR8d7FVsUoI62libYdQlWGtLStnqdudLY92bQ0ra5eZAbkunrGTR9-w9mr4o2Etyb6pC7YB2-23WM",
    "y": "AX1cjkGMiltikPrkX49qwuJDdcETaTsj-kyFP8jsF9W5XAB3Z4tBiQtc72DQnJYeKyAV_T6qZTtFKFr-Tp4iu-j7",
}


def test_published_callback_of_truelayer_verifies() -> None:
    """The static example in the tests of TrueLayer's own libraries."""
    scheme = build_detached(
        KeyDocument(None, TRUELAYER_URL),
        ("ES512",),
        signed=(
            "{method} {path}\nX-Tl-Webhook-Timestamp: {header:X-Tl-Webhook-Timestamp}\n"
            "Content-Type: {content_type}\n{body}"
        ),
    )
    callback = IncomingCallback(
        "POST",
        "/tl-webhook",
        {"x-jws": TRUELAYER, "x-tl-webhook-timestamp": "2021-11-29T11:42:55Z", "content-type": "application/json"},
        b'{"event_type":"example","event_id":"18b2842b-a57b-4887-a0a6-d3c7c36f1020"}',
        build_callback().received_at,
    )
    documents = {TRUELAYER_URL: build_jwks(TRUELAYER_KEY)}
    assert scheme.verify(callback, documents) == 0
    changed = IncomingCallback("POST", "/other", callback.headers, callback.body, callback.received_at)
    expect_rejection(scheme, changed, documents)


@given(value=st.text() | st.builds("{}..{}".format, st.text(), st.text()), body=st.binary())
def test_arbitrary_token_is_rejected(value: str, body: bytes) -> None:
    expect_rejection(build_detached(build_keys(get_ec_key())), build_callback({"x-jws": value}, body))
