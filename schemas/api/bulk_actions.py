"""Schemas of actions on many requests: the call, which previews or carries out an action, and its progress."""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, pre_load, validate, validates_schema

from receiver.domain.bulk_actions import BulkActionKind
from receiver.domain.filters import RequestFilter
from receiver.domain.sending import RequestStatus
from receiver.schemas.api.common import StrictInput, UUIDString, pop_provider_names
from receiver.schemas.api.requests import (
    MAX_METADATA_VALUE_LENGTH,
    METADATA_NAME_PATTERN,
    RequestFilterSchema,
    RequestSummarySchema,
    gather_metadata,
    metadata_filter,
)
from receiver.schemas.fields import NO_NUL, JsonBoolean, Text, UTCDateTime

MAX_BULK_SIZE = 100_000
"""Maximum number of requests of one action."""
_MISSING = "Missing data for required field."
_RESOLUTIONS = (RequestStatus.COMPLETED, RequestStatus.REJECTED, RequestStatus.FAILED)


class BulkFilterSchema(RequestFilterSchema, StrictInput):
    """The requests to act on, as in the list of requests; loads to a `RequestFilter`."""

    JSON_SCHEMA_EXTRA: ClassVar = {
        "patternProperties": {
            METADATA_NAME_PATTERN: {
                # Not `"type": "string"`, which openapi-typescript would make the type of all fields.
                "not": {"type": ["null", "boolean", "number", "array", "object"]},
                "maxLength": MAX_METADATA_VALUE_LENGTH,
                "pattern": NO_NUL,
                "description": "only with this value under this key of the metadata, as text",
            }
        },
        "dependentSchemas": {
            "account": {
                "if": {"properties": {"account": {"type": "string"}}},
                "then": {"properties": {"provider": {"type": "string"}}, "required": ["provider"]},
            }
        },
    }

    reference_conflict = JsonBoolean(
        load_default=None, metadata={"description": "only requests with a reference conflict, or only others"}
    )
    metadata = metadata_filter("only with these values under these keys of the metadata, as texts")

    @pre_load
    def _gather_metadata(self, data: Any, **_: Any) -> Any:
        is_filter = isinstance(data, Mapping) and isinstance(data.get("metadata", {}), Mapping)
        return gather_metadata(data) if is_filter else data

    @post_load
    def _build_filter(self, data: dict[str, Any], **_: Any) -> RequestFilter:
        providers = pop_provider_names(data)
        return RequestFilter(**data, providers=providers)


class BulkActionSchema(StrictInput):
    """An action on all requests that match a filter: a preview with `dry_run`, or its execution with the `token`."""

    # Conditions and no `oneOf`, of which generators of clients would make several types of body.
    JSON_SCHEMA_EXTRA: ClassVar = {
        "if": {"properties": {"action": {"enum": [BulkActionKind.RESOLVE.value]}}},
        "then": {
            "properties": {"status": {"type": "string"}, "reason": {"type": "string"}},
            "required": ["status", "reason"],
        },
        "else": {"properties": {"status": {"type": "null"}}},
        "dependentSchemas": {
            "action": {
                "if": {"properties": {"dry_run": {"enum": [True]}}, "required": ["dry_run"]},
                "then": {"properties": {"token": {"type": "null"}}},
                "else": {"properties": {"token": {"type": "string"}}, "required": ["token"]},
            }
        },
    }

    action = fields.Enum(BulkActionKind, by_value=True, required=True, metadata={"description": "what to do"})
    filter = fields.Nested(BulkFilterSchema, required=True, metadata={"description": "the requests to act on"})
    status = fields.Enum(
        RequestStatus,
        by_value=True,
        load_default=None,
        validate=validate.OneOf(_RESOLUTIONS),
        metadata={"description": "the status to set; required for `resolve`, not allowed otherwise"},
    )
    reason = Text(load_default=None, metadata={"description": "why; required for `resolve`"})
    # A callable, so that the document has no default: some generators of clients require what has one.
    dry_run = JsonBoolean(
        load_default=bool, metadata={"description": "`true` for a preview, which changes nothing; by default `false`"}
    )
    token = UUIDString(
        load_default=None,
        metadata={
            "description": "the `token` of the preview whose requests are acted on, with the same action and filter"
        },
    )

    @validates_schema
    def _check_action(self, data: Mapping[str, Any], **_: Any) -> None:
        is_resolution = data["action"] is BulkActionKind.RESOLVE
        missing = {name: [_MISSING] for name in ("status", "reason") if is_resolution and data[name] is None}
        if missing:
            raise ValidationError(missing)
        if data["status"] is not None and not is_resolution:
            raise ValidationError({"status": ["Allowed only with the action resolve."]})

    @validates_schema
    def _check_token(self, data: Mapping[str, Any], **_: Any) -> None:
        if data["dry_run"] and data["token"] is not None:
            raise ValidationError({"token": ["Not allowed with dry_run."]})
        if not data["dry_run"] and data["token"] is None:
            raise ValidationError({"token": [f"{_MISSING} Preview the action first: dry_run returns a token."]})


class BulkProgressSchema(Schema):
    """The requests of a preview, and how far its action has got."""

    action = fields.Enum(BulkActionKind, by_value=True, metadata={"description": "what is done to the requests"})
    token = fields.UUID(metadata={"description": "carries the action out on exactly these requests"})
    expires_at = UTCDateTime(metadata={"description": "until when the token can be used"})
    count = fields.Integer(metadata={"description": "the number of requests"})
    applied = fields.Integer(metadata={"description": "how many of them the action has changed"})
    skipped = fields.Integer(
        metadata={"description": "how many were not changed, because their status changed after the preview"}
    )
    remaining = fields.Integer(
        metadata={"description": "how many are still to be processed; repeat the call with the token until it is 0"}
    )
    sample = fields.List(
        fields.Nested(RequestSummarySchema), metadata={"description": "some of the requests as they are now"}
    )
