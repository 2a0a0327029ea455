"""What several parts of the API share: lists, reasons, problems, actions."""

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate

from receiver.domain.paging import CURSOR_PATTERN, Cursor
from receiver.schemas.fields import JsonDocumentSchema, Text, UTCDateTime

MOST_ITEMS = 500
_DATE = r"[1-8][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_RFC_3339 = re.compile(f"{_DATE}[Tt]{_TIME}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_DIGITS = re.compile(r"[0-9]{1,9}")


class StrictInput(JsonDocumentSchema):
    """What a client gives: unknown fields are mistakes."""

    class Meta:
        unknown = RAISE

    error_messages = {"unknown": "is not known here; check its spelling"}  # noqa: RUF012  # marshmallow's


class Rfc3339DateTime(UTCDateTime):
    """A time exactly as RFC 3339 writes it, of the years 1000 to 8999; given in UTC."""

    def __init__(self, **kwargs: Any) -> None:
        told = {"pattern": f"^{_RFC_3339.pattern}$", "examples": ["2026-11-23T14:00:00Z"]}
        super().__init__(**kwargs | {"metadata": told | kwargs.get("metadata", {})})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
            raise ValidationError("must be a time such as 2026-11-23T14:00:00Z; in a query + is written %2B")
        return super()._deserialize(value.upper(), *args, **kwargs)


class UUIDString(fields.UUID):
    """A UUID in its usual form, with hyphens."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"metadata": {"pattern": f"^{_UUID.pattern}$"} | kwargs.get("metadata", {})})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> UUID:
        if not isinstance(value, str) or not _UUID.fullmatch(value):
            raise ValidationError("must be an id such as 0197e6a5-7f0c-7c3e-9d43-5b8f3a1c2d4e")
        return super()._deserialize(value, *args, **kwargs) or UUID(value)


class QueryBoolean(fields.Boolean):
    """`true` or `false` in a query."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(truthy={"true"}, falsy={"false"}, **kwargs)


class QueryInteger(fields.Integer):
    """A whole number in a query, in digits."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or not _DIGITS.fullmatch(value):
            raise ValidationError("must be a whole number in digits")
        return super()._deserialize(value, *args, **kwargs)


class JsonInteger(fields.Integer):
    """A whole number of JSON, in which 5.0 is one as well."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strict=True, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        whole = isinstance(value, float) and value.is_integer()
        return super()._deserialize(int(value) if whole else value, *args, **kwargs)


class PageCursor(fields.String):
    """The cursor of a list's next page."""

    def __init__(self, **kwargs: Any) -> None:
        wrong = "must be the `next_cursor` of the page before"
        super().__init__(validate=validate.Regexp(f"^{CURSOR_PATTERN}\\Z", error=wrong), **kwargs)


class ListQuerySchema(StrictInput):
    """The query of a list."""

    limit = QueryInteger(
        load_default=50, validate=validate.Range(1, MOST_ITEMS), metadata={"description": "how many at most"}
    )
    cursor = PageCursor(load_default=None, metadata={"description": "`next_cursor` of the page before"})

    @post_load
    def _read_cursor(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return data | {"cursor": data["cursor"] and Cursor.of(data["cursor"])}


def provider_filter(described: str = "only of this provider") -> fields.String:
    """Give the field of a filter by a provider's name."""
    named = validate.Regexp(r"^[a-z0-9][a-z0-9_-]{0,62}\Z", error="must be a provider's name")
    return fields.String(load_default=None, validate=named, metadata={"description": described})


class NoQuerySchema(StrictInput):
    """The query of what takes none."""


class ReasonSchema(StrictInput):
    """Why an operator does something."""

    reason = Text(load_default=None, metadata={"description": "why, for those who look at it later"})


class ActionSchema(Schema):
    """Something an operator did."""

    at = UTCDateTime(attribute="created_at", metadata={"description": "when"})
    actor = fields.String(metadata={"description": "the name of the key it was done with"})
    action = fields.String(
        metadata={"description": "one of `retry`, `cancel`, `resolve`, `pause`, `resume`, `replay`, `create`, `revoke`"}
    )
    reason = fields.String(allow_none=True, metadata={"description": "why, if it was given"})


class ProblemSchema(Schema):
    """An error, as RFC 9457 writes it."""

    type = fields.String(required=True, metadata={"description": "`about:blank`: the status says it"})
    title = fields.String(required=True, metadata={"description": "the name of the status"})
    status = fields.Integer(required=True, metadata={"description": "of the answer"})
    detail = fields.String(required=True, metadata={"description": "what is wrong, and the remedy"})
    errors = fields.Dict(keys=fields.String(), metadata={"description": "fields → messages, nested as the body is"})


def list_of(item: type[Schema]) -> type[Schema]:
    """Give the schema of a list of items."""
    return Schema.from_dict(
        {
            "items": fields.List(fields.Nested(item), metadata={"description": "one page of them"}),
            "next_cursor": fields.Function(
                lambda page: page.next_cursor and str(page.next_cursor),
                metadata={"type": ["string", "null"], "description": "the cursor of the next page; null at the end"},
            ),
        },
        name=f"{item.__name__.removesuffix('Schema')}List",
    )
