"""Private keys, with which callbacks are signed as their provider would sign them."""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from receiver.signatures.base import InvalidSecret
from receiver.signatures.public_keys import CURVE_HASHES, HASHES, VerificationKey

_FORMAT = "Must be a private key of RSA, ECDSA or ed25519 in PEM, without a passphrase."


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key of RSA, ECDSA or ed25519."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey

    def find_public_key(self, candidates: Iterable[VerificationKey]) -> VerificationKey | None:
        """Return the public key of the same key pair; None if it is not among the candidates."""
        own = self.key.public_key()
        return next((candidate for candidate in candidates if candidate.public_key == own), None)

    @property
    def public_bytes(self) -> bytes:
        """The 32 bytes of the public key, if it is one of ed25519; else none."""
        return self.key.public_key().public_bytes_raw() if isinstance(self.key, Ed25519PrivateKey) else b""

    def sign(
        self, content: bytes, hash_name: str = "", padding_name: str = "pkcs1v15", signature_format: str = "der"
    ) -> bytes:
        """Return the signature of a content; see `receiver.signatures.public_keys` for the arguments."""
        match self.key:
            case rsa.RSAPrivateKey() as rsa_key:
                hash_function = HASHES[hash_name or "sha256"]
                scheme: padding.AsymmetricPadding = padding.PKCS1v15()
                if padding_name == "pss":
                    scheme = padding.PSS(padding.MGF1(hash_function), padding.PSS.DIGEST_LENGTH)
                return rsa_key.sign(content, scheme, hash_function)
            case ec.EllipticCurvePrivateKey() as ec_key:
                der = ec_key.sign(content, ec.ECDSA(HASHES[hash_name or CURVE_HASHES[ec_key.curve.name]]))
                size = (ec_key.curve.key_size + 7) // 8
                is_raw = signature_format == "raw"
                return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(der)) if is_raw else der
            case ed25519_key:
                return ed25519_key.sign(content)

    def sign_token(self, content: bytes, algorithm: str) -> bytes:
        """Return the signature of a token by one of `receiver.signatures.jose.ALGORITHMS` that fits the key."""
        is_pss = algorithm.startswith("PS")
        return self.sign(content, f"sha{algorithm[2:]}", "pss" if is_pss else "pkcs1v15", "raw")


def parse_private_key(pem: bytes) -> PrivateKey:
    """Return the private key of a text in PEM.

    Raises:
        InvalidSecret: it is none of a supported type, or has a passphrase.
    """
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidSecret(_FORMAT) from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in CURVE_HASHES:
        raise InvalidSecret("An ECDSA key must be of the curve P-256, P-384 or P-521.")
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise InvalidSecret(_FORMAT)
    return PrivateKey(key)
