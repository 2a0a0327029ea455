"""Schemas of callbacks: the list query, the list items, and one callback with its explanation."""

from marshmallow import Schema, fields, validate

from receiver.domain.callbacks import MAX_SHOWN_DELIVERIES, MAX_SHOWN_JOBS, VERDICTS
from receiver.domain.filters import CallbackFilter
from receiver.domain.jobs import JobStatus
from receiver.domain.paging import PositionCursor
from receiver.schemas.api.common import (
    AccountName,
    ActionSchema,
    ListQuerySchema,
    PageCursor,
    ProviderName,
    Rfc3339DateTime,
    account_filter,
    provider_filter,
)
from receiver.schemas.fields import UTCDateTime

_VERDICT = (
    "`accepted`; `duplicate`: the same callback was received before; `invalid`: its signature is valid but its content "
    "cannot be parsed; `unmapped`: recorded, with a status that is not in the provider's `statuses`; `refused`: its "
    "sender could not be authenticated"
)
"""The number of jobs that one callback shows; the list of its events has all."""


class CallbackQuerySchema(ListQuerySchema):
    """The query of a list of callbacks; of refused callbacks only a sample is stored."""

    filter_class = CallbackFilter

    provider = provider_filter()
    account = account_filter()
    verdict = fields.String(
        load_default=None, validate=validate.OneOf(VERDICTS), metadata={"description": "only with this verdict"}
    )
    received_from = Rfc3339DateTime(load_default=None, metadata={"description": "received at this time or later"})
    received_to = Rfc3339DateTime(load_default=None, metadata={"description": "received before this time"})


class CallbackEventQuerySchema(ListQuerySchema):
    """The query of the list of a callback's events."""

    cursor = PageCursor(PositionCursor)


class CallbackSummarySchema(Schema):
    """A callback in a list."""

    id = fields.UUID(metadata={"description": "our id of the callback"})
    provider = ProviderName("the provider that sent it")
    account = AccountName()
    received_at = UTCDateTime(metadata={"description": "when it was received"})
    verdict = fields.String(validate=validate.OneOf(VERDICTS), metadata={"description": _VERDICT})
    method = fields.String(metadata={"description": "its HTTP method"})
    errors = fields.Dict(
        allow_none=True,
        metadata={"description": "fields → messages; of an accepted callback, what could not be read and was left out"},
    )


class ExplanationSchema(Schema):
    """The reason for a callback's verdict."""

    part = fields.String(allow_none=True, metadata={"description": "the part of the signature that failed"})
    message = fields.String(allow_none=True, metadata={"description": "what is wrong with that part"})
    causes = fields.List(fields.String(), metadata={"description": "possible causes, the most likely first"})


class DeliverySchema(Schema):
    """One delivery of a callback."""

    id = fields.UUID(metadata={"description": "our id of the delivery, which is that of a callback"})
    received_at = UTCDateTime(metadata={"description": "when it was received"})
    verdict = fields.String(validate=validate.OneOf(VERDICTS), metadata={"description": _VERDICT})


class CallbackSchema(CallbackSummarySchema):
    """A callback as it was received, with secrets redacted.

    Raw data is shown to `admin` only; it is null for others, and once it is erased.
    """

    target = fields.String(allow_none=True, metadata={"description": "the path and query of its URL"})
    caller_address = fields.String(
        allow_none=True, metadata={"description": "the address that sent it: the nearest hop that is no trusted proxy"}
    )
    headers = fields.Dict(allow_none=True, metadata={"description": "its headers, with names in lower case"})
    body = fields.String(allow_none=True, metadata={"description": "its body; bytes that are not UTF-8 are escaped"})
    erased_at = UTCDateTime(
        allow_none=True,
        metadata={"description": "when its raw data was erased, after its retention or by an operator; null before"},
    )
    secret_fingerprint = fields.String(
        allow_none=True,
        metadata={"description": "the first digits of the SHA-256 of the secret that matched; null if none did"},
    )
    explanation = fields.Nested(ExplanationSchema, metadata={"description": "the reason for its verdict"})
    deliveries = fields.List(
        fields.Nested(DeliverySchema),
        metadata={
            "description": f"all deliveries of this callback, itself included, first to last, at most "
            f"{MAX_SHOWN_DELIVERIES}"
        },
    )
    jobs = fields.List(
        fields.UUID(),
        metadata={"description": f"the first {MAX_SHOWN_JOBS} jobs that it reports on, in the order of its body"},
    )
    actions = fields.List(fields.Nested(ActionSchema), metadata={"description": "actions of operators on it"})


class CallbackEventSchema(Schema):
    """What a callback reports about one job. The effect of the event is shown among the events of the job."""

    position = fields.Integer(metadata={"description": "its position among the items of the body, from 0"})
    job_id = fields.UUID(metadata={"description": "the job that it reports on"})
    reference = fields.String(metadata={"description": "the provider's reference of the job"})
    status = fields.Enum(
        JobStatus,
        by_value=True,
        allow_none=True,
        metadata={"description": "the status that it reports; null if none, or none that is mapped"},
    )
    provider_status = fields.String(allow_none=True, metadata={"description": "the status as the provider writes it"})
    code = fields.String(allow_none=True, metadata={"description": "the provider's code"})
    detail = fields.String(allow_none=True, metadata={"description": "further details"})
    occurred_at = UTCDateTime(allow_none=True, metadata={"description": "when it happened, according to the provider"})
    received_at = UTCDateTime(metadata={"description": "when it was first received"})
    callback_id = fields.UUID(
        metadata={"description": "the delivery that it was stored with, if the callback was delivered several times"}
    )
