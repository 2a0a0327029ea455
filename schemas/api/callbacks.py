"""Callbacks: how they are found and shown."""

from marshmallow import Schema, fields, validate

from receiver.schemas.api.common import ActionSchema, ListQuerySchema, Rfc3339DateTime, provider_filter
from receiver.schemas.fields import UTCDateTime

_VERDICT = (
    "`accepted`; `duplicate`: the same had come before; `invalid`: its signature is right but it cannot be read; "
    "`unmapped`: taken, with a status that is not in the provider's `statuses`; `refused`: it does not prove its sender"
)
VERDICTS = ["accepted", "duplicate", "invalid", "unmapped", "refused"]


class CallbackQuerySchema(ListQuerySchema):
    """Which callbacks to list; of those that were refused, a sample is kept."""

    provider = provider_filter()
    verdict = fields.String(
        load_default=None, validate=validate.OneOf(VERDICTS), metadata={"description": "only with this verdict"}
    )
    received_from = Rfc3339DateTime(load_default=None, metadata={"description": "received then or later"})
    received_to = Rfc3339DateTime(load_default=None, metadata={"description": "received before"})


class CallbackSummarySchema(Schema):
    """A callback in a list."""

    id = fields.UUID(metadata={"description": "ours"})
    provider = fields.String(metadata={"description": "whose"})
    received_at = UTCDateTime(metadata={"description": "when"})
    verdict = fields.String(validate=validate.OneOf(VERDICTS), metadata={"description": _VERDICT})
    method = fields.String(metadata={"description": "of HTTP"})
    errors = fields.Dict(allow_none=True, metadata={"description": "fields → messages"})


class ExplanationSchema(Schema):
    """Why a callback has its verdict."""

    part = fields.String(allow_none=True, metadata={"description": "the part of the signature that failed"})
    message = fields.String(allow_none=True, metadata={"description": "what is wrong with it"})
    causes = fields.List(fields.String(), metadata={"description": "what that may come from, the likeliest first"})


class CallbackSchema(CallbackSummarySchema):
    """A callback as it came, secrets left out; what is raw is shown to `admin` only, and null to others."""

    target = fields.String(allow_none=True, metadata={"description": "the path and query that were called"})
    headers = fields.Dict(allow_none=True, metadata={"description": "by names in lower case"})
    body = fields.String(allow_none=True, metadata={"description": "escaped where it is no UTF-8"})
    explanation = fields.Nested(ExplanationSchema, metadata={"description": "why it has its verdict"})
    jobs = fields.List(fields.UUID(), metadata={"description": "the jobs it speaks of"})
    actions = fields.List(fields.Nested(ActionSchema), metadata={"description": "what operators did about it"})
