"""Signature checks by one key: every algorithm and encoding, and the keys that secrets hold."""

import hashlib
import hmac
from base64 import b64encode
from typing import Any

import pytest

from receiver.signatures.base import InvalidSecret
from tests.support.recipes import (
    BODY,
    KEY,
    PRIVATE_KEY,
    PUBLIC_KEY,
    build_callback,
    build_recipe,
    compute_mac,
    expect_rejection,
)


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
