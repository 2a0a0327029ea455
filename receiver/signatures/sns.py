"""Amazon SNS: RSA signatures of single fields of a JSON body, by the certificate that the body names.

The rule is that of https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html. The topics of all
AWS accounts are signed by the same keys: a valid signature proves that SNS sent the message, so that the topic is
checked before anything else. Raw message delivery is not supported, as it has no signature.

The certificate is fetched by https from a host of SNS and must be valid at the time of receipt. Its chain is not
checked again: whoever could serve a certificate from that host could have one issued as well.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.reader import parse_document
from receiver.domain.times import parse_unix_time
from receiver.signatures.base import NO_DOCUMENTS, InvalidSignature, Scheme, format_age_error
from receiver.signatures.coverage import Coverage
from receiver.signatures.key_sources import load_certificate, parse_document_host
from receiver.signatures.keys import decode_strict
from receiver.signatures.public_keys import RSA, VerificationKey, build_rsa_verify

NOTIFICATION, SUBSCRIPTION, UNSUBSCRIPTION = "Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"
TOPIC_ARN = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}")
_HOST = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_CERTIFICATE_URL = re.compile(r"https://[^/]+/[A-Za-z0-9_-]+\.pem")
_CONFIRMATION_FIELDS = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED_FIELDS = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION: _CONFIRMATION_FIELDS,
    UNSUBSCRIPTION: _CONFIRMATION_FIELDS,
}
_ALL_FIELDS = tuple(sorted({name for names in _SIGNED_FIELDS.values() for name in names}))
_OPTIONAL_FIELDS = frozenset({"Subject"})
_VERIFICATIONS = {"1": build_rsa_verify("sha1"), "2": build_rsa_verify("sha256")}


def is_sns_host(host: str) -> bool:
    """Return whether a host is one of SNS, from which certificates and confirmations are fetched."""
    return _HOST.fullmatch(host) is not None


@dataclass(frozen=True, slots=True)
class Sns(Scheme):
    """The signature of Amazon SNS.

    Args:
        topic_arns: the topics whose messages are accepted.
        tolerance: seconds that the field ``Timestamp`` may differ from the receive time on either side; None to accept
            any age. SNS sends a message again for days, with the time of the first delivery.
    """

    topic_arns: tuple[str, ...]
    tolerance: float | None = None

    def find_documents(self, callback: IncomingCallback) -> Sequence[str]:
        message = self._parse_message(callback)
        url = message.get("SigningCertURL")
        host = parse_document_host(url if isinstance(url, str) else "", "SigningCertURL")
        if not is_sns_host(host) or not _CERTIFICATE_URL.fullmatch(str(url)):
            raise InvalidSignature("SigningCertURL", "The URL of the certificate is not one of Amazon SNS.")
        return (str(url),)

    def verify(self, callback: IncomingCallback, documents: Mapping[str, bytes] = NO_DOCUMENTS) -> int:
        (url,) = self.find_documents(callback)
        message = self._parse_message(callback)
        signature = message.get("Signature")
        decoded = decode_strict(signature.encode("ascii", "replace"), "base64") if isinstance(signature, str) else None
        verify = _VERIFICATIONS.get(str(message.get("SignatureVersion")))
        if decoded is None or verify is None:
            raise InvalidSignature("Signature", "The signature or its version is malformed.")
        key = _get_key(load_certificate(url, documents), callback.received_at.timestamp())
        if not verify(key, decoded, _build_content(message)):
            raise InvalidSignature("Signature", "The signature does not match the certificate.")
        self._check_age(message, callback)
        return 0

    @property
    def coverage(self) -> Coverage:
        return Coverage(fields=_ALL_FIELDS, fields_kind="json")

    def normalize_body(self, callback: IncomingCallback) -> bytes:
        return _build_content(self._parse_message(callback))

    def message_id(self, callback: IncomingCallback) -> str:
        try:
            return str(self._parse_message(callback)["MessageId"])
        except InvalidSignature:
            return ""

    def _parse_message(self, callback: IncomingCallback) -> Mapping[str, Any]:
        """Return the body of a message of one of our topics.

        Raises:
            InvalidSignature: it is of another topic, or malformed.
        """
        try:
            # As callbacks are read, so that nothing is read from the body that was not verified.
            message = parse_document("json", callback.body, callback.headers.get("content-type", ""))
        except UnreadableDocument:
            message = None
        if not isinstance(message, dict):
            raise InvalidSignature("body", "The body is malformed: it is no JSON object.")
        if message.get("TopicArn") not in self.topic_arns:
            raise InvalidSignature("TopicArn", "The message is of a topic that topic_arn does not list.")
        names = _SIGNED_FIELDS.get(str(message.get("Type")))
        if names is None:
            raise InvalidSignature("Type", "The type of the message is unknown.")
        for name in _ALL_FIELDS:
            _check_field(name, message.get(name), is_signed=name in names)
        return message

    def _check_age(self, message: Mapping[str, Any], callback: IncomingCallback) -> None:
        if self.tolerance is None:
            return
        signed_at = parse_unix_time(str(message["Timestamp"]).encode("ascii", "replace"), "iso")
        if signed_at is None:
            raise InvalidSignature("Timestamp", "The field Timestamp is malformed.")
        age = callback.received_at.timestamp() - signed_at
        if abs(age) > self.tolerance:
            raise InvalidSignature("Timestamp", format_age_error(age, self.tolerance))


def _check_field(name: str, value: object, *, is_signed: bool) -> None:
    """Check a field that is signed in one type of message or another.

    A message has no such field unsigned: whatever is read from it is covered. Only the message itself may have several
    lines: otherwise, the same signed text could be split into other fields.

    Raises:
        InvalidSignature: it is missing, malformed, or not signed in a message of this type.
    """
    if value is None and (name in _OPTIONAL_FIELDS or not is_signed):
        return
    if not is_signed or not isinstance(value, str) or (name != "Message" and "\n" in value):
        raise InvalidSignature(name, f"The field {name} is missing, malformed or not signed.")


def _build_content(message: Mapping[str, Any]) -> bytes:
    names = _SIGNED_FIELDS[message["Type"]]
    lines = [f"{name}\n{message[name]}\n" for name in names if message.get(name) is not None]
    return "".join(lines).encode("utf-8", "surrogatepass")


def _get_key(keys: Sequence[VerificationKey], now: float) -> VerificationKey:
    """Return the RSA key of a certificate that is valid now.

    Raises:
        InvalidSignature: it is not valid, or of another type.
    """
    key = keys[0]
    if key.kind != RSA or not key.not_before <= now <= key.not_after:
        raise InvalidSignature("SigningCertURL", "The certificate has no RSA key, or is not valid at this time.")
    return key
