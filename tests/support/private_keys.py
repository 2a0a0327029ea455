"""Private keys as the code under test reads them."""

from cryptography.hazmat.primitives import serialization

from receiver.signatures.private_keys import PrivateKey as SigningKey
from receiver.signatures.private_keys import parse_private_key
from tests.support.signing_keys import PrivateKey


def export_private_pem(key: PrivateKey) -> bytes:
    """Return a private key in PEM."""
    encoding, key_format = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, key_format, serialization.NoEncryption())


def load_signing_key(key: PrivateKey) -> SigningKey:
    """Return a private key as it is read from a file."""
    return parse_private_key(export_private_pem(key))
