"""Schemas of requests: submissions, resolutions, the list query, and responses."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, pre_load, validate, validates_schema

from receiver.domain.filters import RequestFilter
from receiver.domain.notifications import NotifyEvent
from receiver.domain.sending import (
    DEFAULT_PRIORITY,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    MAX_BATCH_SIZE,
    RequestStatus,
)
from receiver.schemas.api.common import (
    NOTIFY_EVENTS,
    AccountName,
    ActionSchema,
    JsonInteger,
    ListQuerySchema,
    NotifiedInputSchema,
    ProviderName,
    QueryBoolean,
    Rfc3339DateTime,
    StrictInput,
    account_field,
    account_filter,
    client_metadata,
    provider_filter,
)
from receiver.schemas.api.jobs import JobSchema
from receiver.schemas.fields import Text, UTCDateTime, check_storable_json
from receiver.schemas.quick import QuickSchema

MAX_METADATA_KEY_LENGTH, MAX_METADATA_VALUE_LENGTH = 100, 500
"""Maximum number of characters of metadata keys and values that requests can be filtered by."""
METADATA_NAME_PATTERN = (
    rf"^metadata(\.[^\u0000]{{1,{MAX_METADATA_KEY_LENGTH}}}|\[[^\u0000]{{1,{MAX_METADATA_KEY_LENGTH}}}\])$"
)
"""The names `metadata.KEY` and `metadata[KEY]` in a filter."""
_METADATA_NAME = re.compile(r"metadata(?:\.(.*)|\[(.*)\])", re.DOTALL)
_FINISHED = (RequestStatus.COMPLETED, RequestStatus.REJECTED, RequestStatus.FAILED)
_RESOLUTIONS = (RequestStatus.ACCEPTED, *_FINISHED)
_STATUS = (
    "`queued`; `sending`; `accepted`: the provider accepted it, see its jobs; `completed`: the response itself was "
    "final; `rejected`: the provider refused it for good; `failed`: attempts or deadline used up; `unknown`: sent, "
    "but there is no response or none that settles it, and sending it again could repeat its effect; `cancelled`"
)


class SubmissionSchema(QuickSchema, NotifiedInputSchema):
    """A request to submit to a provider."""

    CHECKED_TOGETHER = frozenset({"notify_events"})

    provider = Text(required=True, max_length=63, metadata={"description": "the provider to send it to"})
    account = account_field()
    operation = Text(required=True, max_length=100, metadata={"description": "the operation of the provider"})
    payload = fields.Dict(
        keys=fields.String(),
        required=True,
        validate=check_storable_json,
        metadata={"description": "the payload of the operation"},
    )
    metadata = client_metadata()
    send_after = Rfc3339DateTime(
        load_default=None, allow_none=True, metadata={"description": "not sent before this time"}
    )
    deadline = Rfc3339DateTime(load_default=None, allow_none=True, metadata={"description": "not sent after this time"})
    # Without a default, so that a submission from before the field existed has the same fingerprint.
    priority = JsonInteger(
        validate=validate.Range(LOWEST_PRIORITY, HIGHEST_PRIORITY),
        metadata={
            "description": f"of the provider's due requests, those with the highest priority are sent first; "
            f"{DEFAULT_PRIORITY} without one"
        },
    )


class BatchSchema(QuickSchema, StrictInput):
    """Requests to submit in one transaction: all or none."""

    requests = fields.List(
        fields.Nested(SubmissionSchema),
        required=True,
        validate=validate.Length(min=1, max=MAX_BATCH_SIZE),
        metadata={"description": "the submissions; the response has the same order"},
    )


class RequestResolutionSchema(StrictInput):
    """The status of an unknown request or of one with a reference conflict, set by an operator."""

    # A condition and no `oneOf`, of which generators of clients would make several types of body.
    JSON_SCHEMA_EXTRA: ClassVar = {
        "if": {"properties": {"status": {"enum": [RequestStatus.ACCEPTED.value]}}},
        "then": {"properties": {"references": {"minItems": 1}}, "required": ["references"]},
        "else": {"properties": {"references": {"maxItems": 0}}},
    }

    status = fields.Enum(
        RequestStatus,
        by_value=True,
        required=True,
        validate=validate.OneOf(_RESOLUTIONS),
        metadata={"description": "the status to set"},
    )
    references = fields.List(
        Text(),
        load_default=list,
        validate=validate.Length(max=MAX_BATCH_SIZE),
        metadata={
            "description": "the provider's references of its jobs; required for `accepted`, not allowed otherwise"
        },
    )
    reason = Text(required=True, metadata={"description": "how the operator knows it"})

    @validates_schema
    def _check_references(self, data: Mapping[str, Any], **_: Any) -> None:
        is_accepted = data["status"] is RequestStatus.ACCEPTED
        if is_accepted and not data["references"]:
            raise ValidationError({"references": ["Missing data for required field."]})
        if data["references"] and not is_accepted:
            raise ValidationError({"references": ["Allowed only with the status accepted; resolve jobs one by one."]})


class RequestFilterSchema(Schema):
    """The fields of a filter of requests that a query and a body have in common."""

    status = fields.Enum(
        RequestStatus, by_value=True, load_default=None, metadata={"description": "only with this status"}
    )
    provider = provider_filter()
    account = account_filter()
    operation = Text(load_default=None, max_length=100, metadata={"description": "only of this operation"})
    created_from = Rfc3339DateTime(load_default=None, metadata={"description": "created at this time or later"})
    created_to = Rfc3339DateTime(load_default=None, metadata={"description": "created before this time"})


def metadata_filter(description: str) -> fields.Dict:
    """Return the field of a filter by metadata."""
    return fields.Dict(
        keys=Text(max_length=MAX_METADATA_KEY_LENGTH),
        values=Text(min_length=0, max_length=MAX_METADATA_VALUE_LENGTH),
        load_default=dict,
        metadata={"description": description},
    )


def gather_metadata(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a filter with the values of `metadata.KEY` and `metadata[KEY]` in the field `metadata`.

    Raises:
        ValidationError: a key is too short, too long or contains NUL, or has two values.
    """
    parameters = {name: value for name, value in data.items() if not _METADATA_NAME.fullmatch(name)}
    metadata = dict(parameters.get("metadata", {}))
    for name, value in data.items():
        if found := _METADATA_NAME.fullmatch(name):
            key = found[1] if found[2] is None else found[2]
            if not 0 < len(key) <= MAX_METADATA_KEY_LENGTH or "\x00" in key:
                error = f"Length of a key must be between 1 and {MAX_METADATA_KEY_LENGTH}, without NUL characters."
                raise ValidationError({"metadata.KEY": [error]})
            if metadata.setdefault(key, value) != value:
                raise ValidationError({name: ["Must not have several values."]})
    return parameters | {"metadata": metadata}


class RequestQuerySchema(RequestFilterSchema, ListQuerySchema):
    """The query of a list of requests; `metadata.KEY=VALUE`, or `metadata[KEY]=VALUE`, once per key, compares text."""

    filter_class = RequestFilter

    reference_conflict = QueryBoolean(
        load_default=None, metadata={"description": "only requests with a reference conflict, or only others"}
    )
    metadata = metadata_filter(
        "`metadata.KEY=VALUE` or `metadata[KEY]=VALUE`, once per key: the value of this key, as text"
    )

    @pre_load
    def _gather_metadata(self, data: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        if "metadata" in data:
            raise ValidationError({"metadata": ["Must be written as metadata.KEY=VALUE, with a key of yours."]})
        return gather_metadata(data)


class AttemptSummarySchema(Schema):
    """One exchange with the provider; without `finished_at` it is still running."""

    number = fields.Integer(metadata={"description": "1 for the first attempt"})
    started_at = UTCDateTime(metadata={"description": "when it started"})
    finished_at = UTCDateTime(allow_none=True, metadata={"description": "when it finished; null while it is running"})
    response_status = fields.Integer(
        allow_none=True, metadata={"description": "the HTTP status of the response; null without a response"}
    )
    error = fields.String(allow_none=True, metadata={"description": "why there was no response"})


class AttemptSchema(AttemptSummarySchema):
    """One exchange with the provider, with its response for `admin`."""

    response_headers = fields.Dict(
        allow_none=True,
        metadata={"description": "the headers of the response, without credentials; null for keys without `admin`"},
    )
    response_body = fields.String(
        allow_none=True,
        metadata={
            "description": "its body, in which bytes that are not UTF-8 are escaped; null for keys without `admin`"
        },
    )
    response_truncated = fields.Boolean(
        allow_none=True,
        metadata={"description": "whether only the first MiB of the body is stored; null for keys without `admin`"},
    )


class RequestSummarySchema(Schema):
    """A request in a list."""

    id = fields.UUID(metadata={"description": "our id of the request"})
    provider = ProviderName("the provider to send it to")
    account = AccountName()
    operation = fields.String(metadata={"description": "the operation of the provider"})
    payload = fields.Dict(allow_none=True, metadata={"description": "as it was submitted; null once it is erased"})
    metadata = fields.Dict(metadata={"description": "as it was submitted"})
    status = fields.Enum(RequestStatus, by_value=True, metadata={"description": _STATUS})
    detail = fields.String(allow_none=True, metadata={"description": "the reason for the status"})
    created_at = UTCDateTime(metadata={"description": "when it was submitted"})
    due_at = UTCDateTime(allow_none=True, metadata={"description": "when it is to be sent, while it is queued"})
    deadline_at = UTCDateTime(metadata={"description": "it is not sent after this time"})
    finished_at = UTCDateTime(
        allow_none=True, metadata={"description": "when it finished; null while it may still change"}
    )
    notify_url = fields.String(
        allow_none=True, metadata={"description": "URL that receives webhook notifications about it"}
    )
    notify_events = fields.List(
        fields.Enum(NotifyEvent, by_value=True),
        allow_none=True,
        metadata={"description": f"what `notify_url` is notified of; null without one. {NOTIFY_EVENTS}"},
    )
    erased_at = UTCDateTime(
        allow_none=True,
        metadata={"description": "when its payload was erased, after its retention or by an operator; null before"},
    )
    priority = fields.Integer(metadata={"description": "from 0 to 9; the highest is sent first"})
    reference_conflict = fields.Boolean(
        metadata={
            "description": "whether an operator must resolve it: the provider gave it the reference of another "
            "request's job"
        }
    )


class RequestSchema(RequestSummarySchema):
    """A request with its attempts, its jobs, and the actions of operators."""

    attempts = fields.List(fields.Nested(AttemptSchema), metadata={"description": "the exchanges with the provider"})
    jobs = fields.List(fields.Nested(JobSchema), metadata={"description": "the jobs that the provider accepted"})
    actions = fields.List(fields.Nested(ActionSchema), metadata={"description": "actions of operators on it"})
