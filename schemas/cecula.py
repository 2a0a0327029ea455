"""Schemas of Cecula's payloads, responses and delivery reports: on its current API, the legacy API and Cecula Sync.

A payload is rejected here for what Cecula documents that it would reject, and every message begins with the documented
code: https://app.cecula.com/docs/responses/sms-broadcast.html, and on the legacy API that of its official clients.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from marshmallow import EXCLUDE, ValidationError, fields, validate

from receiver.schemas.fields import (
    JsonBoolean,
    JsonDocumentSchema,
    Text,
    UTCDateTime,
    check_storable_json,
    check_storable_text,
)

MAX_SENDER_LENGTH = 11
MAX_TEXT_LENGTH = 1_071
MAX_LEGACY_TEXT_LENGTH = 10 * MAX_TEXT_LENGTH // 7
"""Ten pages; according to the broadcast codes, seven pages are 1071 characters."""

MAX_RECIPIENTS = 5_000
"""Our limit, not Cecula's: a response about more recipients could exceed the 1 MiB that is read, losing their ids."""

_BROADCAST_TIME = re.compile(
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
)
_ANY_CHARACTER = r"[^\u0000]"
_NUMBER_METADATA = {"examples": ["2348181234567"]}
_MAX_UTC_LAG = timedelta(hours=12)
"""The furthest that any time zone is behind UTC."""


class PatternText(fields.String):
    """Text that must match a pattern; every error message is the documented rule.

    Args:
        rule: the error message.
        pattern: a regular expression for the whole text.
        missing: the error message for absent and null, if it is another.
        example: a valid text.
    """

    def __init__(self, rule: str, pattern: str, missing: str | None = None, *, example: str) -> None:
        super().__init__(
            required=True,
            validate=[validate.Regexp(f"(?s:{pattern})\\Z", error=rule), check_storable_text],
            error_messages={"required": missing or rule, "null": missing or rule, "invalid": rule},
            metadata={
                "pattern": f"^{pattern.replace('.', _ANY_CHARACTER)}$",
                "description": rule,
                "examples": [example],
            },
        )


def _build_sender() -> PatternText:
    missing = "4001: Missing sender name. Use an approved sender name (identity)."
    rule = f"1807: Must be a sender name of 1 to {MAX_SENDER_LENGTH} characters."
    return PatternText(rule, f".{{1,{MAX_SENDER_LENGTH}}}", missing, example="Cecula")


class BroadcastText(fields.String):
    """The text of a broadcast."""

    def __init__(self) -> None:
        empty = "1809: Must not be empty."
        super().__init__(
            required=True,
            validate=[
                validate.Length(min=1, error=empty),
                validate.Length(
                    max=MAX_TEXT_LENGTH, error=f"1808: Must not exceed 7 pages ({MAX_TEXT_LENGTH} characters)."
                ),
                check_storable_text,
            ],
            error_messages={"required": empty, "null": empty},
            metadata={"examples": ["Your order is on its way."]},
        )


def _build_mobile() -> PatternText:
    """Build the field of a mobile number.

    Cecula documents numbers as international digits, such as 2348181234567. According to E.164 a number has at most 15
    digits and no country code begins with 0; no international number of a subscriber has fewer than 7 digits.
    """
    rule = "1806: Must be an international number of 7 to 15 digits, without + or leading 0, such as 2348181234567."
    return PatternText(rule, "[1-9][0-9]{6,14}", example="2348181234567")


def _build_recipients(field: Any, missing: str = "6002: Missing recipients. Submit at least one.") -> Any:
    return fields.List(
        field,
        required=True,
        validate=[
            validate.Length(min=1, error=missing),
            validate.Length(
                max=MAX_RECIPIENTS, error=f"Must not be more than {MAX_RECIPIENTS}. Submit several requests."
            ),
        ],
        error_messages={"required": missing, "null": missing},
    )


class BroadcastTime(fields.String):
    """The time of a broadcast, as `YYYY-MM-DD hh:mm:ss`; null, which Cecula's client sends, is now."""

    def __init__(self) -> None:
        metadata = {
            "pattern": f"^{_BROADCAST_TIME.pattern}$",
            "description": "The time of the broadcast, not in the past; now if absent.",
            "examples": [None],
        }
        super().__init__(data_key="broadcastTime", allow_none=True, validate=_check_broadcast_time, metadata=metadata)


def _check_broadcast_time(text: str) -> None:
    try:
        if _BROADCAST_TIME.fullmatch(text) and datetime.fromisoformat(text):
            return
    except ValueError:
        pass
    raise ValidationError("1903: Must be a time of the form YYYY-MM-DD hh:mm:ss, such as 2023-11-01 16:24:00.")


class BroadcastSchema(JsonDocumentSchema):
    """The payload of `send`."""

    recipients = _build_recipients(_build_mobile())
    text = BroadcastText()
    sender = _build_sender()
    flash = JsonBoolean()
    broadcast_time = BroadcastTime()


class TemplateRecipientSchema(JsonDocumentSchema):
    """A recipient of a template with the values of its placeholders."""

    mobile = _build_mobile()
    data = fields.Dict(keys=Text(min_length=0), validate=check_storable_json, metadata={"examples": [{"name": "Ada"}]})


class TemplateBroadcastSchema(JsonDocumentSchema):
    """The payload of `send_template`."""

    recipients = _build_recipients(fields.Nested(TemplateRecipientSchema))
    template = PatternText("6000: Must be a template ID, not empty.", ".+", example="welcome")
    sender = _build_sender()
    flash = JsonBoolean()


class LegacyBroadcastSchema(JsonDocumentSchema):
    """The payload of `send_a2p` on the legacy API. Invalid numbers are sent, too: the response lists them."""

    origin = PatternText(
        f"CE1003, CE1004: Must be an alphanumeric origin of at most {MAX_SENDER_LENGTH} characters.",
        f"[A-Za-z0-9]{{1,{MAX_SENDER_LENGTH}}}",
        example="Cecula",
    )
    message = PatternText(
        f"CE1002, CE1005: Must be 1 to 10 pages ({MAX_LEGACY_TEXT_LENGTH} characters).",
        f".{{1,{MAX_LEGACY_TEXT_LENGTH}}}",
        example="Your order is on its way.",
    )
    recipients = _build_recipients(
        Text(max_length=20, metadata=_NUMBER_METADATA), "CE1001, CE1002: Missing recipients. Submit at least one."
    )


class LegacyPersonalSchema(LegacyBroadcastSchema):
    """The payload of `send_p2p` on the legacy API."""

    origin = PatternText(
        "CE1010, CE1011: Must be a numeric origin of 5 to 16 digits.", "[0-9]{5,16}", example="2348030000"
    )
    flash = JsonBoolean()


class SyncMessageSchema(JsonDocumentSchema):
    """The payload of `send_sms` of Cecula Sync, to which the recipients are sent separated by commas."""

    text = Text(required=True, max_length=100_000, metadata={"examples": ["Your order is on its way."]})
    recipients = _build_recipients(
        PatternText(
            "Must be a number of at most 15 digits, with or without +.", r"\+?[0-9]{1,15}", example="2348181234567"
        ),
        "Must contain at least one recipient.",
    )


def is_past(broadcast_time: str, now: datetime, zone: ZoneInfo | None) -> bool:
    """Return whether a valid broadcast time is before `now` (UTC).

    Cecula does not document the time zone of broadcast times. Without a `zone`, a time is past once it is past in every
    time zone.
    """
    local_time = datetime.fromisoformat(broadcast_time)
    if zone is None:
        return local_time.replace(tzinfo=UTC) - now < -_MAX_UTC_LAG
    # A local time that occurs twice, at the end of daylight saving time, is past when its second occurrence is.
    return max(local_time.replace(tzinfo=zone, fold=fold) - now for fold in (0, 1)) < timedelta()


class TextOrDigits(Text):
    """Text, or an integer, which is converted to text."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._deserialize(str(value) if type(value) is int else value, *args, **kwargs)


class LenientText(TextOrDigits):
    """Text, or an integer, which is converted to text; None if it is absent or null, "" for any other value."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(load_default=None, allow_none=True, **kwargs)

    def deserialize(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().deserialize(*args, **kwargs)
        except ValidationError:
            return ""


class LenientDateTime(UTCDateTime):
    """An RFC 3339 time with its offset; None for any other value."""

    def deserialize(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().deserialize(*args, **kwargs)
        except ValidationError:
            return None


class LenientList(fields.Field[list[Any] | None]):
    """A list of any values; None for any other value."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(load_default=None, allow_none=True, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any] | None:
        return value if isinstance(value, list) else None


class _CeculaSchema(JsonDocumentSchema):
    """Cecula may add fields at any time; a value of an unexpected type is no error, as the codes decide."""

    class Meta:
        unknown = EXCLUDE


class CeculaResponseItemSchema(_CeculaSchema):
    """One recipient in a response."""

    id = LenientText()
    status = LenientText()
    code = LenientText()


class CeculaResponseSchema(_CeculaSchema):
    """The response to a broadcast; each of the `recipients` is loaded by itself."""

    recipients = LenientList()
    code = LenientText()


class LegacyResponseSchema(_CeculaSchema):
    """A response of the legacy API: to `send_a2p`, to `send_p2p`, or an error."""

    status = LenientText()
    reference = LenientText()
    sent_to = LenientList(data_key="sentTo")
    invalid = LenientList()
    declined = LenientList()
    decline_reason = LenientText(data_key="declineReason")
    code = LenientText()
    error = LenientText()


class TrackingIds(fields.Field[list[str]]):
    """The ids of a Sync response.

    Only the name is documented, so that text, comma-separated text, a number and a list are accepted.
    """

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        items = value if isinstance(value, list) else str(value).split(",") if type(value) in (str, int) else []
        stripped = [item.strip() if isinstance(item, str) else item for item in items]
        return [text for item in stripped if (text := LenientText().deserialize(item))]


class SyncResponseSchema(_CeculaSchema):
    """The response of Cecula Sync to a message."""

    tracking_ids = TrackingIds(data_key="trackingId", load_default=list, allow_none=True)
    status = LenientText()
    code = LenientText()
    error = LenientText()


class CeculaReportSchema(_CeculaSchema):
    """A delivery report; only `reference` and `status` are required, and no other field can make it invalid."""

    reference = TextOrDigits(required=True)
    status = TextOrDigits(required=True)
    code = LenientText()
    detail = LenientText()
    occurred_at = LenientDateTime(load_default=None, allow_none=True)
