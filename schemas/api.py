"""Bodies of our own API, `/v1`. Unknown fields are refused, times are RFC 3339 in UTC."""

from marshmallow import RAISE, Schema, fields, validate

from schemas.fields import Text, UTCDateTime, storable_json


class Submission(Schema):
    """What a client posts to `/v1/requests`."""

    class Meta:
        unknown = RAISE

    provider = Text(required=True, longest=63)
    operation = Text(required=True, longest=100)
    payload = fields.Dict(keys=fields.String(), required=True, validate=storable_json)
    metadata = fields.Dict(keys=fields.String(), load_default=dict, validate=storable_json)
    send_after = UTCDateTime(load_default=None)
    deadline = UTCDateTime(load_default=None)


class Attempt(Schema):
    """One attempt of a request."""

    number = fields.Integer()
    started_at = UTCDateTime()
    finished_at = UTCDateTime()
    answer_status = fields.Integer()
    error = fields.String()


class Job(Schema):
    """A job, without its events."""

    id = fields.UUID()
    provider = fields.String()
    reference = fields.String()
    request_id = fields.UUID()
    status = fields.String()
    disputed = fields.Boolean()
    unmatched = fields.Function(lambda job: job.request_id is None)
    accepted_at = UTCDateTime()
    finished_at = UTCDateTime()
    deadline_at = UTCDateTime()


class Request(Schema):
    """A request, without its attempts and jobs."""

    id = fields.UUID()
    provider = fields.String()
    operation = fields.String()
    payload = fields.Dict()
    metadata = fields.Dict()
    status = fields.String()
    detail = fields.String()
    created_at = UTCDateTime()
    due_at = UTCDateTime()
    deadline_at = UTCDateTime()
    finished_at = UTCDateTime()


class Event(Schema):
    """One statement about a job."""

    source = fields.String()
    status = fields.String()
    provider_status = fields.String()
    code = fields.String()
    detail = fields.String()
    occurred_at = UTCDateTime()
    received_at = UTCDateTime()
    callback_id = fields.UUID()


class CallbackFilter(Schema):
    """The query of a list of callbacks."""

    class Meta:
        unknown = RAISE

    provider = fields.String()
    verdict = fields.String(validate=validate.OneOf(["accepted", "duplicate", "invalid", "unmapped", "refused"]))
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 500))


class CallbackSummary(Schema):
    """A callback in a list."""

    id = fields.UUID()
    provider = fields.String()
    received_at = UTCDateTime()
    verdict = fields.String()
    method = fields.String()
    errors = fields.Raw()


class Callback(CallbackSummary):
    """A callback as it came; a body that is no UTF-8 is shown with escapes."""

    target = fields.String()
    headers = fields.Raw()
    body = fields.Function(lambda callback: callback.body.decode("utf-8", "backslashreplace"))


class Explanation(Schema):
    """Why a callback has its verdict."""

    part = fields.String()
    message = fields.String()
    causes = fields.List(fields.String())


class SecretUse(Schema):
    """When a signing secret last matched; a fingerprint names it."""

    fingerprint = fields.String()
    last_used_at = UTCDateTime()
