"""Jobs: how they are found, shown, and resolved by an operator."""

from marshmallow import Schema, fields, validate

from receiver.domain.jobs import Effect, JobStatus, Source
from schemas.api.common import Flag, Given, Identifier, ListQuery, Moment, provider_filter
from schemas.fields import Text, UTCDateTime


class JobQuery(ListQuery):
    """Which jobs to list. With `finished_from` or `finished_to` those that finished last come first."""

    status = fields.Enum(JobStatus, by_value=True, load_default=None)
    provider = provider_filter()
    reference = Text(load_default=None, metadata={"description": "the provider's name of the job"})
    request_id = Identifier(load_default=None)
    disputed = Flag(load_default=None)
    unmatched = Flag(load_default=None)
    accepted_from = Moment(load_default=None)
    accepted_to = Moment(load_default=None)
    finished_from = Moment(load_default=None)
    finished_to = Moment(load_default=None)


class Resolution(Given):
    """An operator's word on how a job ended."""

    status = fields.Enum(
        JobStatus,
        by_value=True,
        required=True,
        validate=validate.OneOf([JobStatus.SUCCEEDED, JobStatus.FAILED], error="must be succeeded or failed"),
        metadata={"enum": [JobStatus.SUCCEEDED.value, JobStatus.FAILED.value]},
    )
    reason = Text(required=True, metadata={"description": "how it is known"})


class Job(Schema):
    """A job, without its events."""

    id = fields.UUID()
    provider = fields.String()
    reference = fields.String()
    request_id = fields.UUID(allow_none=True)
    status = fields.Enum(JobStatus, by_value=True)
    disputed = fields.Boolean(metadata={"description": "contradicting final words arrived"})
    unmatched = fields.Boolean(metadata={"description": "no request of ours is known for it yet"})
    accepted_at = UTCDateTime()
    finished_at = UTCDateTime(allow_none=True)
    deadline_at = UTCDateTime(metadata={"description": "when it is `unresolved`, should it stay silent"})


class Event(Schema):
    """One statement about a job, and what it changed when it came."""

    source = fields.Enum(Source, by_value=True)
    status = fields.Enum(JobStatus, by_value=True, allow_none=True)
    provider_status = fields.String(allow_none=True)
    code = fields.String(allow_none=True)
    detail = fields.String(allow_none=True)
    effect = fields.Enum(Effect, by_value=True, allow_none=True)
    occurred_at = UTCDateTime(allow_none=True)
    received_at = UTCDateTime()
    callback_id = fields.UUID(allow_none=True)
    by = fields.String(allow_none=True, metadata={"description": "the name of an operator's key"})


class JobStory(Job):
    """A job with everything anybody said about it, in the order of receipt."""

    events = fields.List(fields.Nested(Event))
