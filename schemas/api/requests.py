"""Requests: what is submitted, how they are found, and how they are shown."""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, pre_load, validate, validates_schema

from receiver.domain.sending import RequestStatus
from receiver.domain.targets import MAX_URL_LENGTH
from receiver.schemas.api.common import ActionSchema, ListQuerySchema, Rfc3339DateTime, StrictInput, provider_filter
from receiver.schemas.api.jobs import JobSchema
from receiver.schemas.fields import Text, UTCDateTime, storable_json

MOST_IN_BATCH = 1_000
MOST_JOBS_TOLD = 1_000
"""How many jobs a client is told of at the end of a request."""
LONGEST_KEY, LONGEST_VALUE = 100, 500
"""How many characters of metadata requests can be found by."""
_METADATA = "metadata."
_OVER = (RequestStatus.COMPLETED, RequestStatus.REJECTED, RequestStatus.FAILED)
_RESOLVED = (RequestStatus.ACCEPTED, *_OVER)


_STATUS = (
    "`queued`; `sending`; `accepted`: the provider took it, and its jobs tell the rest; `completed`: the answer itself "
    "was final; `rejected`: the provider refused for good; `failed`: attempts or deadline used up; `unknown`: sent, no "
    "answer came, and sending it again could act twice; `cancelled`"
)


class SubmissionSchema(StrictInput):
    """What is to be sent to a provider."""

    provider = Text(required=True, longest=63, metadata={"description": "who it is for"})
    operation = Text(required=True, longest=100, metadata={"description": "what is asked"})
    payload = fields.Dict(
        keys=fields.String(),
        required=True,
        validate=storable_json,
        metadata={"description": "what the operation takes"},
    )
    metadata = fields.Dict(
        keys=fields.String(),
        load_default=dict,
        validate=storable_json,
        metadata={"description": "yours; requests can be found by its texts, numbers and booleans"},
    )
    send_after = Rfc3339DateTime(load_default=None, allow_none=True, metadata={"description": "not to be sent before"})
    deadline = Rfc3339DateTime(
        load_default=None, allow_none=True, metadata={"description": "not to be sent any more once it has passed"}
    )
    # Not loaded unless given, so that what was fingerprinted before there was such a field is still the same call.
    notify_url = Text(
        allow_none=True, longest=MAX_URL_LENGTH, metadata={"description": "called, signed, once the request is over"}
    )


class BatchSchema(StrictInput):
    """Requests to be queued all or none."""

    requests = fields.List(
        fields.Nested(SubmissionSchema),
        required=True,
        validate=validate.Length(min=1, max=MOST_IN_BATCH),
        metadata={"description": "in the order of the answer"},
    )


class RequestResolutionSchema(StrictInput):
    """An operator's word on what became of an unknown request."""

    ALSO: ClassVar = {
        "oneOf": [
            {
                "properties": {"status": {"enum": [RequestStatus.ACCEPTED.value]}, "references": {"minItems": 1}},
                "required": ["references"],
            },
            {"properties": {"status": {"enum": [status.value for status in _OVER]}, "references": {"maxItems": 0}}},
        ]
    }

    status = fields.Enum(
        RequestStatus,
        by_value=True,
        required=True,
        validate=validate.OneOf(_RESOLVED, error="must be accepted, completed, rejected or failed"),
        metadata={"description": "what became of it"},
    )
    references = fields.List(
        Text(),
        load_default=list,
        validate=validate.Length(max=MOST_IN_BATCH),
        metadata={"description": "the provider's names of its jobs; needed for `accepted`, and only for that"},
    )
    reason = Text(required=True, metadata={"description": "how it is known"})

    @validates_schema
    def _accepted_has_jobs(self, data: Mapping[str, Any], **_: Any) -> None:
        accepted = data["status"] is RequestStatus.ACCEPTED
        if accepted and not data["references"]:
            raise ValidationError({"references": ["name at least one: what was accepted has jobs to be followed"]})
        if data["references"] and not accepted:
            raise ValidationError({"references": ["are for accepted only; how a job ended is said of the job"]})


class RequestQuerySchema(ListQuerySchema):
    """Which requests to list; `metadata.KEY=VALUE`, once for each key, compares the texts of values."""

    status = fields.Enum(
        RequestStatus, by_value=True, load_default=None, metadata={"description": "only with this status"}
    )
    provider = provider_filter()
    operation = Text(load_default=None, longest=100, metadata={"description": "only of this operation"})
    created_from = Rfc3339DateTime(load_default=None, metadata={"description": "made then or later"})
    created_to = Rfc3339DateTime(load_default=None, metadata={"description": "made before"})
    metadata = fields.Dict(
        keys=Text(longest=LONGEST_KEY),
        values=Text(shortest=0, longest=LONGEST_VALUE),
        load_default=dict,
        metadata={"description": "`metadata.KEY=VALUE`, once for each key: what must stand there, as text"},
    )

    @pre_load
    def _gather_metadata(self, data: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        if "metadata" in data:
            raise ValidationError({"metadata": ["is written metadata.KEY=VALUE, with one of your keys"]})
        gathered = {name: value for name, value in data.items() if not name.startswith(_METADATA)}
        named = {name[len(_METADATA) :]: value for name, value in data.items() if name.startswith(_METADATA)}
        for key in named:
            if not 0 < len(key) <= LONGEST_KEY or "\x00" in key:
                raise ValidationError({f"{_METADATA}KEY": [f"a key has 1 to {LONGEST_KEY} characters, and no NUL"]})
        return gathered | {"metadata": named}


class AttemptSchema(Schema):
    """One exchange with the provider; without an end it is under way."""

    number = fields.Integer(metadata={"description": "the first is 1"})
    started_at = UTCDateTime(metadata={"description": "when"})
    finished_at = UTCDateTime(allow_none=True, metadata={"description": "when; null while it is under way"})
    response_status = fields.Integer(
        allow_none=True, metadata={"description": "the HTTP status of the answer; null if there was none"}
    )
    error = fields.String(allow_none=True, metadata={"description": "why there was no answer"})


class RequestSummarySchema(Schema):
    """A request in a list."""

    id = fields.UUID(metadata={"description": "ours"})
    provider = fields.String(metadata={"description": "who it is for"})
    operation = fields.String(metadata={"description": "what is asked"})
    payload = fields.Dict(metadata={"description": "as it was submitted"})
    metadata = fields.Dict(metadata={"description": "as it was submitted"})
    status = fields.Enum(RequestStatus, by_value=True, metadata={"description": _STATUS})
    detail = fields.String(allow_none=True, metadata={"description": "what the status comes from"})
    created_at = UTCDateTime(metadata={"description": "when it was submitted"})
    due_at = UTCDateTime(allow_none=True, metadata={"description": "when it is sent, while it is queued"})
    deadline_at = UTCDateTime(metadata={"description": "when it is not sent any more"})
    finished_at = UTCDateTime(allow_none=True, metadata={"description": "when it ended; null while it may yet go on"})
    notify_url = fields.String(allow_none=True, metadata={"description": "called, signed, once it is over"})


class RequestSchema(RequestSummarySchema):
    """A request with its attempts, the jobs that the provider made of it, and what operators did."""

    attempts = fields.List(fields.Nested(AttemptSchema), metadata={"description": "the exchanges with the provider"})
    jobs = fields.List(fields.Nested(JobSchema), metadata={"description": "what the provider made of it"})
    actions = fields.List(fields.Nested(ActionSchema), metadata={"description": "what operators did about it"})


class FinishedRequestSchema(RequestSchema):
    """A request that is over, as its client is told: without its payload, and with the first of many jobs only."""

    class Meta:
        exclude = ("payload",)

    jobs_total = fields.Integer(
        metadata={"description": f"how many jobs it has; `jobs` holds up to {MOST_JOBS_TOLD:,}"}
    )


class NotificationSchema(Schema):
    """What a `notify_url` is sent."""

    type = fields.String(metadata={"description": "`request.finished`"})
    timestamp = UTCDateTime(metadata={"description": "of when this is true; of two about one request the later counts"})
    data = fields.Nested(FinishedRequestSchema, metadata={"description": "the request as it is then"})
