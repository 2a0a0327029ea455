"""fal.ai's signature, against `cryptography` as signer, and every kind of rejected callback."""

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
from receiver.signatures.base import InvalidSignature
from receiver.signatures.fal import JWKS_URL, FalScheme
from tests.support.changes import change_character

SIGNED_AT = 1_767_312_000
BODY = b'{"request_id":"a-b","status":"OK","payload":{"images":[]}}'
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
REQUEST_ID = "764cabcf-b745-4b3e-ae38-1200304cf45b"
SCHEME = FalScheme()
PREFIX = "x-fal-webhook-"
Headers = dict[str, str]


def build_jwk(key: Ed25519PrivateKey, **overrides: Any) -> dict[str, Any]:
    x = urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "1", "use": "sig"} | overrides


def build_documents(*keys: Any) -> dict[str, bytes]:
    return {JWKS_URL: orjson.dumps({"keys": keys})}


DOCUMENTS = build_documents(build_jwk(SIGNING_KEY))


def sign_headers(body: bytes = BODY, *, key: Ed25519PrivateKey = SIGNING_KEY, at: int = SIGNED_AT) -> Headers:
    content = f"{REQUEST_ID}\nuser|1\n{at}\n{sha256(body).hexdigest()}".encode()
    return {
        f"{PREFIX}request-id": REQUEST_ID,
        f"{PREFIX}user-id": "user|1",
        f"{PREFIX}timestamp": str(at),
        f"{PREFIX}signature": key.sign(content).hex(),
    }


SIGNED = sign_headers()


def build_callback(headers: Headers = SIGNED, body: bytes = BODY, now: float = SIGNED_AT) -> IncomingCallback:
    return IncomingCallback("POST", "/", headers, body, datetime.fromtimestamp(now, UTC))


def expect_rejection(callback: IncomingCallback, documents: dict[str, bytes] = DOCUMENTS) -> str:
    """Verify a callback that must be rejected; return the part that failed."""
    with pytest.raises(InvalidSignature) as caught:
        SCHEME.verify(callback, documents)
    return caught.value.part


def test_signed_callback_verifies_and_has_message_id() -> None:
    assert SCHEME.verify(build_callback(), DOCUMENTS) == 0
    assert SCHEME.message_id(build_callback()) == REQUEST_ID
    assert SCHEME.message_id(build_callback({})) == ""


@pytest.mark.parametrize(
    ("callback", "documents", "message"),
    [
        (build_callback({}), DOCUMENTS, f"The header {PREFIX}request-id is missing or malformed."),
        (build_callback(now=SIGNED_AT - 301), DOCUMENTS, "Signed 301 s in the future; the tolerance is 300 s."),
        (build_callback(body=b"{}"), DOCUMENTS, "The signature does not match any key of the JWKS."),
        (build_callback(), {}, "The JWKS has not been fetched."),
        (build_callback(), build_documents(), "The JWKS has no ed25519 key."),
    ],
)
def test_rejection_says_what_is_wrong(callback: IncomingCallback, documents: dict[str, bytes], message: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        SCHEME.verify(callback, documents)
    assert str(caught.value) == message


def test_callback_of_another_account_is_rejected() -> None:
    assert FalScheme(user_id="user|1").verify(build_callback(), DOCUMENTS) == 0
    with pytest.raises(InvalidSignature, match=r"^The callback is about a job of another user of fal\.$") as caught:
        FalScheme(user_id="user|2").verify(build_callback(), DOCUMENTS)
    assert caught.value.part == f"{PREFIX}user-id"


def test_scheme_names_required_document() -> None:
    assert list(SCHEME.find_documents(build_callback())) == ["https://rest.fal.ai/.well-known/jwks.json"]


@given(body=st.binary(), seed=st.binary(min_size=32, max_size=32))
def test_signature_of_listed_key_verifies(body: bytes, seed: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert SCHEME.verify(build_callback(sign_headers(body, key=key), body), build_documents(build_jwk(key))) == 0


def test_verify_returns_index_of_matching_key() -> None:
    assert SCHEME.verify(build_callback(), build_documents(build_jwk(OTHER_KEY), build_jwk(SIGNING_KEY))) == 1
    assert expect_rejection(build_callback(), build_documents(build_jwk(OTHER_KEY))) == f"{PREFIX}signature"


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        build_jwk(OTHER_KEY, kty="EC"),
        build_jwk(OTHER_KEY, crv="X25519"),
        build_jwk(OTHER_KEY, x="AAAA"),
        build_jwk(OTHER_KEY, x="é"),
        build_jwk(OTHER_KEY, x="a"),
        build_jwk(OTHER_KEY, x="!!!!" + build_jwk(OTHER_KEY)["x"]),
        build_jwk(OTHER_KEY, x=1),
        {"kty": "OKP", "crv": "Ed25519"},
        {},
        [],
        None,
        "key",
    ],
)
def test_keys_of_other_types_are_ignored(jwk: Any) -> None:
    assert SCHEME.verify(build_callback(), build_documents(jwk, build_jwk(SIGNING_KEY))) == 1
    assert expect_rejection(build_callback(), build_documents(jwk)) == "jwks"


@pytest.mark.parametrize(
    "document",
    [b"", b"null", b"[]", b"{}", b'{"keys":1}', b'{"keys":{}}', b'{"keys":[]}', b"<html>", b"\xff", b"[" * 100_000],
)
def test_malformed_jwks_is_rejected(document: bytes) -> None:
    assert expect_rejection(build_callback(), {JWKS_URL: document}) == "jwks"


def test_missing_jwks_is_rejected() -> None:
    assert expect_rejection(build_callback(), {}) == "jwks"
    with pytest.raises(InvalidSignature, match="has not been fetched"):
        SCHEME.verify(build_callback())


@pytest.mark.parametrize("part", ["request-id", "user-id", "timestamp", "signature"])
def test_missing_or_empty_header_is_rejected_by_name(part: str) -> None:
    header = PREFIX + part
    assert expect_rejection(build_callback({name: value for name, value in SIGNED.items() if name != header})) == header
    assert expect_rejection(build_callback(SIGNED | {header: ""})) == header


@pytest.mark.parametrize("age", [0, 300, -300])
def test_tolerance_is_two_sided_and_inclusive(age: float) -> None:
    assert SCHEME.verify(build_callback(now=SIGNED_AT + age), DOCUMENTS) == 0


@pytest.mark.parametrize("age", [300.5, -300.5, 1e8, -1e8])
def test_stale_or_future_callback_is_rejected(age: float) -> None:
    assert expect_rejection(build_callback(now=SIGNED_AT + age)) == f"{PREFIX}timestamp"
    assert FalScheme(tolerance=2e8).verify(build_callback(now=SIGNED_AT + age), DOCUMENTS) == 0


@pytest.mark.parametrize(
    "timestamp",
    [f"{SIGNED_AT}.0", f"+{SIGNED_AT}", f" {SIGNED_AT}", f"{SIGNED_AT}\n", "1_767_312_000", "nan", "١٧٦٧", "9" * 99],
)
def test_timestamp_must_be_whole_unix_seconds(timestamp: str) -> None:
    assert expect_rejection(build_callback(SIGNED | {f"{PREFIX}timestamp": timestamp})) == f"{PREFIX}timestamp"


@pytest.mark.parametrize(
    "signature", ["00", SIGNED[f"{PREFIX}signature"] + "00", SIGNED[f"{PREFIX}signature"] + "\n", " " * 128, "é" * 128]
)
def test_malformed_signature_is_rejected(signature: str) -> None:
    assert expect_rejection(build_callback(SIGNED | {f"{PREFIX}signature": signature})) == f"{PREFIX}signature"


def test_line_break_in_header_cannot_shift_signed_lines() -> None:
    content = f"a\nb\nc\n{SIGNED_AT}\n{sha256(BODY).hexdigest()}".encode()
    headers = SIGNED | {f"{PREFIX}signature": SIGNING_KEY.sign(content).hex()}
    for request_id, user_id in (("a\nb", "c"), ("a", "b\nc")):
        headers |= {f"{PREFIX}request-id": request_id, f"{PREFIX}user-id": user_id}
        assert expect_rejection(build_callback(headers)) in {f"{PREFIX}request-id", f"{PREFIX}user-id"}


@given(position=st.integers(0, len(BODY) - 1), delta=st.integers(1, 255))
def test_changed_body_byte_is_rejected(position: int, delta: int) -> None:
    body = bytearray(BODY)
    body[position] = (body[position] + delta) % 256
    assert expect_rejection(build_callback(body=bytes(body))) == f"{PREFIX}signature"


@given(header=st.sampled_from(sorted(SIGNED)), position=st.integers(0), delta=st.integers(1, 255))
def test_changed_header_byte_is_rejected(header: str, position: int, delta: int) -> None:
    value = change_character(SIGNED[header], position, delta)
    assume(header != f"{PREFIX}signature" or value.lower() != SIGNED[header])  # hex digits have no case
    assert expect_rejection(build_callback(SIGNED | {header: value})).startswith(PREFIX)


@given(
    headers=st.dictionaries(st.sampled_from(sorted(SIGNED)), st.text() | st.just(str(SIGNED_AT)) | st.just("00" * 64)),
    body=st.binary(),
    document=st.binary() | st.just(DOCUMENTS[JWKS_URL]),
)
def test_arbitrary_input_is_rejected(headers: Headers, body: bytes, document: bytes) -> None:
    expect_rejection(build_callback(SIGNED | headers | {f"{PREFIX}user-id": "another"}, body), {JWKS_URL: document})
    SCHEME.message_id(build_callback(headers, body))
