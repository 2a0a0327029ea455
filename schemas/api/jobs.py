"""Schemas of jobs: the list query, a job with its events, and an operator's resolution."""

from marshmallow import Schema, fields, validate

from receiver.domain.filters import JobFilter
from receiver.domain.jobs import Effect, EventSource, JobStatus
from receiver.domain.paging import ReceiptCursor
from receiver.schemas.api.common import (
    AccountName,
    ListQuerySchema,
    NotifiedInputSchema,
    PageCursor,
    ProviderName,
    QueryBoolean,
    Rfc3339DateTime,
    StrictInput,
    UUIDString,
    account_field,
    account_filter,
    client_metadata,
    provider_filter,
)
from receiver.schemas.fields import Text, UTCDateTime

_STATUS = (
    "`accepted` by the provider; `in_progress`; `unresolved`: the deadline passed without a final status; "
    "`succeeded` and `failed` are final"
)
_EFFECT = (
    "`applied`: it decided the status; `duplicate`: it repeats a known status; `stale`: a later or higher-ranking "
    "status had already arrived; `disputed`: it contradicts the final status"
)


MAX_SHOWN_EVENTS = 100
"""The number of events that one job shows; a list has the others."""


class JobQuerySchema(ListQuerySchema):
    """The query of a list of jobs; with `finished_from` or `finished_to` it is ordered by finish time, newest first."""

    filter_class = JobFilter

    status = fields.Enum(JobStatus, by_value=True, load_default=None, metadata={"description": "only with this status"})
    provider = provider_filter()
    account = account_filter()
    reference = Text(load_default=None, metadata={"description": "only with this reference of the provider"})
    request_id = UUIDString(load_default=None, metadata={"description": "only of this request"})
    disputed = QueryBoolean(load_default=None, metadata={"description": "only disputed jobs, or only others"})
    unmatched = QueryBoolean(load_default=None, metadata={"description": "only unmatched jobs, or only others"})
    accepted_from = Rfc3339DateTime(load_default=None, metadata={"description": "accepted at this time or later"})
    accepted_to = Rfc3339DateTime(load_default=None, metadata={"description": "accepted before this time"})
    finished_from = Rfc3339DateTime(load_default=None, metadata={"description": "finished at this time or later"})
    finished_to = Rfc3339DateTime(load_default=None, metadata={"description": "finished before this time"})


class JobEventQuerySchema(ListQuerySchema):
    """The query of the list of a job's events."""

    cursor = PageCursor(ReceiptCursor)


class TrackingSchema(NotifiedInputSchema):
    """A reference of a job that the client obtained from the provider itself."""

    provider = Text(required=True, max_length=63, metadata={"description": "the provider that does the job"})
    account = account_field()
    reference = Text(required=True, metadata={"description": "the provider's reference, as its callbacks contain it"})
    metadata = client_metadata()
    deadline = Rfc3339DateTime(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "when the job becomes `unresolved` if no final status has been received; by default after "
            "the `deadline` of the provider"
        },
    )


class ResolutionSchema(StrictInput):
    """A job's final status, set by an operator."""

    status = fields.Enum(
        JobStatus,
        by_value=True,
        required=True,
        validate=validate.OneOf([JobStatus.SUCCEEDED, JobStatus.FAILED]),
        metadata={"description": "the final status"},
    )
    reason = Text(required=True, metadata={"description": "how the operator knows it"})


class JobSchema(Schema):
    """A job, without its events."""

    id = fields.UUID(metadata={"description": "our id of the job"})
    provider = ProviderName("the provider that does it")
    account = AccountName()
    reference = fields.String(metadata={"description": "the provider's reference"})
    request_id = fields.UUID(allow_none=True, metadata={"description": "its request; null while it is `unmatched`"})
    status = fields.Enum(JobStatus, by_value=True, metadata={"description": _STATUS})
    disputed = fields.Boolean(metadata={"description": "whether contradicting final statuses were received"})
    unmatched = fields.Boolean(metadata={"description": "whether no request is known for it yet"})
    accepted_at = UTCDateTime(metadata={"description": "when its first event was received"})
    finished_at = UTCDateTime(allow_none=True, metadata={"description": "when its final status was received"})
    deadline_at = UTCDateTime(
        metadata={"description": "when it becomes `unresolved` if no final status has been received"}
    )


class EventSchema(Schema):
    """An event of a job, and its effect on the job when it was received."""

    source = fields.Enum(EventSource, by_value=True, metadata={"description": "where it comes from"})
    status = fields.Enum(
        JobStatus,
        by_value=True,
        allow_none=True,
        metadata={"description": "the status that it reports; null if none, or none that is mapped"},
    )
    provider_status = fields.String(allow_none=True, metadata={"description": "the status as the provider writes it"})
    code = fields.String(allow_none=True, metadata={"description": "the provider's code"})
    detail = fields.String(allow_none=True, metadata={"description": "further details"})
    superseding = fields.Boolean(
        metadata={"description": "whether it is a final status that may overrule another one, such as a reversal"}
    )
    effect = fields.Enum(Effect, by_value=True, allow_none=True, metadata={"description": _EFFECT})
    occurred_at = UTCDateTime(allow_none=True, metadata={"description": "when it happened, according to the provider"})
    received_at = UTCDateTime(metadata={"description": "when it was received"})
    callback_id = fields.UUID(allow_none=True, metadata={"description": "the callback that contained it"})
    actor = fields.String(allow_none=True, metadata={"description": "the name of an operator's API key"})


class StatusExplanationSchema(Schema):
    """Why a job has its status."""

    reason = fields.String(metadata={"description": "a sentence; what the provider wrote stands between backticks"})
    notes = fields.List(fields.String(), metadata={"description": "what else there is to know, a sentence or two each"})
    event = fields.Nested(EventSchema, metadata={"description": "the event that decides the status"})


class JobDetailSchema(JobSchema):
    """A job with its newest events, in the order of receipt."""

    explanation = fields.Nested(
        StatusExplanationSchema,
        allow_none=True,
        metadata={"description": "why it has its status; null for a job without events"},
    )

    events = fields.List(
        fields.Nested(EventSchema),
        metadata={"description": f"its newest {MAX_SHOWN_EVENTS} events, in the order of receipt"},
    )
    events_cursor = fields.String(
        allow_none=True,
        metadata={
            "description": "the `cursor` of `GET /v1/jobs/{job_id}/events` for the events before these; null if these "
            "are all"
        },
    )
