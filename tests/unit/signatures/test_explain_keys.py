"""Explanations of rejected signatures by public keys: the form of the signature, its encoding, and other keys."""

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from receiver.schemas.signatures import SignatureSchema
from receiver.signatures.base import Scheme
from receiver.signatures.explain import explain_signature
from tests.support.recipes import BODY, build_callback
from tests.support.signing_keys import build_jwks, export_jwk, export_pem, get_ec_key, get_rsa_key

PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
ECDSA_DER = get_ec_key().sign(BODY, ec.ECDSA(hashes.SHA256()))
ECDSA_RAW = b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(ECDSA_DER))


def build_scheme(scheme: str, **settings: Any) -> Scheme:
    key = get_rsa_key() if scheme == "rsa" else get_ec_key()
    auth = SignatureSchema().load({"scheme": scheme, "header": "X-Sig", "keys": [export_pem(key)]} | settings)
    assert isinstance(auth.scheme, Scheme)
    return auth.scheme


def find_cause(scheme: Scheme, signature: str, body: bytes = BODY, **documents: bytes) -> str:
    [cause] = explain_signature(scheme, build_callback({"x-sig": signature}, body), documents).causes
    return cause


@pytest.mark.parametrize(
    ("scheme", "signature", "cause"),
    [
        ("rsa", get_rsa_key().sign(BODY, PSS, hashes.SHA256()), "padding = pss."),
        (
            "rsa",
            get_rsa_key().sign(BODY, padding.PKCS1v15(), hashes.SHA1()),
            "algorithm = sha1 and padding = pkcs1v15.",
        ),
        (
            "rsa",
            get_rsa_key().sign(BODY, padding.PKCS1v15(), hashes.SHA512()),
            "algorithm = sha512 and padding = pkcs1v15.",
        ),
        ("ecdsa", ECDSA_RAW, "signature_format = raw."),
        ("ecdsa", get_ec_key().sign(BODY, ec.ECDSA(hashes.SHA384())), "algorithm = sha384 and signature_format = der."),
    ],
    ids=["pss", "rsa-sha1", "rsa-sha512", "raw", "ecdsa-sha384"],
)
def test_other_form_of_signature_is_found(scheme: str, signature: bytes, cause: str) -> None:
    expected = f"The signature is of another form: set {cause}"
    assert find_cause(build_scheme(scheme), b64encode(signature).decode()) == expected


def test_encoding_of_signature_is_found() -> None:
    assert "encoded in hex" in find_cause(build_scheme("ecdsa"), ECDSA_DER.hex())


def test_modified_body_is_found() -> None:
    signature = b64encode(get_ec_key().sign(BODY + b"\n", ec.ECDSA(hashes.SHA256()))).decode()
    assert "line break at its end" in find_cause(build_scheme("ecdsa"), signature)


def test_other_key_is_the_general_cause() -> None:
    signature = b64encode(get_ec_key(1).sign(BODY, ec.ECDSA(hashes.SHA256()))).decode()
    assert "a key that is not configured" in find_cause(build_scheme("ecdsa"), signature)


def test_fetched_keys_are_used() -> None:
    settings = {"scheme": "ecdsa", "header": "X-Sig", "jwks_url": "https://keys.example/"}
    scheme = SignatureSchema().load(settings).scheme
    document = build_jwks(export_jwk(get_ec_key()))
    callback = build_callback({"x-sig": b64encode(ECDSA_RAW).decode()})
    documents = {"https://keys.example/": document}
    [cause] = explain_signature(scheme, callback, documents).causes
    assert cause == "The signature is of another form: set signature_format = raw."
    valid = replace(callback, headers={"x-sig": b64encode(ECDSA_DER).decode()})
    assert explain_signature(scheme, valid, documents).part is None
