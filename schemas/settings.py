"""Schemas of the environment and of `receiver.toml`. Unknown keys are mistakes; durations are seconds."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, post_load, pre_load, validate

from receiver.domain.backoff import RetryPolicy
from receiver.domain.sending import OnAmbiguous
from receiver.signatures.base import BadSecret
from receiver.signatures.standard_webhooks import DEFAULT_TOLERANCE, key_of

_VISIBLE = re.compile(r"[!-~]+")
_BEARER = validate.Regexp(r"[!-~]+\Z", error="must be visible ASCII characters, without spaces or line ends")
DAY = 86_400.0
_DURATION = validate.Range(min=0, min_inclusive=False, max=3_650 * DAY)


def _http_url(text: str) -> None:
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


def _signing_secret(secret: str) -> None:
    try:
        key_of(secret)
    except BadSecret as error:
        raise ValidationError(str(error)) from None


class Networks(fields.Field[tuple[IPv4Network | IPv6Network, ...]]):
    """Addresses and networks, as a list or as text with commas between them."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[IPv4Network | IPv6Network, ...]:
        given = value.split(",") if isinstance(value, str) else value
        try:
            return tuple(ip_network(one.strip()) for one in given)
        except (ValueError, TypeError, AttributeError):
            raise ValidationError("must be addresses or networks such as 203.0.113.0/24") from None


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class Environment(Schema):
    """The environment variables of the contract; all others are left alone, empty ones count as absent."""

    class Meta:
        unknown = EXCLUDE

    database_url = fields.String(data_key="DATABASE_URL", load_default=None)
    home = fields.String(data_key="RECEIVER_HOME", load_default=".receiver")
    port = fields.Integer(data_key="PORT", load_default=8000, validate=validate.Range(0, 65_535))
    web_concurrency = fields.Integer(data_key="WEB_CONCURRENCY", load_default=2, validate=validate.Range(1, 256))
    config = fields.String(data_key="RECEIVER_CONFIG", load_default=None)
    public_url = fields.String(data_key="RECEIVER_PUBLIC_URL", load_default=None, validate=_http_url)
    trusted_proxies = Networks(data_key="RECEIVER_TRUSTED_PROXIES", load_default=())
    secret_key = fields.String(data_key="RECEIVER_SECRET_KEY", load_default=None, validate=validate.Length(min=16))
    admin_key = fields.String(
        data_key="RECEIVER_ADMIN_KEY", load_default=None, validate=[validate.Length(min=16), _BEARER]
    )
    max_body = fields.Integer(data_key="RECEIVER_MAX_BODY", load_default=1 << 20, validate=validate.Range(min=1))
    log_level = fields.String(
        data_key="LOG_LEVEL",
        load_default="INFO",
        validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
    )
    log_format = fields.String(data_key="LOG_FORMAT", load_default="json", validate=validate.OneOf(["json", "console"]))

    @pre_load
    def _drop_empty(self, data: dict[str, str], **_: Any) -> dict[str, str]:
        return {name: value for name, value in data.items() if value != ""}


class Auth(_Strict):
    """How we prove ourselves to a provider."""

    scheme = fields.String(required=True, validate=validate.OneOf(["bearer"]))
    secret = fields.String(required=True, validate=_BEARER)


class Retry(_Strict):
    """How often a request is tried; exponential backoff with full jitter."""

    attempts = fields.Integer(strict=True, load_default=8, validate=validate.Range(1, 100))
    base = fields.Float(load_default=1.0, validate=_DURATION)
    max = fields.Float(load_default=300.0, validate=_DURATION)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> RetryPolicy:
        return RetryPolicy(**data)


class Signature(_Strict):
    """How callbacks prove their sender; any of the secrets may match."""

    scheme = fields.String(required=True, validate=validate.OneOf(["standard-webhooks"]))
    tolerance = fields.Float(load_default=DEFAULT_TOLERANCE, validate=_DURATION)
    secrets = fields.List(
        fields.String(validate=_signing_secret), required=True, validate=validate.Length(min=1, max=10)
    )


class Poll(_Strict):
    """When silent jobs are asked about."""

    first_after = fields.Float(load_default=60.0, validate=_DURATION)
    max_interval = fields.Float(load_default=3_600.0, validate=_DURATION)
    give_up_after = fields.Float(load_default=DAY, validate=_DURATION)


class ProviderSettings(_Strict):
    """What every kind of provider is told."""

    kind = fields.String(required=True)
    base_url = fields.String(required=True, validate=_http_url)
    auth = fields.Nested(Auth, required=True)
    max_concurrency = fields.Integer(strict=True, load_default=16, validate=validate.Range(1, 1_000))
    connect_timeout = fields.Float(load_default=5.0, validate=_DURATION)
    timeout = fields.Float(load_default=15.0, validate=_DURATION)
    on_ambiguous = fields.Enum(OnAmbiguous, by_value=True, load_default=OnAmbiguous.HOLD)
    deadline = fields.Float(load_default=3 * DAY, validate=_DURATION)
    retry = fields.Nested(Retry, load_default=RetryPolicy)
    signature = fields.Nested(Signature, required=True)
    poll = fields.Nested(Poll, load_default=lambda: Poll().load({}))


class SandboxSettings(ProviderSettings):
    """A provider of kind `sandbox`; `idempotent = false` sends no idempotency key."""

    idempotent = fields.Boolean(load_default=True)
