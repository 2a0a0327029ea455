"""Schemas of the stream of changes: the query, a change, and a page of changes."""

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from receiver.domain.tail import KINDS, TailCursor
from receiver.schemas.api.common import (
    AccountName,
    PageCursor,
    ProviderName,
    StrictInput,
    UUIDString,
    account_filter,
    pop_provider_names,
    provider_filter,
)
from receiver.schemas.fields import Text, UTCDateTime


class TailQuerySchema(StrictInput):
    """The query of the stream of changes."""

    cursor = PageCursor(TailCursor)
    kind = fields.String(
        load_default=None, validate=validate.OneOf(KINDS), metadata={"description": "only changes of this kind"}
    )
    provider = provider_filter()
    account = account_filter()
    reference = Text(
        load_default=None,
        metadata={"description": "only jobs with this reference, and the callbacks about them"},
    )
    request_id = UUIDString(
        load_default=None, metadata={"description": "only this request, its jobs, and the callbacks about them"}
    )

    @post_load
    def join_names(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Replace provider and account by `providers`, the names that include those of the changes; None for all."""
        return {"providers": pop_provider_names(data), **data}


class ChangeSchema(Schema):
    """A change of a request, a callback or a job; fields that its kind lacks are null."""

    kind = fields.String(
        validate=validate.OneOf(KINDS),
        metadata={
            "description": "`request`: it was submitted, has ended or became unknown; `callback`: it was received or "
            "replayed; `job`: an event of it was received"
        },
    )
    at = UTCDateTime(metadata={"description": "when it happened, or was received"})
    provider = ProviderName("the provider")
    account = AccountName()
    id = fields.UUID(metadata={"description": "our id of the request, callback or job"})
    request_id = fields.UUID(allow_none=True, metadata={"description": "the request"})
    callback_id = fields.UUID(allow_none=True, metadata={"description": "the callback"})
    operation = fields.String(allow_none=True, metadata={"description": "the operation of the request"})
    reference = fields.String(allow_none=True, metadata={"description": "the provider's reference of the job"})
    status = fields.String(
        allow_none=True,
        metadata={
            "description": "the status of the request, the verdict of the callback, or the status of the job that the "
            "event reports; null if it reports none that is mapped"
        },
    )
    source = fields.String(allow_none=True, metadata={"description": "where the event of the job comes from"})
    provider_status = fields.String(allow_none=True, metadata={"description": "the status as the provider writes it"})
    code = fields.String(allow_none=True, metadata={"description": "the provider's code"})
    detail = fields.String(allow_none=True, metadata={"description": "further details"})
    errors = fields.Dict(
        allow_none=True,
        metadata={"description": "fields → messages of a callback: why it was refused, or what could not be read"},
    )
    job_status = fields.String(
        allow_none=True, metadata={"description": "the status that the job has; it may differ from that of the event"}
    )


class TailSchema(Schema):
    """The changes after a position."""

    items = fields.List(fields.Nested(ChangeSchema), metadata={"description": "the changes, oldest first"})
    cursor = fields.Function(
        lambda page: str(page.cursor),
        metadata={
            "type": "string",
            "pattern": f"^{TailCursor.PATTERN}$",
            "description": "the position after these changes: the `cursor` of the next call",
        },
    )
    has_gap = fields.Boolean(
        metadata={
            "description": "whether changes may be missing before these: the cursor is older than 10 minutes, or there "
            "are more than 10,000 changes of a kind at once"
        }
    )
