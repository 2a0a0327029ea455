"""API keys: how they are made and shown."""

from marshmallow import Schema, fields, validate

from receiver.domain.access import BOOTSTRAP_NAME, Scope
from receiver.schemas.api.common import JsonInteger, ListQuerySchema, Rfc3339DateTime, StrictInput
from receiver.schemas.fields import Text, UTCDateTime

MOST_PER_MINUTE = 1_000_000
_NOT_RESERVED = {"not": {"enum": [BOOTSTRAP_NAME]}}


class KeyQuerySchema(ListQuerySchema):
    """Keys, the newest first."""


class NewKeySchema(StrictInput):
    """A key to make."""

    name = Text(
        required=True,
        longest=100,
        metadata={"description": "the name of the key, shown with each action that is taken with it", **_NOT_RESERVED},
    )
    client = Text(
        load_default=None,
        allow_none=True,
        longest=100,
        metadata={
            "description": "the client whose key it is; its `name` unless given. Requests and idempotency keys belong to "
            "the client, so that one of its keys can replace another",
            **_NOT_RESERVED,
        },
    )
    scopes = fields.List(
        fields.Enum(Scope, by_value=True),
        required=True,
        validate=validate.Length(min=1, max=len(Scope)),
        metadata={"description": "`admin` may do everything"},
    )
    providers = fields.List(
        Text(longest=63),
        load_default=None,
        allow_none=True,
        validate=validate.Length(min=1, max=1_000),
        metadata={"description": "the only providers it is good for; all unless given"},
    )
    per_minute = JsonInteger(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, MOST_PER_MINUTE),
        metadata={"description": "how many calls it may make in a minute; `RECEIVER_RATE_LIMIT` unless given"},
    )
    expires_at = Rfc3339DateTime(
        load_default=None,
        allow_none=True,
        metadata={"description": "a time to come; never, unless given", "examples": ["2099-12-31T00:00:00Z"]},
    )


class KeySchema(Schema):
    """A key in a list; what it is good for, not the key itself."""

    id = fields.UUID(metadata={"description": "of the key, not the key itself"})
    client = fields.String(metadata={"description": "the client whose key it is"})
    name = fields.String(metadata={"description": "the name of the key"})
    prefix = fields.String(metadata={"description": "how the key begins"})
    scopes = fields.List(fields.Enum(Scope, by_value=True), metadata={"description": "what it is good for"})
    providers = fields.List(
        fields.String(), allow_none=True, metadata={"description": "the only providers it is good for; null for all"}
    )
    per_minute = fields.Integer(metadata={"description": "how many calls it may make in a minute"})
    created_at = UTCDateTime(metadata={"description": "when it was made"})
    expires_at = UTCDateTime(allow_none=True, metadata={"description": "when it ends; null for never"})
    revoked_at = UTCDateTime(allow_none=True, metadata={"description": "when it was revoked"})
    last_used_at = UTCDateTime(allow_none=True, metadata={"description": "when it was last used, to the minute"})


class CreatedKeySchema(KeySchema):
    """A key that was just made."""

    key = fields.String(metadata={"description": "the key; it is shown this once and cannot be had again"})
