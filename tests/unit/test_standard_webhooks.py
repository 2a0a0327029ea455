"""Standard Webhooks: the published vector, another library as signer and verifier, and everything that is refused."""

import time
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSecret, SignatureRefused
from receiver.signatures.keys import PublicKey
from receiver.signatures.standard_webhooks import (
    DEFAULT_TOLERANCE,
    StandardWebhooks,
    decode_key,
    encode_key,
    parse_key,
    sign,
)

# The vector of https://github.com/standard-webhooks/standard-webhooks and of Svix's documentation.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER_SECRET = "whsec_" + b64encode(b"another secret of 24 byte").decode()

VERIFIER = StandardWebhooks([decode_key(SECRET)])

SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = SIGNER.public_key().public_bytes_raw()
PUBLIC_SECRET = "whpk_" + b64encode(PUBLIC).decode()
ASYMMETRIC = "v1a," + b64encode(SIGNER.sign(f"{MESSAGE_ID}.{TIMESTAMP}.".encode() + BODY)).decode()
ASYMMETRIC_VERIFIER = StandardWebhooks([parse_key(PUBLIC_SECRET)])
Headers = dict[str, str]

wire_text = st.text(st.characters(max_codepoint=255))  # what a WSGI server delivers: bytes read as latin-1
texts = st.text(st.characters(exclude_categories=["Cs"]))
message_ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
secrets = st.binary(min_size=1, max_size=64).map(lambda key: "whsec_" + b64encode(key).decode())


def signed(**overrides: str) -> Headers:
    """Give the headers of the vector; `overrides` are named without their prefix, and dropped when empty."""
    given = {"id": MESSAGE_ID, "timestamp": str(TIMESTAMP), "signature": SIGNATURE} | overrides
    return {f"webhook-{name}": value for name, value in given.items() if value}


def verify(scheme: StandardWebhooks, headers: Headers, body: bytes, now: float) -> int:
    """Verify a delivery received at `now` (Unix seconds)."""
    return scheme.verify(IncomingCallback("POST", "/", headers, body, datetime.fromtimestamp(now, UTC)))


def refusal(headers: Headers, body: bytes = BODY, now: float = TIMESTAMP, scheme: StandardWebhooks = VERIFIER) -> str:
    """Give the part of the recipe that failed."""
    with pytest.raises(SignatureRefused) as caught:
        verify(scheme, headers, body, now)
    return caught.value.part


def changed(text: str, position: int, actor: int) -> str:
    """Give `text` with one character made another one of latin-1."""
    position %= len(text)
    return text[:position] + chr((ord(text[position]) + actor) % 256) + text[position + 1 :]


def test_the_published_vector_verifies_and_is_what_we_sign() -> None:
    assert verify(VERIFIER, signed(), BODY, TIMESTAMP) == 0
    assert sign(decode_key(SECRET), MESSAGE_ID, TIMESTAMP, BODY) == SIGNATURE


@given(secret=secrets, message_id=message_ids, body=texts)
def test_what_the_other_library_signs_we_verify(secret: str, message_id: str, body: str) -> None:
    signature = Webhook(secret).sign(message_id, datetime.fromtimestamp(TIMESTAMP, UTC), body)
    headers = signed(id=message_id, signature=signature)
    assert verify(StandardWebhooks([decode_key(secret)]), headers, body.encode(), TIMESTAMP) == 0


@given(secret=secrets, message_id=message_ids, body=texts)
def test_what_we_sign_the_other_library_verifies(secret: str, message_id: str, body: str) -> None:
    now = int(time.time())
    headers = signed(
        id=message_id, timestamp=str(now), signature=sign(decode_key(secret), message_id, now, body.encode())
    )
    Webhook(secret).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + " ", headers, json_parse=False)


def test_any_live_secret_may_have_signed_and_its_place_is_told() -> None:
    keys = [decode_key(OTHER_SECRET), decode_key(SECRET)]
    assert verify(StandardWebhooks(keys), signed(), BODY, TIMESTAMP) == 1
    assert verify(StandardWebhooks(keys[::-1]), signed(), BODY, TIMESTAMP) == 0
    by_both = f"{sign(keys[0], MESSAGE_ID, TIMESTAMP, BODY)} {SIGNATURE}"
    assert verify(StandardWebhooks(keys), signed(signature=by_both), BODY, TIMESTAMP) == 0


@pytest.mark.parametrize("keys", [[], [decode_key(OTHER_SECRET)], [b""]])
def test_a_retired_secret_verifies_nothing(keys: list[bytes]) -> None:
    with pytest.raises(SignatureRefused, match="no v1 signature matches any live secret"):
        verify(StandardWebhooks(keys), signed(), BODY, TIMESTAMP)


@pytest.mark.parametrize(
    "signatures",
    [
        f"v1,AAAA {SIGNATURE}",
        f"{SIGNATURE} v1,AAAA",
        f"v1a,{SIGNATURE[3:]} {SIGNATURE}",
        f"v2,what is to come {SIGNATURE}",
        f" {SIGNATURE} ",
    ],
)
def test_any_of_several_signatures_may_match(signatures: str) -> None:
    assert verify(VERIFIER, signed(signature=signatures), BODY, TIMESTAMP) == 0


@pytest.mark.parametrize("age", [0.0, 0.9, DEFAULT_TOLERANCE, -DEFAULT_TOLERANCE])
def test_the_tolerance_has_two_sides_and_its_bounds_are_within(age: float) -> None:
    assert verify(VERIFIER, signed(), BODY, TIMESTAMP + age) == 0


@pytest.mark.parametrize("age", [DEFAULT_TOLERANCE + 0.1, -DEFAULT_TOLERANCE - 0.1, 1e9, -1e9])
def test_a_stale_or_future_timestamp_is_refused_though_its_signature_is_right(age: float) -> None:
    assert refusal(signed(), now=TIMESTAMP + age) == "webhook-timestamp"


def test_the_tolerance_is_configurable() -> None:
    patient = StandardWebhooks([decode_key(SECRET)], tolerance=1_000.0)
    assert verify(patient, signed(), BODY, TIMESTAMP + 999) == 0
    with pytest.raises(SignatureRefused, match="signed 1001 s ago; 1000 s are tolerated"):
        verify(patient, signed(), BODY, TIMESTAMP + 1_001)


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_or_empty_header_is_refused_by_name(part: str) -> None:
    assert refusal({name: value for name, value in signed().items() if name != part}) == part
    assert refusal(signed() | {part: ""}) == part


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
def test_a_timestamp_is_whole_unix_seconds_in_ascii_digits_and_nothing_else(timestamp: str) -> None:
    assert refusal(signed(timestamp=timestamp)) == "webhook-timestamp"


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
def test_a_malformed_signature_is_refused(signature: str) -> None:
    assert refusal(signed(signature=signature)) == "webhook-signature"


@given(position=st.integers(0, len(BODY) - 1), actor=st.integers(1, 255))
def test_any_changed_byte_of_the_body_is_refused(position: int, actor: int) -> None:
    body = bytearray(BODY)
    body[position] = (body[position] + actor) % 256
    assert refusal(signed(), bytes(body)) == "webhook-signature"


@pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b"\n", b"\0" + BODY])
def test_a_body_cut_or_extended_is_refused(body: bytes) -> None:
    assert refusal(signed(), body) == "webhook-signature"


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_character_of_the_id_is_refused(position: int, actor: int) -> None:
    assert refusal(signed(id=changed(MESSAGE_ID, position, actor))) == "webhook-signature"


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_character_of_the_timestamp_is_refused(position: int, actor: int) -> None:
    assert refusal(signed(timestamp=changed(str(TIMESTAMP), position, actor))) in {
        "webhook-timestamp",
        "webhook-signature",
    }


@given(seconds=st.integers(-300, 300).filter(bool))
def test_a_timestamp_moved_within_the_tolerance_is_refused(seconds: int) -> None:
    assert refusal(signed(timestamp=str(TIMESTAMP + seconds))) == "webhook-signature"


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_character_of_the_signature_is_refused(position: int, actor: int) -> None:
    assert refusal(signed(signature=changed(SIGNATURE, position, actor))) == "webhook-signature"


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
def test_whatever_a_web_server_may_deliver_is_refused_and_never_breaks(
    headers: Headers, body: bytes, now: float
) -> None:
    assert refusal(headers, body, now).startswith("webhook-")


@given(headers=st.dictionaries(st.sampled_from(sorted(signed())), wire_text))
def test_a_refusal_never_tells_the_signature_that_would_match(headers: Headers) -> None:
    given = signed() | headers | {"webhook-id": "another"}
    with pytest.raises(SignatureRefused) as caught:
        verify(VERIFIER, given, BODY, TIMESTAMP)
    assert sign(decode_key(SECRET), "another", TIMESTAMP, BODY)[3:] not in str(caught.value)


@given(key=st.binary(min_size=1, max_size=64))
def test_a_secret_is_base64_with_or_without_its_prefix(key: bytes) -> None:
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
def test_a_secret_that_is_not_base64_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        decode_key(secret)
    shown = f"{caught.value!s} {caught.value!r}"
    assert "base64" in shown
    assert not any(secret[start : start + 8] in shown for start in range(6, len(secret) - 8))


@pytest.mark.parametrize("secret", ["", "whsec_"])
def test_an_empty_secret_is_refused(secret: str) -> None:
    with pytest.raises(InvalidSecret, match="must not be empty"):
        decode_key(secret)


def test_a_verifier_never_shows_its_keys() -> None:
    assert repr(decode_key(SECRET))[2:-1] not in repr(VERIFIER)
    assert "tolerance=300" in repr(VERIFIER)


def test_the_headers_may_have_another_prefix() -> None:
    scheme = StandardWebhooks([decode_key(SECRET)], prefix="svix")
    headers = {name.replace("webhook", "svix"): value for name, value in signed().items()}
    assert verify(scheme, headers, BODY, TIMESTAMP) == 0
    assert (
        scheme.message_id(IncomingCallback("POST", "/", headers, BODY, datetime.fromtimestamp(TIMESTAMP, UTC)))
        == MESSAGE_ID
    )
    assert refusal(signed(), scheme=scheme) == "svix-id"


@pytest.mark.parametrize("prefix", ["", "Svix", "svix-", "web hook", "webhook\n", "ünicode"])
def test_a_prefix_that_begins_no_header_name_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidSecret, match="prefix of the headers"):
        StandardWebhooks([decode_key(SECRET)], prefix=prefix)


def test_a_public_key_verifies_what_its_owner_signed() -> None:
    assert verify(ASYMMETRIC_VERIFIER, signed(signature=ASYMMETRIC), BODY, TIMESTAMP) == 0


def test_secrets_and_public_keys_may_be_live_together() -> None:
    both = StandardWebhooks([decode_key(SECRET), parse_key(PUBLIC_SECRET)])
    assert verify(both, signed(signature=ASYMMETRIC), BODY, TIMESTAMP) == 1
    assert verify(both, signed(), BODY, TIMESTAMP) == 0
    assert verify(both, signed(signature=f"{ASYMMETRIC} {SIGNATURE}"), BODY, TIMESTAMP) == 0
    assert verify(ASYMMETRIC_VERIFIER, signed(signature=f"{SIGNATURE} {ASYMMETRIC}"), BODY, TIMESTAMP) == 0


def test_a_public_key_never_serves_as_a_secret() -> None:
    by_public_bytes = sign(PUBLIC, MESSAGE_ID, TIMESTAMP, BODY)
    for signature in (by_public_bytes, f"v1a{by_public_bytes[2:]}"):
        assert refusal(signed(signature=signature), scheme=ASYMMETRIC_VERIFIER) == "webhook-signature"


def test_an_asymmetric_signature_never_verifies_against_a_secret() -> None:
    with_the_same_bytes = StandardWebhooks([PUBLIC])
    assert refusal(signed(signature=ASYMMETRIC), scheme=with_the_same_bytes) == "webhook-signature"
    assert refusal(signed(signature=f"v1a,{SIGNATURE[3:]}")) == "webhook-signature"


def test_another_owners_signature_is_refused() -> None:
    stranger = StandardWebhooks([PublicKey(Ed25519PrivateKey.generate().public_key().public_bytes_raw())])
    with pytest.raises(SignatureRefused, match="no v1 or v1a signature matches any live key"):
        verify(stranger, signed(signature=ASYMMETRIC), BODY, TIMESTAMP)


@pytest.mark.parametrize(
    "signature",
    [
        f"v1,{ASYMMETRIC[4:]}",
        f"V1a,{ASYMMETRIC[4:]}",
        ASYMMETRIC[4:],
        ASYMMETRIC.rstrip("="),
        ASYMMETRIC[:-2] + "\n==",
        ASYMMETRIC + "\n",
        "v1a,",
        "v1a,AAAA",
        "v1a,é€",
    ],
)
def test_a_malformed_asymmetric_signature_is_refused(signature: str) -> None:
    assert refusal(signed(signature=signature), scheme=ASYMMETRIC_VERIFIER) == "webhook-signature"


@given(position=st.integers(0), actor=st.integers(1, 255))
def test_any_changed_character_of_an_asymmetric_signature_is_refused(position: int, actor: int) -> None:
    headers = signed(signature=changed(ASYMMETRIC, position, actor))
    assert refusal(headers, scheme=ASYMMETRIC_VERIFIER) == "webhook-signature"


@given(position=st.integers(0, len(BODY) - 1), actor=st.integers(1, 255))
def test_any_changed_byte_of_an_asymmetrically_signed_body_is_refused(position: int, actor: int) -> None:
    body = bytearray(BODY)
    body[position] = (body[position] + actor) % 256
    assert refusal(signed(signature=ASYMMETRIC), bytes(body), scheme=ASYMMETRIC_VERIFIER) == "webhook-signature"


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
def test_text_that_no_web_server_delivers_is_refused_too(headers: Headers) -> None:
    assert refusal(headers, scheme=ASYMMETRIC_VERIFIER).startswith("webhook-")


def test_an_id_of_more_than_single_bytes_is_refused_by_name() -> None:
    assert refusal(signed(id=f"{MESSAGE_ID}\ud800")) == "webhook-id"


def test_the_prefix_of_a_secret_tells_its_kind() -> None:
    assert parse_key(PUBLIC_SECRET) == PublicKey(PUBLIC)
    assert parse_key(SECRET) == decode_key(SECRET)


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("whsk_" + b64encode(bytes(range(64))).decode(), "is a private signing key"),
        ("whpk_" + b64encode(PUBLIC[:31]).decode(), "has 32 bytes"),
        ("whpk_" + b64encode(PUBLIC + PUBLIC).decode(), "has 32 bytes"),
        ("whpk_", "has 32 bytes"),
        ("whpk_not base64", "must be base64 after the prefix whpk_"),
        ("whpk_\ud800", "must be base64 after the prefix whpk_"),
        ("whsec_", "must not be empty"),
    ],
)
def test_a_secret_of_no_known_kind_is_refused_without_being_shown(secret: str, told: str) -> None:
    with pytest.raises(InvalidSecret, match=told) as caught:
        parse_key(secret)
    assert secret[6:] not in str(caught.value) or not secret[6:]


@pytest.mark.parametrize("secret", [PUBLIC_SECRET, PUBLIC_SECRET.replace("whpk", "whsk")])
def test_an_asymmetric_key_is_no_signing_secret(secret: str) -> None:
    with pytest.raises(InvalidSecret):
        decode_key(secret)


@pytest.mark.parametrize(("secret", "told"), [("", "must not be empty"), ("\ud800", "must be text")])
def test_a_secret_taken_as_text_must_be_text(secret: str, told: str) -> None:
    assert encode_key("pässword") == "pässword".encode()
    with pytest.raises(InvalidSecret, match=told):
        encode_key(secret)


def test_more_signatures_than_anybody_sends_are_refused_without_being_checked() -> None:
    many = " ".join(["v1,AAAA"] * 16)
    assert refusal(signed(signature=f"{many} {SIGNATURE}")) == "webhook-signature"
    assert verify(VERIFIER, signed(signature=f"{many[8:]} {SIGNATURE}"), BODY, TIMESTAMP) == 0
