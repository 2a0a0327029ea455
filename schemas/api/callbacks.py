"""Callbacks: how they are found and shown."""

from marshmallow import Schema, fields, validate

from schemas.api.common import Action, ListQuery, Moment, provider_filter
from schemas.fields import UTCDateTime

VERDICTS = ["accepted", "duplicate", "invalid", "unmapped", "refused"]


class CallbackQuery(ListQuery):
    """Which callbacks to list; of those that were refused, a sample is kept."""

    provider = provider_filter()
    verdict = fields.String(load_default=None, validate=validate.OneOf(VERDICTS))
    received_from = Moment(load_default=None)
    received_to = Moment(load_default=None)


class CallbackSummary(Schema):
    """A callback in a list."""

    id = fields.UUID()
    provider = fields.String()
    received_at = UTCDateTime()
    verdict = fields.String(validate=validate.OneOf(VERDICTS))
    method = fields.String()
    errors = fields.Dict(allow_none=True, metadata={"description": "fields → messages"})


class Explanation(Schema):
    """Why a callback has its verdict."""

    part = fields.String(allow_none=True, metadata={"description": "the part of the signature that failed"})
    message = fields.String(allow_none=True)
    causes = fields.List(fields.String())


class Callback(CallbackSummary):
    """A callback as it came, secrets left out; what is raw is shown to `admin` only, and null to others."""

    target = fields.String(allow_none=True)
    headers = fields.Dict(allow_none=True)
    body = fields.String(allow_none=True, metadata={"description": "escaped where it is no UTF-8"})
    explanation = fields.Nested(Explanation)
    jobs = fields.List(fields.UUID(), metadata={"description": "the jobs it speaks of"})
    actions = fields.List(fields.Nested(Action))
