"""Amazon SNS: a subscription is confirmed only for our own topic, by a message that SNS signed."""

import json
from base64 import b64encode
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.providers.capabilities import HandshakeResponse
from receiver.signatures.base import InvalidSignature
from tests.support.capabilities import callbacks_of
from tests.support.factories import NOON
from tests.support.handshakes import build_from_guide
from tests.support.signing_keys import build_certificate, get_rsa_key

TOPIC = "arn:aws:sns:eu-west-1:123456789012:jobs"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem"
DOCUMENTS = {CERTIFICATE_URL: build_certificate(get_rsa_key(), NOON - timedelta(days=1), NOON + timedelta(days=1))}
SETTINGS = callbacks_of(
    build_from_guide("Amazon SNS", {"scheme": "sns", "topic_arn": TOPIC}, reference="MessageId", status="Subject")
).settings
MESSAGE = {
    "Message": "You have chosen to subscribe to the topic.",
    "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
    "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37",
    "Timestamp": "2026-11-29T11:59:59.000Z",
    "Token": "2336412f37",
    "TopicArn": TOPIC,
    "Type": "SubscriptionConfirmation",
}
"""The signed fields of a confirmation, in the order in which they are signed."""


def respond(message: dict[str, str], signed: dict[str, str] | None = None, key: int = 0) -> HandshakeResponse | None:
    """Return the response to a message with the signature of `signed`, by default its own."""
    content = "".join(f"{name}\n{text}\n" for name, text in (signed or message).items())
    signature = b64encode(get_rsa_key(key).sign(content.encode(), PKCS1v15(), SHA256())).decode()
    body = {**message, "SignatureVersion": "2", "Signature": signature, "SigningCertURL": CERTIFICATE_URL}
    headers = {"content-type": "text/plain; charset=UTF-8"}
    delivery = IncomingCallback("POST", "/callbacks/acme", headers, json.dumps(body).encode(), NOON)
    assert SETTINGS.handshake
    return SETTINGS.handshake.respond(delivery, lambda: SETTINGS.auth.verify(delivery, DOCUMENTS))


def test_subscription_is_confirmed_at_its_url() -> None:
    assert respond(MESSAGE) == HandshakeResponse(Ack(200), confirm_url=MESSAGE["SubscribeURL"])


def test_end_of_subscription_is_acknowledged_only() -> None:
    assert respond(MESSAGE | {"Type": "UnsubscribeConfirmation"}) == HandshakeResponse(Ack(200))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TopicArn", "arn:aws:sns:eu-west-1:210987654321:jobs"),
        ("SubscribeURL", "https://sns.eu-west-1.amazonaws.com.evil.example/"),
    ],
)
def test_valid_signature_confirms_neither_topic_nor_host(name: str, text: str) -> None:
    with pytest.raises(InvalidSignature):
        respond(MESSAGE | {name: text})


def test_other_url_or_key_is_refused() -> None:
    with pytest.raises(InvalidSignature):
        respond(MESSAGE | {"SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Token=other"}, MESSAGE)
    with pytest.raises(InvalidSignature):
        respond(MESSAGE, key=1)
