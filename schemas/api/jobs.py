"""Jobs: how they are found, shown, and resolved by an operator."""

from marshmallow import Schema, fields, validate

from receiver.domain.jobs import Effect, EventSource, JobStatus
from receiver.schemas.api.common import (
    ListQuerySchema,
    QueryBoolean,
    Rfc3339DateTime,
    StrictInput,
    UUIDString,
    provider_filter,
)
from receiver.schemas.fields import Text, UTCDateTime

_STATUS = (
    "`accepted` by the provider; `in_progress`; `unresolved`: its deadline passed without a final word; "
    "`succeeded` and `failed` are final"
)
_EFFECT = (
    "`applied`: it decided the status; `duplicate`: it says what was known; `stale`: it came too late to count; "
    "`disputed`: it contradicts a final word"
)


class JobQuerySchema(ListQuerySchema):
    """Which jobs to list. With `finished_from` or `finished_to` those that finished last come first."""

    status = fields.Enum(JobStatus, by_value=True, load_default=None, metadata={"description": "only with this status"})
    provider = provider_filter()
    reference = Text(load_default=None, metadata={"description": "the provider's name of the job"})
    request_id = UUIDString(load_default=None, metadata={"description": "only of this request"})
    disputed = QueryBoolean(load_default=None, metadata={"description": "only those that are, or are not"})
    unmatched = QueryBoolean(load_default=None, metadata={"description": "only those that are, or are not"})
    accepted_from = Rfc3339DateTime(load_default=None, metadata={"description": "accepted then or later"})
    accepted_to = Rfc3339DateTime(load_default=None, metadata={"description": "accepted before"})
    finished_from = Rfc3339DateTime(load_default=None, metadata={"description": "ended then or later"})
    finished_to = Rfc3339DateTime(load_default=None, metadata={"description": "ended before"})


class ResolutionSchema(StrictInput):
    """An operator's word on how a job ended."""

    status = fields.Enum(
        JobStatus,
        by_value=True,
        required=True,
        validate=validate.OneOf([JobStatus.SUCCEEDED, JobStatus.FAILED], error="must be succeeded or failed"),
        metadata={"description": "how it ended"},
    )
    reason = Text(required=True, metadata={"description": "how it is known"})


class JobSchema(Schema):
    """A job, without its events."""

    id = fields.UUID(metadata={"description": "ours"})
    provider = fields.String(metadata={"description": "who does it"})
    reference = fields.String(metadata={"description": "the provider's name of it"})
    request_id = fields.UUID(
        allow_none=True, metadata={"description": "the request that it is of; null while it is `unmatched`"}
    )
    status = fields.Enum(JobStatus, by_value=True, metadata={"description": _STATUS})
    disputed = fields.Boolean(metadata={"description": "contradicting final words arrived"})
    unmatched = fields.Boolean(metadata={"description": "no request of ours is known for it yet"})
    accepted_at = UTCDateTime(metadata={"description": "when it was first heard of"})
    finished_at = UTCDateTime(allow_none=True, metadata={"description": "when its final word was received"})
    deadline_at = UTCDateTime(metadata={"description": "when it is `unresolved`, should it stay silent"})


class EventSchema(Schema):
    """One statement about a job, and what it changed when it came."""

    source = fields.Enum(EventSource, by_value=True, metadata={"description": "who said it"})
    status = fields.Enum(
        JobStatus,
        by_value=True,
        allow_none=True,
        metadata={"description": "what it says; null where it says nothing that we know"},
    )
    provider_status = fields.String(allow_none=True, metadata={"description": "the provider's word"})
    code = fields.String(allow_none=True, metadata={"description": "the provider's code"})
    detail = fields.String(allow_none=True, metadata={"description": "what else it says"})
    effect = fields.Enum(Effect, by_value=True, allow_none=True, metadata={"description": _EFFECT})
    occurred_at = UTCDateTime(allow_none=True, metadata={"description": "when it happened, as the provider says"})
    received_at = UTCDateTime(metadata={"description": "when it was received"})
    callback_id = fields.UUID(allow_none=True, metadata={"description": "the callback that brought it"})
    actor = fields.String(allow_none=True, metadata={"description": "the name of an operator's key"})


class JobDetailSchema(JobSchema):
    """A job with everything anybody said about it, in the order of receipt."""

    events = fields.List(fields.Nested(EventSchema), metadata={"description": "what was said"})
