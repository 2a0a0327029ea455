"""The encryption of access tokens at rest: AES-256-GCM, under keys derived from `RECEIVER_SECRET_KEY`."""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from receiver.store.access_tokens import TokenKey

_KEY_PURPOSE = b"callback-receiver: access tokens"
_KEY_BYTES = 32
_NONCE_BYTES = 12


class TokenCipher:
    """Encrypts with the first key, and decrypts with any.

    An encrypted token belongs to one provider and one value of its credentials: stored elsewhere, it is not decrypted.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._ciphers = [AESGCM(_derive_key(key)) for key in secret_keys]

    def encrypt(self, key: TokenKey, token: str) -> bytes:
        """Return the encrypted token, which begins with a random nonce."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, token.encode(), _build_associated_data(key))

    def decrypt(self, key: TokenKey, encrypted: bytes) -> str | None:
        """Return the token; None if it was encrypted under another key, or for something else."""
        nonce, ciphertext = encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, _build_associated_data(key)).decode()
            except (InvalidTag, ValueError):
                continue
        return None


def _derive_key(secret_key: str) -> bytes:
    """Derive a key by HKDF (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=_KEY_PURPOSE).derive(secret_key.encode())


def _build_associated_data(key: TokenKey) -> bytes:
    return f"{key.provider}\0{key.fingerprint}".encode()
