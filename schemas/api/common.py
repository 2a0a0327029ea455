"""Fields and schemas that several parts of the API share: lists, filters, reasons, actions, problems."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate, validates_schema

from receiver.domain.accounts import NAME_PATTERN, join_account, split_account
from receiver.domain.notifications import NotifyEvent
from receiver.domain.paging import BaseCursor, Cursor, PageRequest
from receiver.domain.targets import MAX_URL_LENGTH
from receiver.schemas.fields import JsonDocumentSchema, Text, UTCDateTime, check_storable_json

MAX_PAGE_SIZE = 500
NOTIFY_EVENTS = (
    "`request`: once the request is finished; `job`: when a job gets its final status, and when that changes; "
    "`job_change`: each status of a job. A request that ends without jobs is notified in any case."
)
_DATE = r"[1-8][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_RFC_3339 = re.compile(f"{_DATE}[Tt]{_TIME}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_DIGITS = re.compile(r"[0-9]{1,9}")


class StrictInput(JsonDocumentSchema):
    """Input of a client, in which unknown fields are errors."""

    class Meta:
        unknown = RAISE


class Rfc3339DateTime(UTCDateTime):
    """A time exactly as RFC 3339 writes it, in the years 1000 to 8999; loaded as UTC."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"pattern": f"^{_RFC_3339.pattern}$", "examples": ["2026-11-23T14:00:00Z"]}
        super().__init__(**kwargs | {"metadata": metadata | kwargs.get("metadata", {})})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        # Stricter than datetime.fromisoformat(), which takes other forms of ISO 8601 too.
        if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE)
        return super()._deserialize(value.upper(), *args, **kwargs)


class UUIDString(fields.UUID):
    """A UUID in its usual form, with hyphens."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"metadata": {"pattern": f"^{_UUID.pattern}$"} | kwargs.get("metadata", {})})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> UUID:
        # Stricter than UUID(), which takes braces, `urn:uuid:` and misplaced hyphens too.
        if not isinstance(value, str) or not _UUID.fullmatch(value):
            raise self.make_error("invalid_uuid")
        return super()._deserialize(value, *args, **kwargs) or UUID(value)


class QueryBoolean(fields.Boolean):
    """`true` or `false` in a query."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(truthy={"true"}, falsy={"false"}, **kwargs)


class QueryInteger(fields.Integer):
    """A whole number in a query, in ASCII digits."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        # Stricter than int(), which takes underscores and the digits of other scripts too.
        if not isinstance(value, str) or not _DIGITS.fullmatch(value):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, *args, **kwargs)


class JsonInteger(fields.Integer):
    """A whole number in JSON, where 5.0 is a whole number too."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strict=True, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        is_whole = isinstance(value, float) and value.is_integer()
        return super()._deserialize(int(value) if is_whole else value, *args, **kwargs)


class PageCursor(fields.String):
    """The cursor of a list's next page."""

    def __init__(self, cursor_class: type[BaseCursor] = Cursor) -> None:
        super().__init__(
            load_default=None,
            error_messages={"invalid": "Must be the `next_cursor` of the previous page."},
            metadata={
                "description": "`next_cursor` of the previous page",
                "pattern": f"^{cursor_class.PATTERN}$",
            },
        )
        self._cursor_class = cursor_class

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(self._cursor_class.PATTERN, value):
            raise self.make_error("invalid")
        return self._cursor_class.parse(value)


class ListQuerySchema(StrictInput):
    """The query of a list; loads to a `PageRequest` as `page`, and the filter of the list as `filter`.

    The fields of a subclass are those of its `filter_class`, but for `provider` and `account`, which name the only one
    of `providers`.
    """

    filter_class: ClassVar[Callable[..., object] | None] = None

    limit = QueryInteger(
        load_default=50, validate=validate.Range(1, MAX_PAGE_SIZE), metadata={"description": "maximum number of items"}
    )
    cursor = PageCursor()

    @post_load
    def _build_query(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        cursor, limit = data.pop("cursor"), data.pop("limit")
        query: dict[str, Any] = {"page": PageRequest(cursor, limit)}
        if self.filter_class is not None:
            providers = pop_provider_names(data)
            query["filter"] = self.filter_class(**data, providers=providers)
        return query


def provider_filter(description: str = "only of this provider, its accounts included") -> fields.String:
    """Return the field of a filter by provider name."""
    is_name = validate.Regexp(rf"^{NAME_PATTERN}\Z", error="Not a valid provider name; an account is given apart.")
    return fields.String(load_default=None, validate=is_name, metadata={"description": description})


def account_field() -> Text:
    """Return the field of the account in a submission.

    It has no default, so that a submission from before the field existed still has the same fingerprint.
    """
    description = "the account at the provider, of those that are configured; null for none"
    return Text(allow_none=True, max_length=63, metadata={"description": description})


def account_filter() -> fields.String:
    """Return the field of a filter by the account of a provider."""
    is_name = validate.Regexp(rf"^{NAME_PATTERN}\Z", error="Not a valid account name.")
    description = "only of this account of `provider`"
    return fields.String(load_default=None, validate=is_name, metadata={"description": description})


def pop_provider_names(data: dict[str, Any]) -> list[str] | None:
    """Remove `provider` and `account` from a query and return the names of a filter; None for all providers.

    Raises:
        ValidationError: there is an account without its provider.
    """
    provider, account = data.pop("provider"), data.pop("account", None)
    if provider is None and account is not None:
        raise ValidationError({"account": ["Must be combined with provider."]})
    return None if provider is None else [join_account(provider, account)]


class ProviderName(fields.String):
    """The provider of an item, without its account."""

    def __init__(self, description: str, **kwargs: Any) -> None:
        super().__init__(dump_only=True, metadata={"description": description}, **kwargs)

    def _serialize(self, value: Any, *_: Any, **__: Any) -> str | None:
        return None if value is None else split_account(value).provider


class AccountName(fields.String):
    """The account of the provider of an item; null for a provider without accounts.

    Args:
        attribute: the attribute of the item that has the name of its provider.
    """

    def __init__(self, attribute: str = "provider") -> None:
        super().__init__(
            attribute=attribute,
            dump_only=True,
            allow_none=True,
            metadata={"description": "the account at the provider; null for the provider without an account"},
        )

    def _serialize(self, value: Any, *_: Any, **__: Any) -> str | None:
        return None if value is None else split_account(value).account


def client_metadata() -> fields.Dict:
    """Return the field of a client's own data."""
    return fields.Dict(
        keys=fields.String(),
        load_default=dict,
        validate=check_storable_json,
        metadata={"description": "data of the client; requests can be filtered by its strings, numbers and booleans"},
    )


class NotifiedInputSchema(StrictInput):
    """Input with a URL for webhook notifications.

    The fields have no defaults, so that a submission from before they existed still has the same fingerprint.
    """

    JSON_SCHEMA_EXTRA: ClassVar = {"dependentRequired": {"notify_events": ["notify_url"]}}

    notify_url = Text(
        allow_none=True,
        max_length=MAX_URL_LENGTH,
        metadata={"description": "URL that receives signed webhook notifications"},
    )
    notify_events = fields.List(
        fields.Enum(NotifyEvent, by_value=True),
        validate=validate.Length(min=1, max=len(NotifyEvent)),
        metadata={"description": f"what `notify_url` is notified of, by default `request`. {NOTIFY_EVENTS}"},
    )

    @validates_schema(skip_on_field_errors=True)
    def _check_notify_events(self, data: Mapping[str, Any], **_: Any) -> None:
        if "notify_events" in data and "notify_url" not in data:
            raise ValidationError({"notify_events": ["Allowed only with a notify_url."]})


class NoQuerySchema(StrictInput):
    """The query of an operation without parameters."""


class ActionReasonSchema(StrictInput):
    """The reason for an operator's action."""

    reason = Text(load_default=None, metadata={"description": "why, for people who look at it later"})


class ActionSchema(Schema):
    """An operator's action."""

    at = UTCDateTime(attribute="created_at", metadata={"description": "when"})
    actor = fields.String(metadata={"description": "the name of the API key that was used"})
    action = fields.String(
        metadata={
            "description": "one of `retry`, `cancel`, `send-now`, `resolve`, `pause`, `resume`, `replay`, `resend`, "
            "`recover`, `erase`, `create`, `revoke`"
        }
    )
    reason = fields.String(allow_none=True, metadata={"description": "the reason that was given, if any"})


class ProblemSchema(Schema):
    """An error as an RFC 9457 problem document."""

    type = fields.String(required=True, metadata={"description": "identifies the kind of problem; stable"})
    title = fields.String(required=True, metadata={"description": "the name of the type"})
    status = fields.Integer(required=True, metadata={"description": "the HTTP status"})
    detail = fields.String(required=True, metadata={"description": "what is wrong this time, and the remedy"})
    errors = fields.Dict(
        keys=fields.String(),
        metadata={"description": "fields → messages, nested like the body; `invalid-request` only"},
    )


def list_of(item: type[Schema]) -> type[Schema]:
    """Return the schema of a list with items of a schema."""
    return Schema.from_dict(
        {
            "items": fields.List(fields.Nested(item), metadata={"description": "the items of this page"}),
            "next_cursor": fields.Function(
                lambda page: page.next_cursor and str(page.next_cursor),
                metadata={
                    "type": ["string", "null"],
                    "description": "the cursor of the next page; null on the last page",
                },
            ),
        },
        name=f"{item.__name__.removesuffix('Schema')}List",
    )
