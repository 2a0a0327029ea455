"""Public keys: every form in which providers publish them, those that are refused, and what verifies."""

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.signatures.base import InvalidSecret
from receiver.signatures.public_keys import (
    HASHES,
    VerificationKey,
    build_ecdsa_verify,
    build_rsa_verify,
    decode_base64url,
    parse_key_document,
    parse_public_key,
    verify_ed25519,
)
from tests.support.signing_keys import (
    WEAK_RSA_JWK,
    PrivateKey,
    build_certificate,
    build_jwks,
    encode_base64url,
    export_der,
    export_jwk,
    export_pem,
    get_ec_key,
    get_ed25519_key,
    get_rsa_key,
)

CONTENT = b"a signed content"
KEYS: dict[str, PrivateKey] = {"rsa": get_rsa_key(), "ecdsa": get_ec_key(), "ed25519": get_ed25519_key()}
CERTIFICATE = build_certificate(get_rsa_key(), datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
NO_KEY = (
    "Must be a public key or a certificate: PEM, base64 of DER, a JWK, or the 32 bytes of an ed25519 key in hex or "
    "base64."
)
WRONG_EXPONENT = "This RSA key has an exponent that proves nothing."
WRONG_SIZE = "An RSA key must have 2,048 to 8,192 bits."


def export_numbers(key: VerificationKey) -> bytes:
    public_format = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key.public_bytes(serialization.Encoding.DER, public_format)


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("export", [export_pem, export_der, lambda key: json.dumps(export_jwk(key))])
def test_key_is_parsed_in_every_format(kind: str, export: Any) -> None:
    assert parse_public_key(export(KEYS[kind])) == VerificationKey(kind, KEYS[kind].public_key())


def test_base64_of_key_may_be_folded() -> None:
    der = export_der(get_rsa_key())
    folded = f"{der[:64]}\r\n {der[64:128]}\n{der[128:]}\n"
    assert parse_public_key(folded) == VerificationKey("rsa", get_rsa_key().public_key())


@pytest.mark.parametrize("kind", KEYS)
def test_jwk_has_id_and_algorithm_and_may_be_padded(kind: str) -> None:
    jwk = export_jwk(KEYS[kind], kid="1", alg="any")
    padded = {
        name: value + "=" * (-len(value) % 4) if name in {"x", "y", "n"} else value for name, value in jwk.items()
    }
    assert padded != jwk
    assert parse_public_key(json.dumps(padded)) == VerificationKey(kind, KEYS[kind].public_key(), "1", "any")


@pytest.mark.parametrize("encode", [bytes.hex, lambda raw: b64encode(raw).decode()])
def test_ed25519_key_is_parsed_from_raw_bytes(encode: Any) -> None:
    raw = get_ed25519_key().public_key().public_bytes_raw()
    assert parse_public_key(encode(raw)).kind == "ed25519"


def test_certificate_has_key_and_validity() -> None:
    key = parse_public_key(CERTIFICATE.decode())
    assert (key.kind, b64encode(export_numbers(key)).decode()) == ("rsa", export_der(get_rsa_key()))
    assert (key.not_before, key.not_after) == (
        datetime(2026, 1, 1, tzinfo=UTC).timestamp(),
        datetime(2027, 1, 1, tzinfo=UTC).timestamp(),
    )


def test_certificate_may_be_base64_of_der() -> None:
    pem = build_certificate(get_rsa_key(), datetime(2020, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC))
    key = parse_public_key("".join(pem.decode().splitlines()[1:-1]))
    assert (key.kind, key.not_after) == ("rsa", datetime(2050, 1, 1, tzinfo=UTC).timestamp())


def test_flaw_of_old_certificate_is_ignored_without_warning() -> None:
    version, serial = b"\xa0\x03\x02\x01\x02", b"\x02\x01\x01"
    der = b64decode("".join(CERTIFICATE.decode().splitlines()[1:-1]))
    flawed = der.replace(version + serial, version + b"\x02\x01\x00")  # a serial number must be positive
    assert flawed != der
    assert parse_public_key(b64encode(flawed).decode()) == parse_public_key(CERTIFICATE.decode())


def test_text_before_pem_is_ignored() -> None:
    assert parse_public_key(f"subject=CN = acme\n{export_pem(get_ec_key())}").kind == "ecdsa"


def test_first_certificate_of_chain_counts() -> None:
    issuer = build_certificate(get_rsa_key(1), datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    [key] = parse_key_document(b"\n" + CERTIFICATE + issuer)
    assert b64encode(export_numbers(key)).decode() == export_der(get_rsa_key())


def build_private_pem() -> str:
    return (
        get_ec_key()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def build_rsa_jwk(modulus: int = (1 << 2_048) - 1, exponent: int = 65_537) -> str:
    members = {
        name: encode_base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        for name, number in (("n", modulus), ("e", exponent))
    }
    return json.dumps({"kty": "RSA", **members})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", NO_KEY),
        ("a key", NO_KEY),
        ("{", NO_KEY),
        ("{}", NO_KEY),
        ("[" * 5_000, NO_KEY),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", NO_KEY),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", NO_KEY),
        (b64encode(b"x" * 40).decode(), NO_KEY),
        (export_der(get_rsa_key()).replace("A", "A*", 1), NO_KEY),
        (build_private_pem(), "This is a private key. Use the public one."),
        (
            json.dumps(export_jwk(get_ec_key(), d="AAAA")),
            "This is a private key. Use the public one, without d.",
        ),
        (json.dumps({"kty": "oct", "k": "c2VjcmV0"}), NO_KEY),
        (json.dumps(export_jwk(get_ec_key(), use="enc")), NO_KEY),
        (json.dumps(export_jwk(get_ec_key(), key_ops=["sign"])), NO_KEY),
        (json.dumps(export_jwk(get_ec_key(), crv="P-384")), NO_KEY),
        (
            export_pem(ec.derive_private_key(7, ec.SECP256K1())),
            "An ECDSA key must be of the curve P-256, P-384 or P-521.",
        ),
        (
            X25519PrivateKey.from_private_bytes(bytes(32))
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode(),
            "Must be a key of RSA, ECDSA or ed25519.",
        ),
        (WEAK_RSA_JWK, WRONG_SIZE),
        (build_rsa_jwk((1 << 2_047) - 1), WRONG_SIZE),
        (build_rsa_jwk((1 << 8_193) - 1), WRONG_SIZE),
        (build_rsa_jwk(exponent=(1 << 64) + 1), WRONG_EXPONENT),
        ("00" * 32, "This ed25519 public key is of small order or not canonical, and proves nothing."),
    ],
)
def test_text_without_usable_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        parse_public_key(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(("bits", "exponent"), [(2_048, 3), (8_192, 65_559), (2_048, (1 << 64) - 1)])
def test_rsa_key_within_limits_is_accepted(bits: int, exponent: int) -> None:
    key = parse_public_key(build_rsa_jwk((1 << bits) - 1, exponent))
    assert isinstance(key.public_key, rsa.RSAPublicKey)
    assert (key.public_key.key_size, key.public_key.public_numbers().e) == (bits, exponent)


@pytest.mark.parametrize("exponent", [0, 1, 2, 4, 65_536])
def test_exponent_that_proves_nothing_is_refused(exponent: int) -> None:
    with pytest.raises(InvalidSecret):
        parse_public_key(build_rsa_jwk(exponent=exponent))


def test_even_exponent_of_der_is_refused() -> None:
    der = b64decode(export_der(get_rsa_key())).removesuffix(b"\x01\x00\x01") + b"\x01\x00\x02"
    with pytest.raises(InvalidSecret):
        parse_public_key(b64encode(der).decode())


@given(data=st.binary())
@example(data=b"\x00\x00\x17")  # AAAX
def test_base64url_of_any_bytes_is_decoded(data: bytes) -> None:
    encoded = encode_base64url(data)
    assert decode_base64url(encoded) == decode_base64url(encoded.encode()) == data


def test_document_leaves_out_other_keys() -> None:
    document = build_jwks(
        {"kty": "oct", "kid": "1", "k": "c2VjcmV0"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        json.loads(WEAK_RSA_JWK),
        export_jwk(get_ec_key(), use="enc"),
        export_jwk(get_ec_key(), kid=3, x="é"),
        export_jwk(get_rsa_key(), kid="2", alg="RS256"),
    )
    [key] = parse_key_document(document)
    assert (key.kind, key.key_id, key.jwt_algorithm) == ("rsa", "2", "RS256")


def test_number_of_keys_in_document_is_limited() -> None:
    document = build_jwks(*(export_jwk(get_ed25519_key(number)) for number in range(1, 102)))
    assert [key.public_key for key in parse_key_document(document)] == [
        get_ed25519_key(number).public_key() for number in range(1, 101)
    ]


@pytest.mark.parametrize(
    "document", [b"", b"null", b"[]", b"{}", b'{"keys":1}', b'{"keys":{}}', b'{"keys":[1,null]}', b"<html>", b"\xff"]
)
def test_malformed_document_has_no_keys(document: bytes) -> None:
    assert list(parse_key_document(document)) == []


@given(st.binary() | st.binary().map(lambda data: b"-----BEGIN CERTIFICATE-----" + data))
def test_arbitrary_document_raises_no_error(document: bytes) -> None:
    assert list(parse_key_document(document)) == []


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("padding_name", ["pkcs1v15", "pss"])
def test_rsa_signature_verifies_only_as_it_was_made(hash_name: str, padding_name: str) -> None:
    paddings = {
        "pkcs1v15": padding.PKCS1v15(),
        "pss": padding.PSS(padding.MGF1(HASHES[hash_name]), padding.PSS.DIGEST_LENGTH),
    }
    signature = get_rsa_key().sign(CONTENT, paddings[padding_name], HASHES[hash_name])
    key, other = parse_public_key(export_pem(get_rsa_key())), parse_public_key(export_pem(get_rsa_key(1)))
    for name in HASHES:
        for other_padding in paddings:
            verify = build_rsa_verify(name, other_padding)
            assert verify(key, signature, CONTENT) is (name == hash_name and other_padding == padding_name)
    verify = build_rsa_verify(hash_name, padding_name)
    assert not verify(other, signature, CONTENT)
    assert not verify(key, signature, CONTENT + b" ")
    assert not verify(key, signature[:-1], CONTENT)
    assert not verify(key, b"", CONTENT)


@pytest.mark.parametrize(
    ("curve", "hash_function"),
    [(ec.SECP256R1, hashes.SHA256()), (ec.SECP384R1, hashes.SHA384()), (ec.SECP521R1, hashes.SHA512())],
)
def test_ecdsa_signature_verifies_by_hash_of_curve(curve: Any, hash_function: hashes.HashAlgorithm) -> None:
    private_key = get_ec_key(0, curve)
    signature = private_key.sign(CONTENT, ec.ECDSA(hash_function))
    key = parse_public_key(export_pem(private_key))
    numbers = decode_dss_signature(signature)
    raw = b"".join(number.to_bytes((private_key.key_size + 7) // 8, "big") for number in numbers)
    assert build_ecdsa_verify()(key, signature, CONTENT)
    assert build_ecdsa_verify(signature_format="raw")(key, raw, CONTENT)
    assert build_ecdsa_verify("sha1")(key, private_key.sign(CONTENT, ec.ECDSA(hashes.SHA1())), CONTENT)
    for verify, wrong in (
        (build_ecdsa_verify(), raw),
        (build_ecdsa_verify(signature_format="raw"), signature),
        (build_ecdsa_verify(signature_format="raw"), raw[:-1]),
        (build_ecdsa_verify(signature_format="raw"), bytes(len(raw))),
        (build_ecdsa_verify("sha1"), signature),
        (build_ecdsa_verify(), b""),
    ):
        assert not verify(key, wrong, CONTENT)
    assert not build_ecdsa_verify()(parse_public_key(export_pem(get_ec_key(1, curve))), signature, CONTENT)


def test_ed25519_signature_verifies_only_by_its_key() -> None:
    signature = get_ed25519_key().sign(CONTENT)
    key, other = parse_public_key(export_pem(get_ed25519_key())), parse_public_key(export_pem(get_ed25519_key(1)))
    assert verify_ed25519(key, signature, CONTENT)
    assert not verify_ed25519(other, signature, CONTENT)
    assert not verify_ed25519(key, signature[:-1], CONTENT)
