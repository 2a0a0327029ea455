"""Standard Webhooks, against the published vector and the reference library, and every kind of rejected callback."""

import time
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSecret, InvalidSignature
from receiver.signatures.keys import PublicKey
from receiver.signatures.standard_webhooks import (
    DEFAULT_TOLERANCE,
    StandardWebhooks,
    decode_key,
    encode_key,
    parse_key,
    sign,
)
from tests.support.changes import change_character

# The vector of https://github.com/standard-webhooks/standard-webhooks and of Svix's documentation.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER_SECRET = "whsec_" + b64encode(b"another secret of 24 byte").decode()

SCHEME = StandardWebhooks([decode_key(SECRET)])

SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = SIGNING_KEY.public_key().public_bytes_raw()
PUBLIC_SECRET = "whpk_" + b64encode(PUBLIC_KEY).decode()
ASYMMETRIC_SIGNATURE = "v1a," + b64encode(SIGNING_KEY.sign(f"{MESSAGE_ID}.{TIMESTAMP}.".encode() + BODY)).decode()
ASYMMETRIC_SCHEME = StandardWebhooks([parse_key(PUBLIC_SECRET)])
Headers = dict[str, str]

wire_text = st.text(st.characters(max_codepoint=255))  # what a WSGI server passes on: bytes decoded as latin-1
texts = st.text(st.characters(exclude_categories=["Cs"]))
message_ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
secrets = st.binary(min_size=1, max_size=64).map(lambda key: "whsec_" + b64encode(key).decode())


def build_headers(**overrides: str) -> Headers:
    """Return the headers of the vector; `overrides` are named without prefix, and an empty one removes the header."""
    values = {"id": MESSAGE_ID, "timestamp": str(TIMESTAMP), "signature": SIGNATURE} | overrides
    return {f"webhook-{name}": value for name, value in values.items() if value}


def verify(scheme: StandardWebhooks, headers: Headers, body: bytes, now: float) -> int:
    """Verify a callback received at `now` (Unix seconds)."""
    return scheme.verify(IncomingCallback("POST", "/", headers, body, datetime.fromtimestamp(now, UTC)))


def expect_rejection(
    headers: Headers, body: bytes = BODY, now: float = TIMESTAMP, scheme: StandardWebhooks = SCHEME
) -> str:
    """Verify a callback that must be rejected; return the part that failed."""
    return expect_error(headers, body, now, scheme).part


def expect_error(
    headers: Headers, body: bytes = BODY, now: float = TIMESTAMP, scheme: StandardWebhooks = SCHEME
) -> InvalidSignature:
    """Verify a callback that must be rejected; return the error."""
    with pytest.raises(InvalidSignature) as caught:
        verify(scheme, headers, body, now)
    return caught.value


def test_published_vector_verifies_and_equals_own_signature() -> None:
    assert verify(SCHEME, build_headers(), BODY, TIMESTAMP) == 0
    assert sign(decode_key(SECRET), MESSAGE_ID, TIMESTAMP, BODY) == SIGNATURE


@given(secret=secrets, message_id=message_ids, body=texts)
def test_signature_of_reference_library_verifies(secret: str, message_id: str, body: str) -> None:
    signature = Webhook(secret).sign(message_id, datetime.fromtimestamp(TIMESTAMP, UTC), body)
    headers = build_headers(id=message_id, signature=signature)
    assert verify(StandardWebhooks([decode_key(secret)]), headers, body.encode(), TIMESTAMP) == 0


@given(secret=secrets, message_id=message_ids, body=texts)
def test_reference_library_verifies_own_signature(secret: str, message_id: str, body: str) -> None:
    now = int(time.time())
    headers = build_headers(
        id=message_id, timestamp=str(now), signature=sign(decode_key(secret), message_id, now, body.encode())
    )
    Webhook(secret).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + " ", headers, json_parse=False)


def test_verify_returns_index_of_matching_secret() -> None:
    keys = [decode_key(OTHER_SECRET), decode_key(SECRET)]
    assert verify(StandardWebhooks(keys), build_headers(), BODY, TIMESTAMP) == 1
    assert verify(StandardWebhooks(keys[::-1]), build_headers(), BODY, TIMESTAMP) == 0
    both_signatures = f"{sign(keys[0], MESSAGE_ID, TIMESTAMP, BODY)} {SIGNATURE}"
    assert verify(StandardWebhooks(keys), build_headers(signature=both_signatures), BODY, TIMESTAMP) == 0


@pytest.mark.parametrize("keys", [[], [decode_key(OTHER_SECRET)], [b""]])
def test_removed_secret_verifies_nothing(keys: list[bytes]) -> None:
    with pytest.raises(InvalidSignature, match=r"^No v1 signature matches any configured secret\.$"):
        verify(StandardWebhooks(keys), build_headers(), BODY, TIMESTAMP)


@pytest.mark.parametrize(
    "signatures",
    [
        f"v1,AAAA {SIGNATURE}",
        f"{SIGNATURE} v1,AAAA",
        f"v1a,{SIGNATURE[3:]} {SIGNATURE}",
        f"v2,a future version {SIGNATURE}",
        f" {SIGNATURE} ",
    ],
)
def test_any_of_several_signatures_may_match(signatures: str) -> None:
    assert verify(SCHEME, build_headers(signature=signatures), BODY, TIMESTAMP) == 0


@pytest.mark.parametrize("age", [0.0, 0.9, DEFAULT_TOLERANCE, -DEFAULT_TOLERANCE])
def test_tolerance_is_two_sided_and_inclusive(age: float) -> None:
    assert verify(SCHEME, build_headers(), BODY, TIMESTAMP + age) == 0


@pytest.mark.parametrize("age", [DEFAULT_TOLERANCE + 0.1, -DEFAULT_TOLERANCE - 0.1, 1e9, -1e9])
def test_stale_or_future_timestamp_is_rejected(age: float) -> None:
    assert expect_rejection(build_headers(), now=TIMESTAMP + age) == "webhook-timestamp"


def test_tolerance_is_configurable() -> None:
    scheme = StandardWebhooks([decode_key(SECRET)], tolerance=1_000.0)
    assert verify(scheme, build_headers(), BODY, TIMESTAMP + 999) == 0
    with pytest.raises(InvalidSignature, match="Signed 1001 s ago; the tolerance is 1000 s"):
        verify(scheme, build_headers(), BODY, TIMESTAMP + 1_001)


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_missing_or_empty_header_is_rejected_by_name(part: str) -> None:
    for headers in (build_headers(), build_headers(timestamp="now", signature="v1,AAAA")):
        for incomplete in ({name: value for name, value in headers.items() if name != part}, headers | {part: ""}):
            error = expect_error(incomplete)
            assert (error.part, str(error)) == (part, f"The header {part} is missing.")


@pytest.mark.parametrize(
    "timestamp",
    [
        f"{TIMESTAMP}.0",
        f"+{TIMESTAMP}",
        f"-{TIMESTAMP}",
        f" {TIMESTAMP}",
        f"{TIMESTAMP}\n",
        f"{TIMESTAMP}000000",
        "1_614_265_330",
        "1.614265330e9",
        "0x60379CF2",
        "nan",
        "inf",
        "¹",
        "١٦١٤٢٦٥٣٣٠",
        "2021-02-25T15:02:10Z",
    ],
)
def test_timestamp_must_be_whole_unix_seconds_in_ascii(timestamp: str) -> None:
    error = expect_error(build_headers(timestamp=timestamp))
    assert (error.part, str(error)) == (
        "webhook-timestamp",
        "The header webhook-timestamp is not whole Unix seconds.",
    )


@pytest.mark.parametrize(
    "signature",
    [
        SIGNATURE[3:],
        "v1",
        "v1,",
        "v1,,",
        ",",
        " ",
        f"v1 {SIGNATURE[3:]}",
        f"v1a,{SIGNATURE[3:]}",
        f"V1,{SIGNATURE[3:]}",
        SIGNATURE.rstrip("="),
        SIGNATURE + "=",
        SIGNATURE + "\n",
        SIGNATURE + "," + SIGNATURE,
        "v1,é€",
    ],
)
def test_malformed_signature_is_rejected(signature: str) -> None:
    assert expect_rejection(build_headers(signature=signature)) == "webhook-signature"


@given(position=st.integers(0, len(BODY) - 1), delta=st.integers(1, 255))
def test_changed_body_byte_is_rejected(position: int, delta: int) -> None:
    body = bytearray(BODY)
    body[position] = (body[position] + delta) % 256
    assert expect_rejection(build_headers(), bytes(body)) == "webhook-signature"


@pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b"\n", b"\0" + BODY])
def test_truncated_or_extended_body_is_rejected(body: bytes) -> None:
    assert expect_rejection(build_headers(), body) == "webhook-signature"


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_id_character_is_rejected(position: int, delta: int) -> None:
    assert expect_rejection(build_headers(id=change_character(MESSAGE_ID, position, delta))) == "webhook-signature"


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_timestamp_character_is_rejected(position: int, delta: int) -> None:
    assert expect_rejection(build_headers(timestamp=change_character(str(TIMESTAMP), position, delta))) in {
        "webhook-timestamp",
        "webhook-signature",
    }


@given(seconds=st.integers(-300, 300).filter(bool))
def test_timestamp_changed_within_tolerance_is_rejected(seconds: int) -> None:
    assert expect_rejection(build_headers(timestamp=str(TIMESTAMP + seconds))) == "webhook-signature"


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_signature_character_is_rejected(position: int, delta: int) -> None:
    assert (
        expect_rejection(build_headers(signature=change_character(SIGNATURE, position, delta))) == "webhook-signature"
    )


@given(
    headers=st.fixed_dictionaries(
        {},
        optional={
            "webhook-id": wire_text,
            "webhook-timestamp": st.sampled_from([str(TIMESTAMP), "0", "9" * 12]) | wire_text,
            "webhook-signature": st.builds("v1,{}".format, wire_text) | wire_text,
            "host": wire_text,
        },
    ),
    body=st.binary(),
    now=st.just(float(TIMESTAMP)) | st.floats(0, 1e11),
)
def test_arbitrary_wsgi_input_is_rejected(headers: Headers, body: bytes, now: float) -> None:
    assert expect_rejection(headers, body, now).startswith("webhook-")


@given(headers=st.dictionaries(st.sampled_from(sorted(build_headers())), wire_text))
def test_error_never_contains_expected_signature(headers: Headers) -> None:
    callback_headers = build_headers() | headers | {"webhook-id": "another"}
    with pytest.raises(InvalidSignature) as caught:
        verify(SCHEME, callback_headers, BODY, TIMESTAMP)
    assert sign(decode_key(SECRET), "another", TIMESTAMP, BODY)[3:] not in str(caught.value)


@given(key=st.binary(min_size=1, max_size=64))
def test_secret_is_base64_with_or_without_prefix(key: bytes) -> None:
    text = b64encode(key).decode()
    assert decode_key(text) == decode_key(f"whsec_{text}") == key


@pytest.mark.parametrize(
    "secret",
    [
        "whsec_a passphrase of many words",
        "whsec_bm90IHNvIHNlY3JldA=",
        "whsec_bm90IHNvIHNlY3JldA==\n",
        " whsec_bm90IHNvIHNlY3JldA==",
        "WHSEC_bm90IHNvIHNlY3JldA==",
        "whsec_bm90IHNv-HNlY3JldA_=",
        "whsec_bm90IHNvIHNlY3JldÄ==",
        "whsec_\ud800bm90IHNvIHNlY3Jl",
    ],
)
def test_error_hides_secret_that_is_not_base64(secret: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        decode_key(secret)
    assert str(caught.value) == "Must be base64, with or without the prefix whsec_."
    assert not any(secret[start : start + 8] in repr(caught.value) for start in range(6, len(secret) - 8))


@pytest.mark.parametrize("secret", ["", "whsec_"])
def test_empty_secret_is_rejected(secret: str) -> None:
    with pytest.raises(InvalidSecret, match=r"^Must not be empty\.$"):
        decode_key(secret)


def test_repr_hides_keys() -> None:
    assert repr(decode_key(SECRET))[2:-1] not in repr(SCHEME)
    assert "tolerance=300" in repr(SCHEME)


def test_header_prefix_is_configurable() -> None:
    scheme = StandardWebhooks([decode_key(SECRET)], prefix="svix")
    headers = {name.replace("webhook", "svix"): value for name, value in build_headers().items()}
    assert verify(scheme, headers, BODY, TIMESTAMP) == 0
    callback = IncomingCallback("POST", "/", headers, BODY, datetime.fromtimestamp(TIMESTAMP, UTC))
    assert (scheme.message_id(callback), SCHEME.message_id(callback)) == (MESSAGE_ID, "")
    assert expect_rejection(build_headers(), scheme=scheme) == "svix-id"


@pytest.mark.parametrize("prefix", ["", "Svix", "svix-", "web hook", "webhook\n", "ünicode"])
def test_invalid_header_prefix_is_rejected(prefix: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        StandardWebhooks([decode_key(SECRET)], prefix=prefix)
    assert str(caught.value) == "The prefix of the headers must be lower-case letters, digits and hyphens."


def test_public_key_verifies_asymmetric_signature() -> None:
    assert verify(ASYMMETRIC_SCHEME, build_headers(signature=ASYMMETRIC_SIGNATURE), BODY, TIMESTAMP) == 0


def test_secrets_and_public_keys_can_be_combined() -> None:
    scheme = StandardWebhooks([decode_key(SECRET), parse_key(PUBLIC_SECRET)])
    assert verify(scheme, build_headers(signature=ASYMMETRIC_SIGNATURE), BODY, TIMESTAMP) == 1
    assert verify(scheme, build_headers(), BODY, TIMESTAMP) == 0
    assert verify(scheme, build_headers(signature=f"{ASYMMETRIC_SIGNATURE} {SIGNATURE}"), BODY, TIMESTAMP) == 0
    reverse = StandardWebhooks(scheme.keys[::-1])
    assert verify(reverse, build_headers(), BODY, TIMESTAMP) == 1
    assert (
        verify(ASYMMETRIC_SCHEME, build_headers(signature=f"{SIGNATURE} {ASYMMETRIC_SIGNATURE}"), BODY, TIMESTAMP) == 0
    )


def test_public_key_never_serves_as_secret() -> None:
    public_key_as_secret = sign(PUBLIC_KEY, MESSAGE_ID, TIMESTAMP, BODY)
    for signature in (public_key_as_secret, f"v1a{public_key_as_secret[2:]}"):
        assert expect_rejection(build_headers(signature=signature), scheme=ASYMMETRIC_SCHEME) == "webhook-signature"


def test_asymmetric_signature_never_matches_secret() -> None:
    same_bytes_as_secret = StandardWebhooks([PUBLIC_KEY])
    assert (
        expect_rejection(build_headers(signature=ASYMMETRIC_SIGNATURE), scheme=same_bytes_as_secret)
        == "webhook-signature"
    )
    assert expect_rejection(build_headers(signature=f"v1a,{SIGNATURE[3:]}")) == "webhook-signature"


def test_signature_of_other_key_is_rejected() -> None:
    other_key = StandardWebhooks([PublicKey(Ed25519PrivateKey.generate().public_key().public_bytes_raw())])
    with pytest.raises(InvalidSignature, match=r"^No v1 or v1a signature matches any configured key\.$"):
        verify(other_key, build_headers(signature=ASYMMETRIC_SIGNATURE), BODY, TIMESTAMP)


@pytest.mark.parametrize(
    "signature",
    [
        f"v1,{ASYMMETRIC_SIGNATURE[4:]}",
        f"V1a,{ASYMMETRIC_SIGNATURE[4:]}",
        ASYMMETRIC_SIGNATURE[4:],
        ASYMMETRIC_SIGNATURE.rstrip("="),
        ASYMMETRIC_SIGNATURE[:-2] + "\n==",
        ASYMMETRIC_SIGNATURE + "\n",
        "v1a,",
        "v1a,AAAA",
        "v1a,é€",
    ],
)
def test_malformed_asymmetric_signature_is_rejected(signature: str) -> None:
    assert expect_rejection(build_headers(signature=signature), scheme=ASYMMETRIC_SCHEME) == "webhook-signature"


@given(position=st.integers(0), delta=st.integers(1, 255))
def test_changed_asymmetric_signature_is_rejected(position: int, delta: int) -> None:
    headers = build_headers(signature=change_character(ASYMMETRIC_SIGNATURE, position, delta))
    assert expect_rejection(headers, scheme=ASYMMETRIC_SCHEME) == "webhook-signature"


@given(position=st.integers(0, len(BODY) - 1), delta=st.integers(1, 255))
def test_changed_asymmetrically_signed_body_is_rejected(position: int, delta: int) -> None:
    body = bytearray(BODY)
    body[position] = (body[position] + delta) % 256
    assert (
        expect_rejection(build_headers(signature=ASYMMETRIC_SIGNATURE), bytes(body), scheme=ASYMMETRIC_SCHEME)
        == "webhook-signature"
    )


@given(
    headers=st.fixed_dictionaries(
        {},
        optional={
            "webhook-id": st.text(),
            "webhook-timestamp": st.just(str(TIMESTAMP)) | st.text(),
            "webhook-signature": st.builds("v1a,{}".format, st.text()) | st.text(),
        },
    )
)
def test_arbitrary_unicode_headers_are_rejected(headers: Headers) -> None:
    assert expect_rejection(headers, scheme=ASYMMETRIC_SCHEME).startswith("webhook-")


def test_id_outside_latin_1_is_rejected_by_name() -> None:
    error = expect_error(build_headers(id=f"{MESSAGE_ID}\ud800"))
    assert (error.part, str(error)) == ("webhook-id", "The header webhook-id is not latin-1 text.")


def test_secret_prefix_determines_key_type() -> None:
    assert parse_key(PUBLIC_SECRET) == PublicKey(PUBLIC_KEY)
    assert parse_key(SECRET) == decode_key(SECRET)


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (
            "whsk_" + b64encode(bytes(range(64))).decode(),
            "This is a private signing key (whsk_). Use its public key (whpk_).",
        ),
        ("whpk_" + b64encode(PUBLIC_KEY[:31]).decode(), "An ed25519 public key must have 32 bytes."),
        ("whpk_" + b64encode(PUBLIC_KEY + PUBLIC_KEY).decode(), "An ed25519 public key must have 32 bytes."),
        ("whpk_", "An ed25519 public key must have 32 bytes."),
        ("whpk_not base64", "Must be base64 after the prefix whpk_."),
        ("whpk_\ud800", "Must be base64 after the prefix whpk_."),
        ("whsec_", "Must not be empty."),
    ],
)
def test_error_hides_secret_of_unknown_type(secret: str, message: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        parse_key(secret)
    assert str(caught.value) == message
    assert secret[6:] not in str(caught.value) or not secret[6:]


@pytest.mark.parametrize("secret", [PUBLIC_SECRET, PUBLIC_SECRET.replace("whpk", "whsk")])
def test_asymmetric_key_is_not_a_signing_secret(secret: str) -> None:
    with pytest.raises(InvalidSecret):
        decode_key(secret)


@pytest.mark.parametrize(("secret", "message"), [("", "Must not be empty."), ("\ud800", "Must be valid Unicode.")])
def test_text_secret_must_be_valid_unicode(secret: str, message: str) -> None:
    assert encode_key("pässword") == "pässword".encode()
    with pytest.raises(InvalidSecret) as caught:
        encode_key(secret)
    assert str(caught.value) == message


def test_too_many_signatures_are_rejected() -> None:
    others = " ".join(["v1,AAAA"] * 16)
    error = expect_error(build_headers(signature=f"{others} {SIGNATURE}"))
    assert (error.part, str(error)) == (
        "webhook-signature",
        "The header webhook-signature has more than 16 signatures.",
    )
    assert verify(SCHEME, build_headers(signature=f"{others[8:]} {SIGNATURE}"), BODY, TIMESTAMP) == 0
