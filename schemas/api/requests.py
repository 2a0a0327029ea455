"""Requests: what is submitted, how they are found, and how they are shown."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, pre_load, validate

from receiver.domain.sending import RequestStatus
from schemas.api.common import Action, Given, ListQuery, Moment, provider_filter
from schemas.api.jobs import Job
from schemas.fields import Text, UTCDateTime, storable_json

MOST_IN_BATCH = 1_000
LONGEST_KEY, LONGEST_VALUE = 100, 500
"""How many characters of metadata requests can be found by."""
_METADATA = "metadata."


class Submission(Given):
    """What is to be sent to a provider."""

    provider = Text(required=True, longest=63)
    operation = Text(required=True, longest=100)
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
    send_after = Moment(load_default=None, allow_none=True, metadata={"description": "not to be sent before"})
    deadline = Moment(
        load_default=None, allow_none=True, metadata={"description": "not to be sent any more once it has passed"}
    )


class Batch(Given):
    """Requests to be queued all or none."""

    requests = fields.List(fields.Nested(Submission), required=True, validate=validate.Length(min=1, max=MOST_IN_BATCH))


class RequestQuery(ListQuery):
    """Which requests to list; `metadata.KEY=VALUE`, once for each key, compares the texts of values."""

    status = fields.Enum(RequestStatus, by_value=True, load_default=None)
    provider = provider_filter()
    operation = Text(load_default=None, longest=100)
    created_from = Moment(load_default=None)
    created_to = Moment(load_default=None)
    metadata = fields.Dict(keys=fields.String(), values=Text(shortest=0, longest=LONGEST_VALUE), load_default=dict)

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


class Attempt(Schema):
    """One exchange with the provider; without an end it is under way."""

    number = fields.Integer()
    started_at = UTCDateTime()
    finished_at = UTCDateTime(allow_none=True)
    answer_status = fields.Integer(allow_none=True)
    error = fields.String(allow_none=True)


class RequestSummary(Schema):
    """A request in a list."""

    id = fields.UUID()
    provider = fields.String()
    operation = fields.String()
    payload = fields.Dict()
    metadata = fields.Dict()
    status = fields.Enum(RequestStatus, by_value=True)
    detail = fields.String(allow_none=True)
    created_at = UTCDateTime()
    due_at = UTCDateTime(allow_none=True, metadata={"description": "when it is sent, while it is queued"})
    deadline_at = UTCDateTime()
    finished_at = UTCDateTime(allow_none=True)


class Request(RequestSummary):
    """A request with its attempts, the jobs that the provider made of it, and what operators did."""

    attempts = fields.List(fields.Nested(Attempt))
    jobs = fields.List(fields.Nested(Job))
    actions = fields.List(fields.Nested(Action))
