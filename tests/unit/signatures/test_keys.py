"""Public keys, and the strict decoding of signatures."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.signatures.base import InvalidSecret
from receiver.signatures.keys import PublicKey, decode_strict
from tests.support.recipes import PRIVATE_KEY, PUBLIC_KEY


def test_public_key_verifies_only_its_own_signature() -> None:
    key, signature = PublicKey(PUBLIC_KEY), PRIVATE_KEY.sign(b"content")
    assert key.verifies(signature, b"content")
    assert not key.verifies(signature, b"other content")
    assert not PublicKey(b"\1" * 32).verifies(signature, b"content")


@pytest.mark.parametrize("length", [0, 63, 65])
def test_signature_of_any_other_length_does_not_verify(length: int) -> None:
    assert not PublicKey(PUBLIC_KEY).verifies(b"\0" * length, b"content")


@pytest.mark.parametrize("raw", [b"", b"k" * 31, b"k" * 33])
def test_public_key_must_have_32_bytes(raw: bytes) -> None:
    with pytest.raises(InvalidSecret, match=r"^An ed25519 public key must have 32 bytes\.$"):
        PublicKey(raw)


ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
PRIME = 2**255 - 19
WEAK_Y = [0, 1, PRIME - 1, ORDER_8_Y, PRIME - ORDER_8_Y, PRIME, PRIME + 1, PRIME + 3]


@pytest.mark.parametrize("sign_bit", [0, 1 << 255])
@pytest.mark.parametrize("y", WEAK_Y)
def test_public_key_of_small_order_is_refused(y: int, sign_bit: int) -> None:
    message = r"^This ed25519 public key is of small order or not canonical, and proves nothing\.$"
    with pytest.raises(InvalidSecret, match=message):
        PublicKey((y | sign_bit).to_bytes(32, "little"))


@pytest.mark.parametrize("text", [b"00ff", b"00FF", b"00fF"])
def test_hex_may_be_in_either_case(text: bytes) -> None:
    assert decode_strict(text, "hex") == b"\x00\xff"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (b"0", "hex"),
        (b"zz", "hex"),
        (b"00 ff", "hex"),
        (b"AP9=", "base64"),
        (b"AP8", "base64"),
        (b"AP8=\n", "base64"),
        (b"A_8=", "base64"),
        (b"AAAA=", "base64"),
        (b"AAAA====", "base64"),
        (b"====", "base64"),
    ],
)
def test_malformed_or_not_canonical_text_is_not_decoded(text: bytes, encoding: str) -> None:
    assert decode_strict(text, encoding) is None


def test_canonical_base64_is_decoded() -> None:
    assert decode_strict(b"AP8=", "base64") == b"\x00\xff"


@given(st.text("ABYZabyz01+/=-_ \n", max_size=12) | st.binary().map(lambda data: b64encode(data).decode()))
def test_decoded_base64_has_only_one_text(text: str) -> None:
    decoded = decode_strict(text.encode(), "base64")
    assert decoded is None or b64encode(decoded).decode() == text


@given(st.binary())
def test_every_base64_is_decoded(data: bytes) -> None:
    assert decode_strict(b64encode(data), "base64") == data
