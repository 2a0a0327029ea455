"""Fields and a base that several schemas share."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, ClassVar
from urllib.parse import urlsplit

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from receiver.domain.targets import normalize_host_pattern
from receiver.signatures.base import InvalidSecret
from receiver.signatures.standard_webhooks import decode_key

DEEPEST_JSON = 100
DAY = 86_400.0
DURATION = validate.Range(min=0, min_inclusive=False, max=3_650 * DAY)
"""Seconds that a clock can hold."""
_VISIBLE = re.compile(r"[!-~]+")
_SEPARATORS = re.compile(r"[,\s]+")
_SHORTEST_KEY = 24
_LATEST = datetime(9000, 1, 2, tzinfo=UTC)


def http_url(text: str) -> None:
    """Refuse what cannot be the start of URLs that we build: a user, query or fragment in it, or no clean path."""
    try:
        url = urlsplit(text)
        sound = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        sound = False
    if not sound or not _VISIBLE.fullmatch(text) or "//" in text.partition("://")[2]:
        raise ValidationError("must be an http or https URL in ASCII, without // in its path")
    if "@" in url.netloc or "?" in text or "#" in text:
        raise ValidationError("must not contain a user, a query or a fragment")


def storable(value: str) -> None:
    """Refuse text that Postgres cannot hold: NUL and lone surrogates."""
    if "\x00" in value:
        raise ValidationError("must not contain NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValidationError("must be valid Unicode, without lone surrogates") from None


class StrictSchema(Schema):
    """Unknown keys are mistakes."""

    class Meta:
        unknown = RAISE

    error_messages = {"unknown": "is not a key of this table; check its spelling"}  # noqa: RUF012  # marshmallow's


class Text(fields.String):
    """Text that can be stored; from `shortest` to `longest` characters."""

    def __init__(self, *, shortest: int = 1, longest: int = 1_000, **kwargs: Any) -> None:
        super().__init__(validate=[validate.Length(min=shortest, max=longest), storable], **kwargs)


class NetworkList(fields.Field[tuple[IPv4Network | IPv6Network, ...]]):
    """Addresses and networks, as a list or as text with commas between them."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[IPv4Network | IPv6Network, ...]:
        given = value.split(",") if isinstance(value, str) else value
        try:
            return tuple(ip_network(one.strip()) for one in given)
        except (ValueError, TypeError, AttributeError):
            raise ValidationError("must be addresses or networks such as 203.0.113.0/24") from None


class HostList(fields.Field[tuple[str, ...]]):
    """Hosts, as text with commas between them; ``*.NAME`` stands for all names below one."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        try:
            return tuple(normalize_host_pattern(one.strip()) for one in str(value).split(","))
        except ValueError:
            raise ValidationError("must be host names such as shop.example or *.shop.example, with commas") from None


class SigningKeys(fields.Field[tuple[bytes, ...]]):
    """Secrets of Standard Webhooks, as text with commas or spaces between them; given as the keys they hold."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[bytes, ...]:
        given = [one for one in _SEPARATORS.split(str(value)) if one]
        wrong = f"must be whsec_ and the base64 of {_SHORTEST_KEY} random bytes or more; several with commas"
        try:
            keys = tuple(decode_key(one) for one in given)
        except InvalidSecret:
            raise ValidationError(wrong) from None
        if not all(one.startswith("whsec_") for one in given) or not all(len(key) >= _SHORTEST_KEY for key in keys):
            raise ValidationError(wrong)
        return keys


class UTCDateTime(fields.AwareDateTime):
    """A time of RFC 3339 with its offset; given in UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", **kwargs)

    def _deserialize(self, *args: Any, **kwargs: Any) -> datetime:
        moment = super()._deserialize(*args, **kwargs)
        try:
            utc = moment.astimezone(UTC)
        except OverflowError:
            raise self.make_error("invalid", input=moment, obj_type=self.OBJ_TYPE) from None
        if utc > _LATEST:
            raise ValidationError(f"must be before {_LATEST:%F}")
        return utc


def storable_json(value: Any, depth: int = 0) -> None:
    """Refuse JSON that Postgres cannot hold (see `storable`, for all text in it) or nested deeply."""
    if depth > DEEPEST_JSON:
        raise ValidationError(f"must not be nested more than {DEEPEST_JSON} deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            storable(key)
            storable_json(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            storable_json(inner, depth + 1)
    elif isinstance(value, str):
        storable(value)


class JsonDocumentSchema(Schema):
    """A JSON document whose faults are told in JSON too: an item of a list is named by its index as text.

    `ALSO` is what its JSON Schema says besides its fields, where these depend on each other.
    """

    ALSO: ClassVar[Mapping[str, Any]] = {}

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> None:
        error.messages = _with_text_keys(error.messages)


def _with_text_keys(messages: Any) -> Any:
    if isinstance(messages, dict):
        return {str(key): _with_text_keys(inner) for key, inner in messages.items()}
    return messages
