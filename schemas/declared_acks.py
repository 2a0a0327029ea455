"""Schema of the table `callback.ack` of a declared provider, and the headers that its responses may set."""

from http import HTTPStatus
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from receiver.schemas.declared_followup import TableSchema
from receiver.schemas.paths import HEADER_NAME, HEADER_VALUE, NamedValues, check_received_header

_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT})
_OWN_HEADERS = frozenset(
    {
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-content-type-options",
    }
)


def _check_own_header(name: str) -> None:
    if name.lower() in _OWN_HEADERS:
        raise ValidationError("Must not be a header that the service sets itself; for Content-Type set content_type.")


RESPONSE_HEADER = validate.And(HEADER_NAME, _check_own_header)
"""The name of a header that a response may have."""
ECHOED_HEADER = validate.And(RESPONSE_HEADER, check_received_header)
"""The name of a header that a response may return as it came."""


class AckTableSchema(TableSchema):
    """The response that the provider takes as an acknowledgement.

    By default a body that is a JSON object or array has the media type of JSON, any other body that of plain text.
    `echo_header` is a header of the callback that the response returns.
    """

    status = fields.Integer(
        strict=True, load_default=200, validate=validate.OneOf([code.value for code in HTTPStatus if 200 <= code < 300])
    )
    body = fields.String(load_default="")
    content_type = fields.String(load_default=None, validate=HEADER_VALUE)
    headers = NamedValues(
        keys=fields.String(validate=RESPONSE_HEADER), values=fields.String(validate=HEADER_VALUE), load_default=dict
    )
    echo_header = fields.String(load_default=None, validate=ECHOED_HEADER)

    @validates_schema(skip_on_field_errors=False)
    def _check_body(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("body") and data.get("status") in _BODILESS:
            raise ValidationError(f"Must be empty: a response with the status {data['status']} has no body.", "body")
