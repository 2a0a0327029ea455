"""Amazon SNS: messages signed by `cryptography` as AWS documents it, and every kind of rejected message."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.callbacks import IncomingCallback
from receiver.signatures.base import InvalidSignature
from receiver.signatures.coverage import CallbackDocument
from receiver.signatures.sns import TOPIC_ARN, Sns, is_sns_host
from tests.support.signing_keys import build_certificate, build_jwks, export_jwk, get_ec_key, get_rsa_key

TOPIC = "arn:aws:sns:us-west-2:123456789012:jobs"
URL = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DOCUMENTS = {URL: build_certificate(get_rsa_key(), datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))}
SCHEME = Sns((TOPIC,))
NOTIFICATION = {
    "Type": "Notification",
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": TOPIC,
    "Subject": "My First Message",
    "Message": '{"id":"job-1",\n"status":"done ü"}',
    "Timestamp": "2026-11-29T11:59:59.000Z",
    "SigningCertURL": URL,
    "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
}
CONFIRMATION = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
    "Token": "2336412f37",
    "TopicArn": TOPIC,
    "Message": "You have chosen to subscribe to the topic.",
    "SubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription",
    "Timestamp": "2026-11-29T11:59:59.000Z",
    "SigningCertURL": URL,
}
_NOTIFICATION_NAMES = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
_CONFIRMATION_NAMES = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]


def sign(message: dict[str, Any], version: str = "2", number: int = 0) -> dict[str, Any]:
    """Return a message with its signature, as AWS documents it."""
    names = _NOTIFICATION_NAMES if message["Type"] == "Notification" else _CONFIRMATION_NAMES
    content = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    hash_function = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = get_rsa_key(number).sign(content.encode("utf-8", "surrogatepass"), padding.PKCS1v15(), hash_function)
    return message | {"SignatureVersion": version, "Signature": b64encode(signature).decode()}


def build_callback(message: Any, received_at: datetime = NOW) -> IncomingCallback:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "Notification"}
    return IncomingCallback("POST", "/callbacks/aws", headers, body, received_at)


def expect_rejection(
    message: Any, scheme: Sns = SCHEME, documents: dict[str, bytes] = DOCUMENTS, received_at: datetime = NOW
) -> str:
    with pytest.raises(InvalidSignature) as caught:
        scheme.verify(build_callback(message, received_at), documents)
    return caught.value.part


def without(message: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != name}


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    "message",
    [
        NOTIFICATION,
        without(NOTIFICATION, "Subject"),
        CONFIRMATION,
        CONFIRMATION | {"Type": "UnsubscribeConfirmation"},
    ],
)
def test_message_of_every_type_and_version_verifies(message: dict[str, Any], version: str) -> None:
    callback = build_callback(sign(message, version))
    assert list(SCHEME.find_documents(callback)) == [URL]
    assert SCHEME.verify(callback, DOCUMENTS) == 0
    assert SCHEME.message_id(callback) == message["MessageId"]


def test_message_of_another_topic_is_rejected_before_any_fetch() -> None:
    """SNS signs the topics of all accounts by the same keys."""
    other = sign(NOTIFICATION | {"TopicArn": "arn:aws:sns:us-west-2:999999999999:jobs"})
    with pytest.raises(InvalidSignature) as caught:
        SCHEME.find_documents(build_callback(other))
    assert caught.value.part == "TopicArn"
    assert expect_rejection(other) == "TopicArn"
    assert Sns((TOPIC, other["TopicArn"])).verify(build_callback(other), DOCUMENTS) == 0


@pytest.mark.parametrize(
    "url",
    [
        None,
        3,
        "",
        URL.replace("https", "http"),
        URL.replace("amazonaws.com", "amazonaws.com.evil.example"),
        URL.replace("https://sns", "https://evilsns"),
        URL.replace("https://sns.", "https://evil.sns."),
        URL.replace("amazonaws.com/", "amazonaws.com@evil.example/"),
        URL.replace("https://sns", "https://user@sns"),
        URL.replace(".com/", ".com:443/"),
        URL.replace(".com/", ".com:8443/"),
        URL.replace(".com/", ".com.\u200b/"),
        URL.replace(".com/", "。com/"),
        URL.replace("amazonaws", "amazonaw\u017f"),
        URL.replace("us-west-2", "us_west_2"),
        URL.replace("us-west-2", ""),
        URL.replace("us-west-2.", ""),
        URL.replace("us-west-2", "a.b"),
        URL.replace(".com/", ".org/"),
        URL.replace(".com/", ".com.cn.evil/"),
        URL.replace(".pem", ".txt"),
        URL.replace(".com/", ".com/a/"),
        URL.replace(".com/", ".com/../"),
        URL.replace(".pem", ".txt?.pem"),
        URL.replace(".pem", ".pem#"),
        URL.replace("https://", "https://evil.example\\"),
        f" {URL}",
        f"{URL}\n",
        "https://s3.amazonaws.com/bucket/one.pem",
        "https://sns.us-west-2.amazonaws.com",
    ],
)
def test_certificate_of_lookalike_host_is_refused_before_any_fetch(url: Any) -> None:
    message = sign(NOTIFICATION | {"SigningCertURL": url})
    with pytest.raises(InvalidSignature) as caught:
        SCHEME.find_documents(build_callback(message))
    assert caught.value.part == "SigningCertURL"


@pytest.mark.parametrize(
    ("host", "is_valid"),
    [
        ("sns.us-east-1.amazonaws.com", True),
        ("sns.cn-north-1.amazonaws.com.cn", True),
        ("sns.us-east-1.amazonaws.com.", False),
        ("sns.us-east-1.amazonaws.com\n", False),
        ("SNS.us-east-1.amazonaws.com", False),
        ("xsns.us-east-1.amazonaws.com", False),
        ("sns.us-east-1.amazonaws.co", False),
        ("sns.amazonaws.com", False),
    ],
)
def test_only_hosts_of_sns_are_allowed(host: str, is_valid: bool) -> None:
    assert is_sns_host(host) is is_valid


@pytest.mark.parametrize("name", _NOTIFICATION_NAMES)
def test_changed_signed_field_is_rejected(name: str) -> None:
    signed = sign(NOTIFICATION)
    expect_rejection(signed | {name: f"{signed[name]}x"})
    expect_rejection(without(signed, name))
    expect_rejection(signed | {name: 3})
    expect_rejection(signed | {name: [signed[name]]})


@pytest.mark.parametrize("name", _CONFIRMATION_NAMES)
def test_changed_field_of_confirmation_is_rejected(name: str) -> None:
    signed = sign(CONFIRMATION)
    expect_rejection(signed | {name: f"{signed[name]}x"})
    expect_rejection(without(signed, name))


@pytest.mark.parametrize("name", ["Token", "SubscribeURL"])
def test_field_that_is_not_signed_in_this_type_is_rejected(name: str) -> None:
    """Otherwise a stranger could add a URL to confirm to a message that was signed without one."""
    assert expect_rejection(sign(NOTIFICATION) | {name: "https://evil.example/"}) == name
    assert expect_rejection(sign(CONFIRMATION) | {"Subject": "s"}) == "Subject"


def test_signed_text_cannot_be_split_into_other_fields() -> None:
    message = "a\nMessageId\n1\nSubject\nb"
    signed = sign(without(NOTIFICATION, "Subject") | {"Message": message, "MessageId": "2"})
    moved = signed | {"Message": "a", "MessageId": "1", "Subject": "b\nMessageId\n2"}
    assert expect_rejection(moved) == "Subject"
    assert SCHEME.verify(build_callback(signed), DOCUMENTS) == 0


@pytest.mark.parametrize("version", ["", "0", "3", None, [], {}, True])
def test_unknown_version_is_rejected(version: Any) -> None:
    assert expect_rejection(sign(NOTIFICATION) | {"SignatureVersion": version}) == "Signature"


def test_version_of_other_hash_is_rejected() -> None:
    assert expect_rejection(sign(NOTIFICATION, "1") | {"SignatureVersion": "2"}) == "Signature"


@pytest.mark.parametrize("signature", [None, "", 3, "AAAA", "not base64", "é"])
def test_malformed_signature_is_rejected(signature: Any) -> None:
    assert expect_rejection(sign(NOTIFICATION) | {"Signature": signature}) == "Signature"


def test_signature_by_another_key_is_rejected() -> None:
    assert expect_rejection(sign(NOTIFICATION, number=1)) == "Signature"


@pytest.mark.parametrize("received_at", [datetime(2025, 12, 31, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)])
def test_certificate_must_be_valid_at_time_of_receipt(received_at: datetime) -> None:
    assert expect_rejection(sign(NOTIFICATION), received_at=received_at) == "SigningCertURL"


@pytest.mark.parametrize("received_at", [datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)])
def test_certificate_is_valid_on_its_first_and_last_second(received_at: datetime) -> None:
    assert SCHEME.verify(build_callback(sign(NOTIFICATION), received_at), DOCUMENTS) == 0


def test_body_is_read_in_its_declared_charset() -> None:
    body = json.dumps(sign(NOTIFICATION), ensure_ascii=False).encode("iso-8859-2")
    for content_type, is_valid in (("text/plain; charset=ISO-8859-2", True), ("text/plain; charset=KOI8-R", False)):
        callback = IncomingCallback("POST", "/", {"content-type": content_type}, body, NOW)
        if is_valid:
            assert SCHEME.verify(callback, DOCUMENTS) == 0
        else:
            with pytest.raises(InvalidSignature):
                SCHEME.verify(callback, DOCUMENTS)


def test_body_without_content_type_verifies() -> None:
    callback = IncomingCallback("POST", "/", {}, json.dumps(sign(NOTIFICATION)).encode(), NOW)
    assert SCHEME.verify(callback, DOCUMENTS) == 0


def test_half_a_surrogate_pair_is_signed() -> None:
    signed = sign(NOTIFICATION | {"Message": "a\ud800"})
    assert SCHEME.verify(build_callback(signed), DOCUMENTS) == 0
    assert expect_rejection(signed | {"Message": "a\ud801"}) == "Signature"


@pytest.mark.parametrize(
    ("callback", "part", "message"),
    [
        (build_callback(b"[]"), "body", "The body is malformed: it is no JSON object."),
        (build_callback(b"{"), "body", "The body is malformed: it is no JSON object."),
        (build_callback({}), "TopicArn", "The message is of a topic that topic_arn does not list."),
        (build_callback(NOTIFICATION | {"Type": "Other"}), "Type", "The type of the message is unknown."),
        (
            build_callback(without(NOTIFICATION, "Message")),
            "Message",
            "The field Message is missing, malformed or not signed.",
        ),
        (
            build_callback(NOTIFICATION | {"SigningCertURL": "https://evil.example/one.pem"}),
            "SigningCertURL",
            "The URL of the certificate is not one of Amazon SNS.",
        ),
        (build_callback(NOTIFICATION), "Signature", "The signature or its version is malformed."),
        (
            build_callback(sign(NOTIFICATION, number=1)),
            "Signature",
            "The signature does not match the certificate.",
        ),
        (
            build_callback(sign(NOTIFICATION), datetime(2027, 1, 2, tzinfo=UTC)),
            "SigningCertURL",
            "The certificate has no RSA key, or is not valid at this time.",
        ),
        (
            build_callback(sign(NOTIFICATION | {"Timestamp": "\uff12026-11-29T11:59:59Z"})),
            "Timestamp",
            "The field Timestamp is malformed.",
        ),
        (
            build_callback(sign(NOTIFICATION), NOW.replace(hour=13)),
            "Timestamp",
            "Signed 3601 s ago; the tolerance is 3600 s.",
        ),
    ],
)
def test_rejection_says_what_is_wrong(callback: IncomingCallback, part: str, message: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        Sns((TOPIC,), 3_600.0).verify(callback, DOCUMENTS)
    assert (caught.value.part, str(caught.value)) == (part, message)


def test_certificate_of_other_key_type_is_refused() -> None:
    certificate = build_certificate(get_ec_key(), datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert expect_rejection(sign(NOTIFICATION), documents={URL: certificate}) == "SigningCertURL"


@pytest.mark.parametrize("document", [b"", b"<html>", build_jwks(export_jwk(get_rsa_key()))])
def test_document_without_certificate_is_rejected(document: bytes) -> None:
    assert expect_rejection(sign(NOTIFICATION), documents={URL: document}) == "keys"
    assert expect_rejection(sign(NOTIFICATION), documents={}) == "keys"


def test_age_is_checked_only_with_tolerance() -> None:
    late = NOW.replace(day=30, month=12)
    assert SCHEME.verify(build_callback(sign(NOTIFICATION), late), DOCUMENTS) == 0
    strict = Sns((TOPIC,), 3_600.0)
    assert strict.verify(build_callback(sign(NOTIFICATION)), DOCUMENTS) == 0
    assert Sns((TOPIC,), 1.0).verify(build_callback(sign(NOTIFICATION)), DOCUMENTS) == 0
    assert expect_rejection(sign(NOTIFICATION), strict, received_at=late) == "Timestamp"
    assert expect_rejection(sign(NOTIFICATION | {"Timestamp": "now"}), strict) == "Timestamp"


def test_signed_fields_are_covered_and_attributes_are_not() -> None:
    document = CallbackDocument("json")
    for path in ("Message", "Message.detail.jobId", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"):
        assert SCHEME.coverage.covers_path(document, path)
    assert not SCHEME.coverage.covers_path(document, "MessageAttributes.job.Value")
    assert not SCHEME.coverage.covers_document(document)


def test_content_of_repeated_message_is_equal() -> None:
    first = build_callback(sign(NOTIFICATION))
    second = build_callback(sign(NOTIFICATION, "1") | {"UnsubscribeURL": "https://other.example", "more": 1})
    assert SCHEME.normalize_body(first) == SCHEME.normalize_body(second)
    assert SCHEME.normalize_body(first) != SCHEME.normalize_body(build_callback(sign(CONFIRMATION)))


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"Type":{}}'])
def test_malformed_body_is_rejected(body: bytes) -> None:
    expect_rejection(body)
    assert SCHEME.message_id(build_callback(body)) == ""


@given(
    changes=st.dictionaries(
        st.sampled_from([*sorted({*_NOTIFICATION_NAMES, *_CONFIRMATION_NAMES}), "Signature", "SignatureVersion"]),
        st.none() | st.integers() | st.text(st.characters(codec="utf-8")) | st.lists(st.none()),
        min_size=1,
    )
)
def test_arbitrary_message_raises_no_other_error(changes: dict[str, Any]) -> None:
    try:
        SCHEME.verify(build_callback(sign(NOTIFICATION) | changes), DOCUMENTS)
    except InvalidSignature:
        return
    assert changes.keys() <= {"Token", "SubscribeURL"}
    assert set(changes.values()) == {None}


def test_arn_of_topic_has_documented_form() -> None:
    for arn in (TOPIC, "arn:aws-cn:sns:cn-north-1:123456789012:jobs.fifo"):
        assert TOPIC_ARN.fullmatch(arn)
    for arn in ("", "jobs", "arn:aws:sqs:us-west-2:123456789012:jobs", f"{TOPIC}:sub", f"{TOPIC}\n"):
        assert not TOPIC_ARN.fullmatch(arn)
