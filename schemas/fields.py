"""Fields and base schemas that several schemas share."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, ClassVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from marshmallow import RAISE, Schema, ValidationError, fields, validate

from receiver.domain.egress import PROXY_FORM, Proxy
from receiver.domain.suggestions import format_list_suggestion, format_suggestion
from receiver.domain.targets import normalize_host_pattern
from receiver.signatures.base import InvalidSecret
from receiver.signatures.standard_webhooks import decode_key

NO_NUL = r"^[^\u0000]*$"
"""The texts that Postgres can store, as a pattern."""
MAX_JSON_DEPTH = 100
DAY_S = 86_400.0
DURATION_RANGE = validate.Range(min=0, min_inclusive=False, max=3_650 * DAY_S)
"""Seconds; the maximum keeps sums of a time and a duration within what `datetime` and Postgres can represent."""
DURATION_OR_ZERO_RANGE = validate.Range(min=0, max=3_650 * DAY_S)
_VISIBLE = re.compile(r"[!-~]+")
_SEPARATORS = re.compile(r"[,\s]+")
_MIN_SECRET_KEY_CHARS = 16
_MIN_KEY_BYTES = 24
MAX_TIME = datetime(9000, 1, 2, tzinfo=UTC)
"""Before the end of datetime's range, so that deadlines can be added to any time that was accepted."""


def check_http_url(text: str) -> None:
    """Check that a text can be the beginning of URLs that we build: no user, query or fragment, and a clean path.

    Raises:
        ValidationError: it cannot.
    """
    try:
        url = urlsplit(text)
        is_valid = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not _VISIBLE.fullmatch(text) or "//" in text.partition("://")[2]:
        raise ValidationError("Must be an http or https URL in ASCII, without // in its path.")
    if "@" in url.netloc or "?" in text or "#" in text:
        raise ValidationError("Must not contain a user, a query or a fragment.")


def check_storable_text(value: str) -> None:
    """Check that Postgres can store a text: it has neither NUL characters nor lone surrogates.

    Raises:
        ValidationError: Postgres cannot store it.
    """
    if "\x00" in value:
        raise ValidationError("Must not contain NUL characters.")
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValidationError("Must be valid Unicode without lone surrogates.") from None


def find_secret_error(secret: str) -> str | None:
    """Return the error of a secret that cannot be the one that a provider uses; None for any other."""
    return None if secret.strip() == secret else "Must not be blank, or begin or end with white space or a line break."


def check_secret(secret: str) -> None:
    """Check that a secret is not blank and has no white space at its ends.

    Raises:
        ValidationError: it is, or it has.
    """
    if (error := find_secret_error(secret)) or not secret:
        raise ValidationError(error or "Must not be empty.")


class Choice(validate.OneOf):
    """A validator of texts that must be one of several, which suggests the one that a misspelt text resembles."""

    def __init__(self, choices: Sequence[str]) -> None:
        super().__init__(choices)

    def _format_error(self, value: Any) -> str:
        return super()._format_error(value) + format_list_suggestion(str(value), self.choices)


class StrictSchema(Schema):
    """A schema that rejects unknown keys, and suggests the key that an unknown one resembles."""

    class Meta:
        unknown = RAISE

    error_messages = {"unknown": "Unknown field. Check its spelling."}  # noqa: RUF012  # marshmallow's

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> None:
        messages = error.messages
        names = [field.data_key or name for name, field in self.load_fields.items()]
        for key in messages if isinstance(messages, dict) else ():
            suggestion = format_suggestion(str(key), names)
            if suggestion and messages[key] == [self.error_messages["unknown"]]:
                messages[key] = [f"Unknown field.{suggestion}"]


class Text(fields.String):
    """Text that can be stored, of `min_length` to `max_length` characters."""

    def __init__(self, *, min_length: int = 1, max_length: int = 1_000, **kwargs: Any) -> None:
        super().__init__(validate=[validate.Length(min=min_length, max=max_length), check_storable_text], **kwargs)
        self._min_length, self._max_length = min_length, max_length

    def load(self, value: Any) -> str:
        """Return a text as it can be stored; most texts are valid without the validators being called.

        Raises:
            ValidationError: the value is not such a text.
        """
        is_plain = type(value) is str and value.isascii() and "\0" not in value
        if is_plain and self._min_length <= len(value) <= self._max_length:
            return str(value)
        return str(self.deserialize(value))


class TimeZoneField(fields.String):
    """A time zone of the IANA database."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return ZoneInfo(super()._deserialize(value, *args, **kwargs))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValidationError("Must be a time zone such as Africa/Lagos.") from None


class NetworkList(fields.Field[tuple[IPv4Network | IPv6Network, ...]]):
    """IP addresses and networks, as a list or as comma-separated text."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[IPv4Network | IPv6Network, ...]:
        items = value.split(",") if isinstance(value, str) else value
        try:
            return tuple(ip_network(item.strip()) for item in items)
        except (ValueError, TypeError, AttributeError):
            raise ValidationError("Must be addresses or networks such as 203.0.113.0/24.") from None


class HostList(fields.Field[tuple[str, ...]]):
    """Host names as comma-separated text; ``*.NAME`` stands for all names below NAME."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        try:
            return tuple(normalize_host_pattern(host.strip()) for host in str(value).split(","))
        except ValueError:
            raise ValidationError(
                "Must be host names such as shop.example or *.shop.example, separated by commas."
            ) from None


class ProxyUrl(fields.Field[Proxy | str]):
    """The URL of a proxy; loads to "" for `none` or an empty text, which stand for no proxy."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Proxy | str:
        if value in ("", "none"):
            return ""
        try:
            return Proxy.parse(value)
        except (ValueError, TypeError, AttributeError):
            raise ValidationError(f"Must be {PROXY_FORM}, or none.") from None


class SigningKeys(fields.Field[tuple[bytes, ...]]):
    """Secrets of Standard Webhooks, separated by commas or spaces; loads to the keys as bytes."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[bytes, ...]:
        secrets = [secret for secret in _SEPARATORS.split(str(value)) if secret]
        message = (
            f"Must be whsec_ and the base64 of at least {_MIN_KEY_BYTES} random bytes; separate several by commas."
        )
        try:
            keys = tuple(decode_key(secret) for secret in secrets)
        except InvalidSecret:
            raise ValidationError(message) from None
        if not all(secret.startswith("whsec_") for secret in secrets) or any(len(key) < _MIN_KEY_BYTES for key in keys):
            raise ValidationError(message)
        return keys


class SecretKeys(fields.Field[tuple[str, ...]]):
    """Keys of the service itself, separated by commas; the first one is used for what is new, all are accepted."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        keys = tuple(key.strip() for key in str(value).split(","))
        if any(len(key) < _MIN_SECRET_KEY_CHARS for key in keys):
            raise ValidationError(
                f"Must have at least {_MIN_SECRET_KEY_CHARS} characters; separate several keys by commas."
            )
        if len(set(keys)) < len(keys):
            raise ValidationError("Must not contain a key twice.")
        return keys


class JsonBoolean(fields.Boolean):
    """`true` or `false` of JSON; marshmallow's other truthy and falsy values are rejected."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class UTCDateTime(fields.AwareDateTime):
    """An RFC 3339 time with its offset; loads to UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", **kwargs)

    def _deserialize(self, *args: Any, **kwargs: Any) -> datetime:
        local_time = super()._deserialize(*args, **kwargs)
        try:
            utc_time = local_time.astimezone(UTC)
        except OverflowError:
            raise self.make_error("invalid", input=local_time, obj_type=self.OBJ_TYPE) from None
        if utc_time > MAX_TIME:
            raise ValidationError(f"Must be before {MAX_TIME:%F}.")
        return utc_time


def check_storable_json(value: Any, depth: int = 0) -> None:
    """Check that Postgres can store JSON: all text in it (see `check_storable_text`), and its depth.

    Raises:
        ValidationError: Postgres cannot store it.
    """
    if not depth and _is_plain_json(value):
        return
    if depth > MAX_JSON_DEPTH:
        raise ValidationError(f"Must not be nested more than {MAX_JSON_DEPTH} levels deep.")
    if isinstance(value, dict):
        for name, inner in value.items():
            check_storable_text(name)
            check_storable_json(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            check_storable_json(inner, depth + 1)
    elif isinstance(value, str):
        check_storable_text(value)


def _is_plain_json(value: Any) -> bool:
    """Return whether a look at its JSON shows that a value can be stored, which takes less time than to walk it."""
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:  # such as a lone surrogate
        return False
    return b"\\u0000" not in text and text.count(b"[") + text.count(b"{") <= MAX_JSON_DEPTH


class JsonDocumentSchema(Schema):
    """A schema of a JSON document, whose errors are JSON, too: the keys of list items are their indexes as text.

    `JSON_SCHEMA_EXTRA` is what its JSON Schema has besides the fields, where the fields depend on each other.
    """

    JSON_SCHEMA_EXTRA: ClassVar[Mapping[str, Any]] = {}

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> None:
        error.messages = _convert_keys_to_text(error.messages)


def _convert_keys_to_text(messages: Any) -> Any:
    if isinstance(messages, dict):
        return {str(key): _convert_keys_to_text(inner) for key, inner in messages.items()}
    return messages
