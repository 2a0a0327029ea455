"""Private keys: what they sign, their public keys verify."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.signatures.base import InvalidSecret
from receiver.signatures.private_keys import parse_private_key
from receiver.signatures.public_keys import (
    VerificationKey,
    Verify,
    build_ecdsa_verify,
    build_rsa_verify,
    parse_public_key,
    verify_ed25519,
)
from tests.support.private_keys import export_private_pem, load_signing_key
from tests.support.signing_keys import PrivateKey, export_pem, get_ec_key, get_ed25519_key, get_rsa_key

CONTENT = b"content"
FORMAT_MESSAGE = "Must be a private key of RSA, ECDSA or ed25519 in PEM, without a passphrase."


def get_public_key(key: PrivateKey) -> VerificationKey:
    return parse_public_key(export_pem(key))


@pytest.mark.parametrize(
    ("key", "options", "verify"),
    [
        (get_rsa_key(), (), build_rsa_verify("sha256")),
        (get_rsa_key(), ("",), build_rsa_verify("sha256")),
        (get_rsa_key(), ("sha512", "pss"), build_rsa_verify("sha512", "pss")),
        (get_ec_key(), (), build_ecdsa_verify()),
        (get_ec_key(), ("",), build_ecdsa_verify()),
        (get_ec_key(0, ec.SECP521R1), ("", "pkcs1v15", "raw"), build_ecdsa_verify(signature_format="raw")),
        (get_ec_key(0, ec.SECP384R1), ("sha256",), build_ecdsa_verify("sha256")),
        (get_ed25519_key(), (), verify_ed25519),
    ],
)
def test_signature_verifies_by_the_public_key(key: PrivateKey, options: tuple[str, ...], verify: Verify) -> None:
    signature = load_signing_key(key).sign(CONTENT, *options)
    assert verify(get_public_key(key), signature, CONTENT)
    assert not verify(get_public_key(key), signature, CONTENT + b"x")


@pytest.mark.parametrize("key", [get_rsa_key(), get_ec_key(), get_ed25519_key()])
def test_public_key_of_the_pair_is_found(key: PrivateKey) -> None:
    foreign = [get_public_key(other) for other in (get_rsa_key(1), get_ec_key(1), get_ed25519_key(1))]
    signing_key = load_signing_key(key)
    assert signing_key.find_public_key(foreign) is None
    assert signing_key.find_public_key([*foreign, get_public_key(key)]) == get_public_key(key)


def test_public_bytes_are_those_of_ed25519_only() -> None:
    assert load_signing_key(get_ed25519_key()).public_bytes == get_ed25519_key().public_key().public_bytes_raw()
    assert load_signing_key(get_rsa_key()).public_bytes == b""


NOT_ENCRYPTED = serialization.NoEncryption()
ENCRYPTED = serialization.BestAvailableEncryption(b"a passphrase")


def export_pkcs8(
    key: Ed25519PrivateKey | Ed448PrivateKey, encryption: serialization.KeySerializationEncryption
) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", FORMAT_MESSAGE),
        (b"\xff", FORMAT_MESSAGE),
        (export_pem(get_rsa_key()).encode(), FORMAT_MESSAGE),
        (export_pkcs8(get_ed25519_key(), ENCRYPTED), FORMAT_MESSAGE),
        (export_pkcs8(Ed448PrivateKey.generate(), NOT_ENCRYPTED), FORMAT_MESSAGE),
        (
            export_private_pem(ec.derive_private_key(5, ec.SECP256K1())),
            "An ECDSA key must be of the curve P-256, P-384 or P-521.",
        ),
    ],
    ids=["empty", "undecodable", "public", "encrypted", "ed448", "secp256k1"],
)
def test_other_text_is_no_private_key(text: bytes, message: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        parse_private_key(text)
    assert str(caught.value) == message
