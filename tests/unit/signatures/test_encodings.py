"""The encodings of signatures: one normalized text for each signature, however it was spelled."""

import hashlib
import hmac
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.signatures.encodings import ENCODERS, ENCODINGS, decode_signature, normalize_signature
from tests.support.recipes import BODY, KEY, PRIVATE_KEY, PUBLIC_KEY, build_callback, build_recipe, expect_rejection

raws = st.binary(min_size=1, max_size=64)


@given(raw=raws)
def test_every_spelling_is_normalized_to_that_of_the_encoder(raw: bytes) -> None:
    standard, url_safe, in_hex = b64encode(raw), urlsafe_b64encode(raw), raw.hex().encode()
    for encoding in ("base64", "base64url"):
        for text in (standard, standard.rstrip(b"="), url_safe, url_safe.rstrip(b"=")):
            assert normalize_signature(text, encoding) == ENCODERS[encoding](raw)
    for text in (in_hex, in_hex.upper()):
        assert normalize_signature(text, "hex") == ENCODERS["hex"](raw)
        for wrapped in (b64encode(text), urlsafe_b64encode(text).rstrip(b"=")):
            assert normalize_signature(wrapped, "base64-hex") == ENCODERS["base64-hex"](raw)
    assert {decode_signature(ENCODERS[encoding](raw), encoding) for encoding in ENCODINGS} == {raw}


@given(
    text=st.binary(max_size=90) | st.text("AQgw+/-_=", max_size=12).map(str.encode), encoding=st.sampled_from(ENCODINGS)
)
def test_signature_has_no_spellings_but_case_alphabet_and_padding(text: bytes, encoding: str) -> None:
    normalized = normalize_signature(text, encoding)
    raw = decode_signature(normalized, encoding)
    if raw is not None:
        assert ENCODERS[encoding](raw) == normalized
        if encoding == "hex":
            assert text.lower() == normalized
        else:
            spellings = {normalized, normalized.rstrip(b"=")}
            spellings |= {spelling.translate(bytes.maketrans(b"+/", b"-_")) for spelling in spellings}
            assert encoding == "base64-hex" or text in spellings


@pytest.mark.parametrize("encoding", ["base64", "base64url"])
def test_mixed_alphabets_and_incomplete_padding_are_malformed(encoding: str) -> None:
    body, mac = next(
        (body, mac)
        for body, mac in ((b"%d" % n, hmac.digest(KEY.encode(), b"%d" % n, "sha256")) for n in range(500))
        if {"+", "/"} <= {*b64encode(mac).decode()}
    )
    scheme, text = build_recipe(encoding=encoding), b64encode(mac).decode()
    for valid in (text, text.rstrip("="), text.translate({43: "-", 47: "_"})):
        assert scheme.verify(build_callback({"x-sig": valid}, body)) == 0
    for invalid in (text + "=", text.replace("+", "-"), text.replace("/", "_"), f" {text}", text[:-2], text + "A"):
        assert "malformed" in str(expect_rejection(scheme, build_callback({"x-sig": invalid}, body)))


@pytest.mark.parametrize("encoding", ["base64", "base64url"])
def test_half_of_the_padding_is_malformed(encoding: str) -> None:
    scheme = build_recipe(algorithm="sha512", encoding=encoding)
    text = b64encode(hmac.digest(KEY.encode(), BODY, "sha512")).decode()
    for valid in (text, text.removesuffix("==")):
        assert scheme.verify(build_callback({"x-sig": valid})) == 0
    rejection = expect_rejection(scheme, build_callback({"x-sig": text.removesuffix("=")}))
    assert str(rejection) == f"The header x-sig is malformed: it is not 64 bytes in {encoding}."


def test_signature_may_be_base64_of_hex() -> None:
    scheme, mac = build_recipe(encoding="base64-hex"), hmac.digest(KEY.encode(), BODY, "sha256")
    for text in (mac.hex(), mac.hex().upper()):
        assert scheme.verify(build_callback({"x-sig": b64encode(text.encode()).decode()})) == 0
    for invalid in (mac.hex(), b64encode(mac).decode(), b64encode(mac.hex()[:-1].encode()).decode()):
        assert "malformed" in str(expect_rejection(scheme, build_callback({"x-sig": invalid})))


@pytest.mark.parametrize("algorithm", ["sha1", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_hash_verifies_in_every_encoding(algorithm: str, encoding: str) -> None:
    mac = hmac.new(KEY.encode(), BODY, getattr(hashlib, algorithm)).digest()
    scheme = build_recipe(algorithm=algorithm, encoding=encoding)
    assert scheme.verify(build_callback({"x-sig": ENCODERS[encoding](mac).decode()})) == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_ed25519_verifies_in_every_encoding(encoding: str) -> None:
    scheme = build_recipe(algorithm="ed25519", encoding=encoding, secrets=[PUBLIC_KEY.hex()])
    signature = ENCODERS[encoding](PRIVATE_KEY.sign(BODY)).decode().rstrip("=")
    assert scheme.verify(build_callback({"x-sig": signature})) == 0
