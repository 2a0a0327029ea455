"""Schemas of API keys: the list query, a new key, and a key as it is shown."""

import unicodedata
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from receiver.domain.access import BOOTSTRAP_NAME, Scope
from receiver.schemas.api.common import JsonInteger, ListQuerySchema, Rfc3339DateTime, StrictInput
from receiver.schemas.fields import Text, UTCDateTime, check_storable_text

MAX_CALLS_PER_MINUTE = 1_000_000
_MAX_NAME_LENGTH = 100
_NAME = r"[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?"
_RESERVED = "".join(f"[{letter.upper()}{letter}]" for letter in BOOTSTRAP_NAME)


# Letters of other scripts that look like those of the reserved name, and digits that people read as letters.
_LOOK_ALIKES = {
    ord(other): letter
    for letter, others in {"b": "вьβ", "o": "оοσօ0", "t": "тτ7", "s": "ѕ5", "r": "гʀ", "a": "аαɑ4", "p": "рρ"}.items()
    for other in others
}


def _check_not_reserved(value: str) -> None:
    """Check that a name is not that of the bootstrap key, and does not look like it.

    Raises:
        ValidationError: the name is reserved.
    """
    letters = unicodedata.normalize("NFKD", value.casefold()).translate(_LOOK_ALIKES)
    if "".join(filter(str.isalnum, letters)) == BOOTSTRAP_NAME:
        raise ValidationError(f"{BOOTSTRAP_NAME} is reserved for RECEIVER_ADMIN_KEY.")


class NameText(fields.String):
    """The name of a key or a client.

    Two names that look alike would be two clients, so that space at the ends and control characters are not allowed.
    """

    def __init__(self, description: str, **kwargs: Any) -> None:
        error = "Must not begin or end with a space, and must not contain control characters."
        super().__init__(
            validate=[
                validate.Length(min=1, max=_MAX_NAME_LENGTH),
                check_storable_text,
                validate.Regexp(rf"^{_NAME}\Z", error=error),
                _check_not_reserved,
            ],
            metadata={"description": description, "not": {"type": "string", "pattern": f"^{_RESERVED}$"}},
            **kwargs,
        )


class KeyQuerySchema(ListQuerySchema):
    """The query of a list of API keys."""


class NewKeySchema(StrictInput):
    """An API key to create."""

    name = NameText("the name of the key, recorded with each operator action", required=True)
    client = NameText(
        "the client that the key belongs to; by default its `name`. Requests and idempotency keys belong to the "
        "client, so that a new key of the client can replace an old one",
        load_default=None,
        allow_none=True,
    )
    scopes = fields.List(
        fields.Enum(Scope, by_value=True),
        required=True,
        validate=validate.Length(min=1, max=len(Scope)),
        metadata={"description": "what the key may do; `admin` includes the other scopes"},
    )
    providers = fields.List(
        Text(max_length=127),
        load_default=None,
        allow_none=True,
        validate=validate.Length(min=1, max=1_000),
        metadata={
            "description": "the only providers that the key may use, with all their accounts, or `PROVIDER/ACCOUNT`; "
            "by default all"
        },
    )
    per_minute = JsonInteger(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, MAX_CALLS_PER_MINUTE),
        metadata={"description": "maximum calls per minute; by default `RECEIVER_RATE_LIMIT`"},
    )
    expires_at = Rfc3339DateTime(
        load_default=None,
        allow_none=True,
        metadata={"description": "a time in the future; by default never", "examples": ["2099-12-31T00:00:00Z"]},
    )


class KeySchema(Schema):
    """An API key without its secret."""

    id = fields.UUID(metadata={"description": "the id of the key, which is not the key itself"})
    client = fields.String(metadata={"description": "the client that the key belongs to"})
    name = fields.String(metadata={"description": "the name of the key"})
    prefix = fields.String(metadata={"description": "the first characters of the key"})
    scopes = fields.List(fields.Enum(Scope, by_value=True), metadata={"description": "what the key may do"})
    providers = fields.List(
        fields.String(),
        allow_none=True,
        metadata={"description": "the only providers that the key may use; null for all"},
    )
    per_minute = fields.Integer(metadata={"description": "maximum calls per minute"})
    created_at = UTCDateTime(metadata={"description": "when it was created"})
    expires_at = UTCDateTime(allow_none=True, metadata={"description": "when it expires; null for never"})
    revoked_at = UTCDateTime(allow_none=True, metadata={"description": "when it was revoked"})
    last_used_at = UTCDateTime(allow_none=True, metadata={"description": "when it was last used, to the minute"})


class CreatedKeySchema(KeySchema):
    """An API key that was just created, with its secret."""

    key = fields.String(metadata={"description": "the key; it is shown only this once"})
