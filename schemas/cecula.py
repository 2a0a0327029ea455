"""What Cecula takes, answers and reports, on its current API, the older one and Sync.

A payload is refused here for what Cecula documents that it would refuse, and every message names the documented code:
https://app.cecula.com/docs/responses/sms-broadcast.html, and for the older API the codes of its official clients.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from marshmallow import EXCLUDE, ValidationError, fields, validate

from receiver.schemas.fields import JsonDocumentSchema, Text, UTCDateTime, storable, storable_json

LONGEST_SENDER = 11
LONGEST_TEXT = 1_071
LONGEST_OLDER_TEXT = 10 * LONGEST_TEXT // 7
"""Ten pages, of which the broadcast codes say that seven are 1071 characters."""

MOST_RECIPIENTS = 5_000
"""Ours, not Cecula's: an answer about more could exceed the 1 MiB that is read of it, and their ids would be lost."""

_BROADCAST_TIME = re.compile(
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
)
_ANYTHING = r"[^\u0000]"
_NUMBER = {"examples": ["2348181234567"]}
_LATEST_ZONE = timedelta(hours=12)
"""Where the clocks are furthest behind UTC."""


class RuledText(fields.String):
    """Text under one documented rule, of which every fault tells."""

    def __init__(self, rule: str, pattern: str, missing: str | None = None, *, example: str) -> None:
        super().__init__(
            required=True,
            validate=[validate.Regexp(f"(?s:{pattern})\\Z", error=rule), storable],
            error_messages={"required": missing or rule, "null": missing or rule, "invalid": rule},
            metadata={"pattern": f"^{pattern.replace('.', _ANYTHING)}$", "description": rule, "examples": [example]},
        )


def _sender() -> RuledText:
    missing = "4001: the sender name is missing; give an approved sender name (identity)"
    rule = f"1807: must be a sender name of 1 to {LONGEST_SENDER} characters"
    return RuledText(rule, f".{{1,{LONGEST_SENDER}}}", missing, example="Cecula")


class BroadcastText(fields.String):
    """The text of a broadcast."""

    def __init__(self) -> None:
        empty = "1809: the text is empty; populate it"
        super().__init__(
            required=True,
            validate=[
                validate.Length(min=1, error=empty),
                validate.Length(max=LONGEST_TEXT, error=f"1808: must not exceed 7 pages ({LONGEST_TEXT} characters)"),
                storable,
            ],
            error_messages={"required": empty, "null": empty},
            metadata={"examples": ["Your order is on its way."]},
        )


def _mobile() -> RuledText:
    """Give a number's field.

    Cecula documents numbers as international digits, such as 2348181234567. By E.164 these are at most 15 and no
    country code begins with 0; below 7 digits no subscriber has an international number.
    """
    rule = "1806: must be an international number of 7 to 15 digits, without + or leading 0, such as 2348181234567"
    return RuledText(rule, "[1-9][0-9]{6,14}", example="2348181234567")


def _recipients(each: Any, missing: str = "6002: recipients were not submitted; give at least one") -> Any:
    return fields.List(
        each,
        required=True,
        validate=[
            validate.Length(min=1, error=missing),
            validate.Length(
                max=MOST_RECIPIENTS, error=f"must not be more than {MOST_RECIPIENTS}; send several requests"
            ),
        ],
        error_messages={"required": missing, "null": missing},
    )


class JsonBoolean(fields.Boolean):
    """`true` or `false` of JSON, and nothing that counts as one of them."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class BroadcastTime(fields.String):
    """When to broadcast, as `YYYY-MM-DD hh:mm:ss`; null, as Cecula's client sends it, is at once."""

    def __init__(self) -> None:
        told = {
            "pattern": f"^{_BROADCAST_TIME.pattern}$",
            "description": "when to broadcast, and not before now; at once unless given",
            "examples": [None],
        }
        super().__init__(data_key="broadcastTime", allow_none=True, validate=_broadcast_time, metadata=told)


def _broadcast_time(text: str) -> None:
    try:
        if _BROADCAST_TIME.fullmatch(text) and datetime.fromisoformat(text):
            return
    except ValueError:
        pass
    raise ValidationError("1903: must be a time of the form YYYY-MM-DD hh:mm:ss, such as 2023-11-01 16:24:00")


class BroadcastSchema(JsonDocumentSchema):
    """What a client gives for `send`."""

    recipients = _recipients(_mobile())
    text = BroadcastText()
    sender = _sender()
    flash = JsonBoolean()
    broadcast_time = BroadcastTime()


class TemplateRecipientSchema(JsonDocumentSchema):
    """A recipient of a template with the values of its placeholders."""

    mobile = _mobile()
    data = fields.Dict(keys=Text(shortest=0), validate=storable_json, metadata={"examples": [{"name": "Ada"}]})


class TemplateBroadcastSchema(JsonDocumentSchema):
    """What a client gives for `send_template`."""

    recipients = _recipients(fields.Nested(TemplateRecipientSchema))
    template = RuledText("6000: the template field is empty; give a template ID", ".+", example="welcome")
    sender = _sender()
    flash = JsonBoolean()


class LegacyBroadcastSchema(JsonDocumentSchema):
    """What a client gives for `send_a2p` on the older API. Bad numbers are not refused: the answer lists them."""

    origin = RuledText(
        f"CE1003, CE1004: must be an alphanumeric origin of at most {LONGEST_SENDER} characters",
        f"[A-Za-z0-9]{{1,{LONGEST_SENDER}}}",
        example="Cecula",
    )
    message = RuledText(
        f"CE1002, CE1005: must be 1 to 10 pages ({LONGEST_OLDER_TEXT} characters)",
        f".{{1,{LONGEST_OLDER_TEXT}}}",
        example="Your order is on its way.",
    )
    recipients = _recipients(Text(longest=20, metadata=_NUMBER), "CE1001, CE1002: give at least one recipient")


class LegacyPersonalSchema(LegacyBroadcastSchema):
    """What a client gives for `send_p2p` on the older API."""

    origin = RuledText(
        "CE1010, CE1011: must be a numeric origin of 5 to 16 digits", "[0-9]{5,16}", example="2348030000"
    )
    flash = JsonBoolean()


class SyncMessageSchema(JsonDocumentSchema):
    """What a client gives for `send_sms` of Cecula Sync, which takes the recipients with commas between them."""

    text = Text(required=True, longest=100_000, metadata={"examples": ["Your order is on its way."]})
    recipients = _recipients(
        RuledText(
            "must be a number of at most 15 digits, with or without +", r"\+?[0-9]{1,15}", example="2348181234567"
        ),
        "must hold at least one recipient",
    )


def is_past(broadcast_time: str, now: datetime, zone: ZoneInfo | None) -> bool:
    """Whether a well-formed broadcast time is before `now` (UTC).

    Which time zone Cecula reads it in is not documented. Without a `zone` it is past only once it is past everywhere.
    """
    naive = datetime.fromisoformat(broadcast_time)
    if zone is None:
        return naive.replace(tzinfo=UTC) - now < -_LATEST_ZONE
    # A time that a clock shows twice is past when the second is.
    return max(naive.replace(tzinfo=zone, fold=fold) - now for fold in (0, 1)) < timedelta()


class TextOrDigits(Text):
    """Text, or a whole number taken as its digits."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._deserialize(str(value) if type(value) is int else value, *args, **kwargs)


class LenientText(TextOrDigits):
    """Text, or a whole number taken as its digits; None where it is absent or null, "" for anything else."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(load_default=None, allow_none=True, **kwargs)

    def deserialize(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().deserialize(*args, **kwargs)
        except ValidationError:
            return ""


class LenientDateTime(UTCDateTime):
    """A time of RFC 3339 with its offset; None for anything else."""

    def deserialize(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().deserialize(*args, **kwargs)
        except ValidationError:
            return None


class LenientList(fields.Field[list[Any] | None]):
    """A list as it came; None for anything else."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(load_default=None, allow_none=True, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any] | None:
        return value if isinstance(value, list) else None


class _CeculaSchema(JsonDocumentSchema):
    """Fields may be added at any time; only the form of the whole is demanded, and codes decide."""

    class Meta:
        unknown = EXCLUDE


class CeculaResponseItemSchema(_CeculaSchema):
    """One recipient in an answer."""

    id = LenientText()
    status = LenientText()
    code = LenientText()


class CeculaResponseSchema(_CeculaSchema):
    """The answer to a broadcast; `recipients` are read one by one."""

    recipients = LenientList()
    code = LenientText()


class LegacyResponseSchema(_CeculaSchema):
    """The answer of the older API: to `send_a2p`, to `send_p2p`, or an error."""

    status = LenientText()
    reference = LenientText()
    sent_to = LenientList(data_key="sentTo")
    invalid = LenientList()
    declined = LenientList()
    decline_reason = LenientText(data_key="declineReason")
    code = LenientText()
    error = LenientText()


class TrackingIds(fields.Field[list[str]]):
    """The ids of a Sync answer, of which only the name is known: text, a number, text with commas, or a list."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        given = value if isinstance(value, list) else str(value).split(",") if type(value) in (str, int) else []
        return [
            loose for one in given if (loose := LenientText().deserialize(one.strip() if isinstance(one, str) else one))
        ]


class SyncResponseSchema(_CeculaSchema):
    """The answer of Cecula Sync to a message."""

    tracking_ids = TrackingIds(data_key="trackingId", load_default=list, allow_none=True)
    status = LenientText()
    code = LenientText()
    error = LenientText()


class CeculaReportSchema(_CeculaSchema):
    """What stands in a delivery report; its reference and word make it one, and nothing else can spoil it."""

    reference = TextOrDigits(required=True)
    status = TextOrDigits(required=True)
    code = LenientText()
    detail = LenientText()
    occurred_at = LenientDateTime(load_default=None, allow_none=True)
