"""The encryption of access tokens at rest."""

from receiver.exchange.token_cipher import TokenCipher
from receiver.store.access_tokens import TokenKey

FIRST, SECOND = "the-first-secret-key", "the-second-secret-key"
OWNER = TokenKey("acme/north", "0123456789abcdef")


def test_first_key_encrypts_and_every_key_decrypts() -> None:
    encrypted = TokenCipher([FIRST, SECOND]).encrypt(OWNER, "a token")
    assert b"token" not in encrypted
    assert TokenCipher([SECOND, FIRST]).decrypt(OWNER, encrypted) == "a token"
    assert TokenCipher([SECOND]).decrypt(OWNER, encrypted) is None


def test_token_of_another_owner_is_not_decrypted() -> None:
    cipher = TokenCipher([FIRST])
    encrypted = cipher.encrypt(OWNER, "a token")
    assert cipher.decrypt(TokenKey("acme", OWNER.fingerprint), encrypted) is None
    assert cipher.decrypt(TokenKey(OWNER.provider, "fedcba9876543210"), encrypted) is None


def test_damaged_token_is_not_decrypted() -> None:
    cipher = TokenCipher([FIRST])
    encrypted = cipher.encrypt(OWNER, "a token")
    assert {cipher.decrypt(OWNER, encrypted[:length]) for length in range(len(encrypted))} == {None}


def test_equal_tokens_are_encrypted_differently() -> None:
    cipher = TokenCipher([FIRST])
    assert cipher.encrypt(OWNER, "a token") != cipher.encrypt(OWNER, "a token")
