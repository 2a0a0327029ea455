"""Schemas of webhook notifications: their bodies, the list query, the list, and one notification with its attempts."""

from marshmallow import Schema, fields, validate

from receiver.domain.filters import NotificationFilter
from receiver.domain.notifications import NotificationStatus, NotificationType
from receiver.schemas.api.common import (
    AccountName,
    ActionSchema,
    ListQuerySchema,
    ProviderName,
    Rfc3339DateTime,
    UUIDString,
    account_filter,
    list_of,
    provider_filter,
)
from receiver.schemas.api.jobs import JobSchema
from receiver.schemas.api.requests import AttemptSummarySchema, RequestSchema
from receiver.schemas.fields import UTCDateTime

MAX_NOTIFIED_JOBS = 1_000
"""Maximum number of jobs in a webhook notification about a finished request."""
MAX_CHANGED_JOBS = 100
"""Maximum number of jobs in a webhook notification about jobs."""

_STATUS = (
    "`queued`: to be sent, for the first time or again; `sending`; `delivered`: the client responded with 2xx; "
    "`rejected`: the client responded with 410; `failed`: attempts or deadline used up; `cancelled`"
)


class FinishedRequestSchema(RequestSchema):
    """A finished request in a webhook notification: without its payload, and with its first jobs only."""

    class Meta:
        exclude = ("payload", "erased_at")

    attempts = fields.List(
        fields.Nested(AttemptSummarySchema), metadata={"description": "the exchanges with the provider"}
    )
    jobs_total = fields.Integer(
        metadata={"description": f"number of its jobs; `jobs` holds up to {MAX_NOTIFIED_JOBS:,}"}
    )


class ChangedJobsSchema(Schema):
    """Jobs of one request in a webhook notification."""

    request_id = fields.UUID(metadata={"description": "their request"})
    provider = ProviderName("the provider of the request")
    account = AccountName()
    operation = fields.String(metadata={"description": "the operation of the request"})
    metadata = fields.Dict(metadata={"description": "the metadata of the request, as it was submitted"})
    jobs = fields.List(
        fields.Nested(JobSchema),
        metadata={"description": f"those of its jobs that changed, at most {MAX_CHANGED_JOBS} of them"},
    )


class JobsNotificationSchema(Schema):
    """A webhook notification about jobs of one request."""

    type = fields.Enum(
        NotificationType,
        by_value=True,
        validate=validate.OneOf([NotificationType.JOBS_FINISHED, NotificationType.JOBS_CHANGED]),
        metadata={"description": "`jobs.finished`: the jobs have a final status; `jobs.changed`: a new status"},
    )
    timestamp = UTCDateTime(
        metadata={"description": "when `data` was current; of two notifications about one job the later counts"}
    )
    data = fields.Nested(ChangedJobsSchema, metadata={"description": "the jobs at that time"})


class NotificationSchema(Schema):
    """A webhook notification about a finished request."""

    type = fields.String(metadata={"description": "`request.finished`"})
    timestamp = UTCDateTime(
        metadata={"description": "when `data` was current; of two notifications about one request the later counts"}
    )
    data = fields.Nested(FinishedRequestSchema, metadata={"description": "the request at that time"})


class NotificationQuerySchema(ListQuerySchema):
    """The query of a list of notifications."""

    filter_class = NotificationFilter

    status = fields.Enum(
        NotificationStatus, by_value=True, load_default=None, metadata={"description": "only with this status"}
    )
    provider = provider_filter("only about requests to this provider, its accounts included")
    account = account_filter()
    request_id = UUIDString(load_default=None, metadata={"description": "only about this request"})
    created_from = Rfc3339DateTime(load_default=None, metadata={"description": "created at this time or later"})
    created_to = Rfc3339DateTime(load_default=None, metadata={"description": "created before this time"})


class NotificationRecordSchema(Schema):
    """A notification in a list."""

    id = fields.UUID(metadata={"description": "our id of the notification, which is its `webhook-id`"})
    type = fields.Enum(NotificationType, by_value=True, metadata={"description": "the `type` of its body"})
    url = fields.String(
        allow_none=True, metadata={"description": "URL that it is sent to; null once its body is no longer stored"}
    )
    request_id = fields.UUID(metadata={"description": "the request that it is about"})
    provider = ProviderName("the provider of the request", allow_none=True)
    account = AccountName()
    job_ids = fields.List(fields.UUID(), metadata={"description": "the jobs in it, the first 100 of them"})
    status = fields.Enum(NotificationStatus, by_value=True, metadata={"description": _STATUS})
    detail = fields.String(allow_none=True, metadata={"description": "the reason for the status"})
    created_at = UTCDateTime(metadata={"description": "when it was queued first"})
    next_attempt_at = UTCDateTime(allow_none=True, metadata={"description": "when it is sent next; null if never"})
    finished_at = UTCDateTime(
        allow_none=True, metadata={"description": "when it was delivered or given up; null before"}
    )
    attempt_count = fields.Integer(metadata={"description": "how often it was sent"})
    last_attempt_at = UTCDateTime(allow_none=True, metadata={"description": "when it was sent last"})
    response_status = fields.Integer(
        allow_none=True, metadata={"description": "the HTTP status of the last response; null without a response"}
    )
    error = fields.String(allow_none=True, metadata={"description": "why there was no response last"})


class NotificationDetailSchema(NotificationRecordSchema):
    """A notification with its body, its attempts, and the actions of operators."""

    body = fields.Dict(allow_none=True, metadata={"description": "what is sent; null once it is no longer stored"})
    attempts = fields.List(
        fields.Nested(AttemptSummarySchema), metadata={"description": "the exchanges with the client"}
    )
    actions = fields.List(fields.Nested(ActionSchema), metadata={"description": "actions of operators on it"})


class NotificationStateSchema(Schema):
    """Whether the sending of notifications is paused."""

    paused = fields.Boolean(metadata={"description": "whether no notification is sent"})
    paused_at = UTCDateTime(allow_none=True, metadata={"description": "since when"})
    pause_reason = fields.String(allow_none=True, metadata={"description": "who paused it, and why"})


class NotificationListSchema(NotificationStateSchema, list_of(NotificationRecordSchema)):  # type: ignore[misc]  # a class
    """A page of the list, and whether the sending of notifications is paused."""
