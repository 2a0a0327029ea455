"""fal.ai's signature: `cryptography` as the independent signer, and everything that is refused."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import SignatureRefused
from receiver.signatures.fal import JWKS_URL, FalScheme

AT = 1_767_312_000
BODY = b'{"request_id":"a-b","status":"OK","payload":{"images":[]}}'
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
REQUEST_ID = "764cabcf-b745-4b3e-ae38-1200304cf45b"
SCHEME = FalScheme()
PREFIX = "x-fal-webhook-"
Headers = dict[str, str]


def jwk_of(key: Ed25519PrivateKey, **overrides: Any) -> dict[str, Any]:
    x = urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "1", "use": "sig"} | overrides


def documents_of(*keys: Any) -> dict[str, bytes]:
    return {JWKS_URL: orjson.dumps({"keys": keys})}


DOCUMENTS = documents_of(jwk_of(SIGNER))


def signed(body: bytes = BODY, *, key: Ed25519PrivateKey = SIGNER, at: int = AT) -> Headers:
    content = f"{REQUEST_ID}\nuser|1\n{at}\n{sha256(body).hexdigest()}".encode()
    return {
        f"{PREFIX}request-id": REQUEST_ID,
        f"{PREFIX}user-id": "user|1",
        f"{PREFIX}timestamp": str(at),
        f"{PREFIX}signature": key.sign(content).hex(),
    }


SIGNED = signed()


def incoming(headers: Headers = SIGNED, body: bytes = BODY, now: float = AT) -> IncomingCallback:
    return IncomingCallback("POST", "/", headers, body, datetime.fromtimestamp(now, UTC))


def refusal(given: IncomingCallback, documents: dict[str, bytes] = DOCUMENTS) -> str:
    """Give the part of the recipe that failed."""
    with pytest.raises(SignatureRefused) as caught:
        SCHEME.verify(given, documents)
    return caught.value.part


def changed(text: str, position: int, actor: int) -> str:
    position %= len(text)
    return text[:position] + chr((ord(text[position]) + actor) % 256) + text[position + 1 :]


def test_a_signed_callback_verifies_and_tells_its_id() -> None:
    assert SCHEME.verify(incoming(), DOCUMENTS) == 0
    assert SCHEME.message_id(incoming()) == REQUEST_ID


def test_it_says_which_document_it_needs() -> None:
    assert list(SCHEME.documents) == ["https://rest.fal.ai/.well-known/jwks.json"]


@given(body=st.binary(), seed=st.binary(min_size=32, max_size=32))
def test_whatever_a_listed_key_signs_verifies(body: bytes, seed: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert SCHEME.verify(incoming(signed(body, key=key), body), documents_of(jwk_of(key))) == 0


def test_any_listed_key_may_have_signed_and_its_place_is_told() -> None:
    assert SCHEME.verify(incoming(), documents_of(jwk_of(OTHER), jwk_of(SIGNER))) == 1
    assert refusal(incoming(), documents_of(jwk_of(OTHER))) == f"{PREFIX}signature"


@pytest.mark.parametrize(
    "other",
    [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        jwk_of(OTHER, kty="EC"),
        jwk_of(OTHER, crv="X25519"),
        jwk_of(OTHER, x="AAAA"),
        jwk_of(OTHER, x="é"),
        jwk_of(OTHER, x="a"),
        jwk_of(OTHER, x=1),
        {"kty": "OKP", "crv": "Ed25519"},
        {},
        [],
        None,
        "key",
    ],
)
def test_keys_of_other_kinds_are_left_out(other: Any) -> None:
    assert SCHEME.verify(incoming(), documents_of(other, jwk_of(SIGNER))) == 1
    assert refusal(incoming(), documents_of(other)) == "jwks"


@pytest.mark.parametrize(
    "document",
    [b"", b"null", b"[]", b"{}", b'{"keys":1}', b'{"keys":{}}', b'{"keys":[]}', b"<html>", b"\xff", b"[" * 100_000],
)
def test_a_broken_document_is_refused(document: bytes) -> None:
    assert refusal(incoming(), {JWKS_URL: document}) == "jwks"


def test_a_missing_document_is_refused() -> None:
    assert refusal(incoming(), {}) == "jwks"
    with pytest.raises(SignatureRefused, match="has not been fetched"):
        SCHEME.verify(incoming())


@pytest.mark.parametrize("part", ["request-id", "user-id", "timestamp", "signature"])
def test_a_missing_or_empty_header_is_refused_by_name(part: str) -> None:
    header = PREFIX + part
    assert refusal(incoming({name: value for name, value in SIGNED.items() if name != header})) == header
    assert refusal(incoming(SIGNED | {header: ""})) == header


@pytest.mark.parametrize("age", [0, 300, -300])
def test_the_tolerance_has_two_sides_and_its_bounds_are_within(age: float) -> None:
    assert SCHEME.verify(incoming(now=AT + age), DOCUMENTS) == 0


@pytest.mark.parametrize("age", [300.5, -300.5, 1e8, -1e8])
def test_a_stale_or_future_callback_is_refused(age: float) -> None:
    assert refusal(incoming(now=AT + age)) == f"{PREFIX}timestamp"
    assert FalScheme(tolerance=2e8).verify(incoming(now=AT + age), DOCUMENTS) == 0


@pytest.mark.parametrize(
    "timestamp", [f"{AT}.0", f"+{AT}", f" {AT}", f"{AT}\n", "1_767_312_000", "nan", "١٧٦٧", "9" * 99]
)
def test_a_timestamp_is_whole_unix_seconds_and_nothing_else(timestamp: str) -> None:
    assert refusal(incoming(SIGNED | {f"{PREFIX}timestamp": timestamp})) == f"{PREFIX}timestamp"


@pytest.mark.parametrize(
    "signature", ["00", SIGNED[f"{PREFIX}signature"] + "00", SIGNED[f"{PREFIX}signature"] + "\n", " " * 128, "é" * 128]
)
def test_a_malformed_signature_is_refused(signature: str) -> None:
    assert refusal(incoming(SIGNED | {f"{PREFIX}signature": signature})) == f"{PREFIX}signature"


def test_the_lines_that_are_signed_cannot_be_parted_otherwise() -> None:
    content = f"a\nb\nc\n{AT}\n{sha256(BODY).hexdigest()}".encode()
    headers = SIGNED | {f"{PREFIX}signature": SIGNER.sign(content).hex()}
    for request_id, user_id in (("a\nb", "c"), ("a", "b\nc")):
        headers |= {f"{PREFIX}request-id": request_id, f"{PREFIX}user-id": user_id}
        assert refusal(incoming(headers)) in {f"{PREFIX}request-id", f"{PREFIX}user-id"}


@given(position=st.integers(0, len(BODY) - 1), actor=st.integers(1, 255))
def test_any_changed_byte_of_the_body_is_refused(position: int, actor: int) -> None:
    body = bytearray(BODY)
    body[position] = (body[position] + actor) % 256
    assert refusal(incoming(body=bytes(body))) == f"{PREFIX}signature"


@given(header=st.sampled_from(sorted(SIGNED)), position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_byte_of_a_header_is_refused(header: str, position: int, actor: int) -> None:
    value = changed(SIGNED[header], position, actor)
    assume(header != f"{PREFIX}signature" or value.lower() != SIGNED[header])  # hex digits have no case
    assert refusal(incoming(SIGNED | {header: value})).startswith(PREFIX)


@given(
    headers=st.dictionaries(st.sampled_from(sorted(SIGNED)), st.text() | st.just(str(AT)) | st.just("00" * 64)),
    body=st.binary(),
    document=st.binary() | st.just(DOCUMENTS[JWKS_URL]),
)
def test_whatever_arrives_is_refused_and_never_breaks(headers: Headers, body: bytes, document: bytes) -> None:
    refusal(incoming(SIGNED | headers | {f"{PREFIX}user-id": "another"}, body), {JWKS_URL: document})
    SCHEME.message_id(incoming(headers, body))
