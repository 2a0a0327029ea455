"""Schemas of the sandbox provider: payloads, responses and callbacks."""

from marshmallow import EXCLUDE, fields, validate

from receiver.schemas.fields import JsonDocumentSchema, Text, UTCDateTime
from receiver.schemas.quick import QuickSchema


class _SandboxSchema(JsonDocumentSchema):
    """A provider may add fields at any time; unknown fields are ignored."""

    class Meta:
        unknown = EXCLUDE


class SandboxResponseItemSchema(_SandboxSchema):
    """One recipient in a response; `code` decides, whatever the HTTP status."""

    id = Text(load_default=None, allow_none=True)
    status = Text(load_default=None, allow_none=True)
    code = fields.Integer(required=True, strict=True)


class SandboxResponseSchema(_SandboxSchema):
    """The response to a submitted message."""

    items = fields.List(
        fields.Nested(SandboxResponseItemSchema), required=True, validate=validate.Length(min=1, max=1_000)
    )


class SandboxReportSchema(_SandboxSchema):
    """One delivery report, in a callback or as the response to a poll."""

    id = Text(required=True)
    state = Text(required=True)
    reason = Text(load_default=None, allow_none=True)
    at = UTCDateTime(load_default=None, allow_none=True)


class SandboxCallbackSchema(_SandboxSchema):
    """The body of a callback, whose results are each a `SandboxReportSchema`.

    Only the limit of the body's size limits the number of results.
    """

    results = fields.List(fields.Raw(allow_none=True), required=True, validate=validate.Length(min=1))


class SandboxPayloadSchema(QuickSchema, JsonDocumentSchema):
    """The payload of the operation `send`."""

    client_reference = Text(required=True, max_length=100, metadata={"examples": ["order-7"]})
    to = fields.List(
        Text(max_length=20, metadata={"examples": ["2348181234567"]}),
        required=True,
        validate=validate.Length(min=1, max=1_000),
    )
    text = Text(required=True, max_length=1_071, metadata={"examples": ["Your order is on its way."]})
