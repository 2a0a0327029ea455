"""Signature checks by one key: every algorithm and encoding, and the keys that secrets hold."""

import hashlib
import hmac
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.signatures.base import InvalidSecret
from receiver.signatures.coverage import CallbackDocument
from receiver.signatures.recipe import Recipe
from tests.support.length_extension import extend_sha256
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


def test_number_of_ed25519_verifications_is_limited() -> None:
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(10)]
    secrets = [key.public_key().public_bytes_raw().hex() for key in keys]
    scheme = build_recipe(algorithm="ed25519", secrets=secrets, format="list")
    signatures = [key.sign(BODY).hex() for key in keys]
    assert scheme.verify(build_callback({"x-sig": " ".join(signatures[:3])})) == 0
    rejection = expect_rejection(scheme, build_callback({"x-sig": " ".join(signatures[:4])}))
    assert (rejection.part, str(rejection)) == ("signature", "There are too many signatures for the number of keys.")


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


NO_HEX = "Must be hex, two digits per byte."
NO_PUBLIC_KEY = "Must be an ed25519 public key: 32 bytes in hex or base64."


@pytest.mark.parametrize(
    ("options", "secret", "message"),
    [
        ({}, "", "Must not be empty."),
        ({}, "sk-\ud800", "Must be valid Unicode."),
        ({"key_encoding": "hex"}, "sk-abc", NO_HEX),
        ({"key_encoding": "hex"}, "abc", NO_HEX),
        ({"key_encoding": "hex"}, "éé", NO_HEX),
        ({"key_encoding": "base64"}, "sk-abc", "Must be base64, with or without the prefix whsec_."),
        ({"algorithm": "ed25519"}, "ab" * 31, NO_PUBLIC_KEY),
        ({"algorithm": "ed25519"}, "é" * 44, NO_PUBLIC_KEY),
        (
            {"algorithm": "ed25519", "key_encoding": "hex"},
            b64encode(PUBLIC_KEY).decode(),
            "Must be an ed25519 public key: 32 bytes in hex.",
        ),
        ({"algorithm": "basic"}, "sk-without-colon", "Must be user:password."),
    ],
)
def test_secret_of_invalid_format_is_refused(options: dict[str, Any], secret: str, message: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        build_recipe(secrets=[secret], **options)
    assert str(caught.value) == message


SIGNED_AT = "1700000000"


def build_digest(signed: str, **options: Any) -> Recipe:
    return build_recipe(is_digest=True, signed=signed, secrets=["other", KEY], **options)


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_digest_has_secret_in_its_content(algorithm: str, encoding: str) -> None:
    contents = {"{body}{secret}": BODY + KEY.encode(), "{secret}{body}": KEY.encode() + BODY}
    for signed, content in contents.items():
        digest = hashlib.new(algorithm, content).digest()
        signature = digest.hex() if encoding == "hex" else b64encode(digest).decode()
        scheme = build_digest(signed, algorithm=algorithm, encoding=encoding)
        assert scheme.verify(build_callback({"x-sig": signature})) == 1
        assert "does not match" in str(expect_rejection(scheme, build_callback({"x-sig": signature}, BODY + b" ")))
        bare = hashlib.new(algorithm, BODY).digest()
        expect_rejection(scheme, build_callback({"x-sig": bare.hex()}))


def test_digest_may_cover_time_and_single_fields() -> None:
    scheme = build_digest("{body}{timestamp}{secret}", timestamp="header:X-Time", unit="s", tolerance=300)
    signature = hashlib.sha256(BODY + f"{SIGNED_AT}{KEY}".encode()).hexdigest()
    assert scheme.verify(build_callback({"x-sig": signature, "x-time": SIGNED_AT})) == 1
    assert expect_rejection(scheme, build_callback({"x-sig": signature, "x-time": "1700000001"})).part == "x-sig"
    fields = build_digest("{field:id}{field:n}{secret}", source="sig")
    body = b'{"id":"e1","n":7,"sig":"%b"}' % hashlib.sha256(f"e17{KEY}".encode()).hexdigest().encode()
    assert fields.verify(build_callback(body=body)) == 1
    expect_rejection(fields, build_callback(body=body.replace(b"7,", b"8,")))


def test_extended_body_verifies_but_is_no_document_any_more() -> None:
    scheme = build_digest("{secret}{body}")
    body, extension = b'{"id":"1","status":"failed"}', b'\n{"id":"1","status":"done"}'
    digest = hashlib.sha256(KEY.encode() + body).digest()
    appended, extended = extend_sha256(digest, len(KEY.encode() + body), extension)
    forged = build_callback({"x-sig": extended.hex()}, body + appended)
    assert scheme.verify(forged) == 1
    with pytest.raises(ValueError, match=r"."):
        orjson.loads(forged.body)
    form = (b"status=failed" + appended + b"&id=2").decode("latin-1")
    assert parse_qs(form)["id"] == ["2"]
    coverage = scheme.coverage
    assert coverage.covers_document(CallbackDocument("json"))
    assert coverage.covers_document(CallbackDocument("xml"))
    assert not coverage.covers_document(CallbackDocument("form"))
    assert not coverage.covers_document(CallbackDocument("form", json_field="payload"))
    assert not coverage.covers_document(CallbackDocument("multipart"))


@pytest.mark.parametrize(("signed", "algorithm"), [("{body}{secret}", "sha256"), ("{secret}{body}", "sha384")])
def test_digest_that_cannot_be_extended_covers_every_body(signed: str, algorithm: str) -> None:
    assert build_digest(signed, algorithm=algorithm).coverage.covers_document(CallbackDocument("form"))


def test_header_may_name_the_algorithm() -> None:
    names = {"HMAC_SHA256_HEX": "sha256", "HMAC_SHA512_HEX": "sha512"}
    scheme = build_recipe(algorithm_header="X-Alg", algorithm_names=names)
    for name, algorithm in names.items():
        headers = {"x-sig": compute_mac(BODY, algorithm), "x-alg": name}
        assert scheme.verify(build_callback(headers)) == 0
        for other in names.keys() - {name}:
            assert "malformed" in str(expect_rejection(scheme, build_callback(headers | {"x-alg": other})))
    weak = {"x-sig": compute_mac(BODY, "sha1")}
    for name in ("HMAC_SHA1_HEX", "hmac_sha256_hex", "sha256", "none", "", "é", "HMAC_SHA256_HEX,HMAC_SHA512_HEX"):
        assert expect_rejection(scheme, build_callback(weak | {"x-alg": name})).part == "x-alg"
    assert expect_rejection(scheme, build_callback(weak)).part == "x-alg"
