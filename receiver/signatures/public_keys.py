"""Public keys of RSA, ECDSA and ed25519: as a provider publishes them, and what they verify.

A key is PEM, base64 of DER, a JWK, the raw bytes of an ed25519 key in hex or base64, or the certificate that contains
it. The algorithm of a signature follows from the configuration and the type of the key, never from the callback alone.
"""

import binascii
import math
import re
import warnings
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature as WrongSignature
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.utils import CryptographyDeprecationWarning

from receiver.signatures.base import InvalidSecret
from receiver.signatures.keys import PublicKey

RSA, ECDSA, ED25519 = "rsa", "ecdsa", "ed25519"
PADDINGS = ("pkcs1v15", "pss")
SIGNATURE_FORMATS = ("der", "raw")
HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303  # SNS with SignatureVersion 1, and others: only where it is configured
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
"""The hash functions of RSA and ECDSA signatures by name."""
CURVE_HASHES = {"secp256r1": "sha256", "secp384r1": "sha384", "secp521r1": "sha512"}
"""The supported curves, each with the hash function that belongs to it."""

_MIN_RSA_BITS, _MAX_RSA_BITS = 2_048, 8_192
_MAX_KEYS_PER_DOCUMENT = 100
_JWK_CURVES: Mapping[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")
_FORMATS = (
    "Must be a public key or a certificate: PEM, base64 of DER, a JWK, or the 32 bytes of an ed25519 key in hex or "
    "base64."
)

PublicKeyObject = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key.

    Args:
        kind: `RSA`, `ECDSA` or `ED25519`.
        public_key: the key of `cryptography`.
        key_id: its id in a JWKS, or "".
        jwt_algorithm: the only algorithm of JWTs that it is meant for, or "".
        not_before: Unix seconds from which its certificate is valid.
        not_after: Unix seconds until which its certificate is valid.
    """

    kind: str
    public_key: PublicKeyObject
    key_id: str = ""
    jwt_algorithm: str = ""
    not_before: float = -math.inf
    not_after: float = math.inf


Verify = Callable[[VerificationKey, bytes, bytes], bool]
"""Returns whether a signature of any length is the key's signature of the content: `(key, signature, content)`."""


def build_rsa_verify(hash_name: str, padding_name: str = "pkcs1v15") -> Verify:
    """Return the verification of RSA signatures, with PKCS #1 v1.5 or PSS (RFC 8017)."""
    hash_function = HASHES[hash_name]
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if padding_name == "pss":
        scheme = padding.PSS(padding.MGF1(hash_function), padding.PSS.AUTO)

    def verify(key: VerificationKey, signature: bytes, content: bytes) -> bool:
        try:
            key.public_key.verify(signature, content, scheme, hash_function)  # type: ignore[call-arg, arg-type]  # RSA
        except WrongSignature:
            return False
        return True

    return verify


def build_ecdsa_verify(hash_name: str = "", signature_format: str = "der") -> Verify:
    """Return the verification of ECDSA signatures: DER, or the raw numbers r and s one after the other.

    By default the hash function is the one that belongs to the key's curve.
    """
    algorithms = {curve: ec.ECDSA(HASHES[hash_name or curve_hash]) for curve, curve_hash in CURVE_HASHES.items()}
    is_raw = signature_format == "raw"

    def verify(key: VerificationKey, signature: bytes, content: bytes) -> bool:
        curve = key.public_key.curve  # type: ignore[union-attr]  # an ECDSA key
        if is_raw:
            size = (curve.key_size + 7) // 8
            if len(signature) != 2 * size:
                return False
            signature = encode_dss_signature(
                int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
            )
        try:
            key.public_key.verify(signature, content, algorithms[curve.name])  # type: ignore[call-arg, arg-type]  # EC
        except WrongSignature:
            return False
        return True

    return verify


def verify_ed25519(key: VerificationKey, signature: bytes, content: bytes) -> bool:
    """Return whether a signature of any length is an ed25519 key's signature of the content."""
    try:
        key.public_key.verify(signature, content)  # type: ignore[call-arg]  # an ed25519 key
    except WrongSignature:
        return False
    return True


def parse_public_key(text: str) -> VerificationKey:
    """Return the key of a configured text.

    Raises:
        InvalidSecret: the text has none of the formats, is a private key, or the key proves nothing.
    """
    text = text.strip()
    try:
        if text.startswith("{"):
            return _parse_jwk_text(text)
        if match := _PEM.search(text):  # openssl may write text before it
            return _parse_pem(match[1], text.encode())
        if _HEX_KEY.fullmatch(text):
            return _build_key(Ed25519PublicKey.from_public_bytes(bytes.fromhex(text)))
        der = b64decode("".join(text.split()), validate=True)
        if len(der) == 32:
            return _build_key(Ed25519PublicKey.from_public_bytes(der))
        return _load_der(der)
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        raise InvalidSecret(_FORMATS) from None


@lru_cache(maxsize=64)
def parse_key_document(document: bytes) -> Sequence[VerificationKey]:
    """Return the keys of a JWKS (RFC 7517) or the key of the first certificate in PEM; none if there is no valid key.

    Keys of other types, and keys that are not for signatures, are left out.
    """
    if document.lstrip().startswith(b"-----BEGIN"):
        try:
            return (parse_public_key(document.decode("ascii", "replace")),)
        except InvalidSecret:
            return ()
    try:
        entries = orjson.loads(document)["keys"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return ()
    if not isinstance(entries, list):
        return ()
    keys: list[VerificationKey] = []
    for entry in entries[:_MAX_KEYS_PER_DOCUMENT]:
        try:
            keys.append(_parse_jwk(entry))
        except (InvalidSecret, ValueError, UnsupportedAlgorithm):
            continue
    return tuple(keys)


def decode_base64url(text: str | bytes) -> bytes:
    """Decode base64url without padding (RFC 7515, section 2).

    Raises:
        ValueError: the text is not canonical: of several texts for the same bytes only one is accepted.
    """
    encoded = text.encode("ascii") if isinstance(text, str) else text
    decoded = b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    if urlsafe_b64encode(decoded).rstrip(b"=") != encoded:
        raise ValueError("not canonical base64url")
    return decoded


def _parse_jwk_text(text: str) -> VerificationKey:
    jwk = orjson.loads(text)
    if isinstance(jwk, dict) and "d" in jwk:
        raise InvalidSecret("This is a private key. Use the public one, without d.")
    return _parse_jwk(jwk)


def _parse_jwk(jwk: Any) -> VerificationKey:
    """Return the key of a JWK (RFC 7518, section 6; RFC 8037).

    Raises:
        InvalidSecret: the key proves nothing.
        ValueError: the JWK is malformed, or of another type.
    """
    operations = jwk.get("key_ops", ["verify"]) if isinstance(jwk, Mapping) else None
    if not isinstance(operations, list) or "verify" not in operations or jwk.get("use", "sig") != "sig":
        raise ValueError("not a JWK for signatures")
    names = {name: value for name in ("kid", "alg") if isinstance(value := jwk.get(name), str)}
    return _build_key(_load_jwk(jwk), key_id=names.get("kid", ""), jwt_algorithm=names.get("alg", ""))


def _load_jwk(jwk: Mapping[str, Any]) -> Any:
    match jwk:
        case {"kty": "RSA", "n": str(modulus), "e": str(exponent)}:
            return rsa.RSAPublicNumbers(_decode_number(exponent), _decode_number(modulus)).public_key()
        case {"kty": "EC", "crv": str(name), "x": str(x), "y": str(y)} if name in _JWK_CURVES:
            return ec.EllipticCurvePublicNumbers(_decode_number(x), _decode_number(y), _JWK_CURVES[name]).public_key()
        case {"kty": "OKP", "crv": "Ed25519", "x": str(x)}:
            return Ed25519PublicKey.from_public_bytes(_decode_jwk_text(x))
    raise ValueError("a JWK of another type")


def _decode_number(text: str) -> int:
    return int.from_bytes(_decode_jwk_text(text), "big")


def _decode_jwk_text(text: str) -> bytes:
    """Decode base64url as publishers of keys write it: with or without padding."""
    return decode_base64url(text.rstrip("="))


def _parse_pem(label: str, pem: bytes) -> VerificationKey:
    if "PRIVATE KEY" in label:
        raise InvalidSecret("This is a private key. Use the public one.")
    if label != "CERTIFICATE":
        return _build_key(serialization.load_pem_public_key(pem))
    return _build_certificate_key(pem, x509.load_pem_x509_certificate)


def _load_der(der: bytes) -> VerificationKey:
    try:
        return _build_key(serialization.load_der_public_key(der))
    except ValueError:
        return _build_certificate_key(der, x509.load_der_x509_certificate)


def _build_certificate_key(encoded: bytes, load: Callable[[bytes], x509.Certificate]) -> VerificationKey:
    with warnings.catch_warnings():
        # Old certificates have flaws that `cryptography` warns of, such as serial numbers that are not positive.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        certificate = load(encoded)
    return _build_key(
        certificate.public_key(),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def _build_key(public_key: Any, **details: Any) -> VerificationKey:
    """Return a key.

    Raises:
        InvalidSecret: the key is too weak, or of a type that is not supported.
    """
    match public_key:
        case rsa.RSAPublicKey():
            if not _MIN_RSA_BITS <= public_key.key_size <= _MAX_RSA_BITS:
                raise InvalidSecret(f"An RSA key must have {_MIN_RSA_BITS:,} to {_MAX_RSA_BITS:,} bits.")
            exponent = public_key.public_numbers().e
            # Not every supported version of `cryptography` refuses an exponent that is even or 1.
            if exponent < 3 or exponent % 2 == 0 or exponent >= 1 << 64:
                raise InvalidSecret("This RSA key has an exponent that proves nothing.")
            return VerificationKey(RSA, public_key, **details)
        case ec.EllipticCurvePublicKey():
            if public_key.curve.name not in CURVE_HASHES:
                raise InvalidSecret("An ECDSA key must be of the curve P-256, P-384 or P-521.")
            return VerificationKey(ECDSA, public_key, **details)
        case Ed25519PublicKey():
            PublicKey(public_key.public_bytes_raw())
            return VerificationKey(ED25519, public_key, **details)
    raise InvalidSecret("Must be a key of RSA, ECDSA or ed25519.")
