"""Schemas of the environment and of `receiver.toml`. Unknown keys are mistakes; durations are seconds."""

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validate, validates_schema

from receiver.domain.backoff import RetryPolicy
from receiver.domain.limits import CircuitPolicy
from receiver.domain.sending import OnAmbiguous
from receiver.schemas.fields import DAY, DURATION, HostList, NetworkList, SigningKeys, StrictSchema, http_url
from receiver.schemas.signatures import SignatureSchema

_NAME = validate.Regexp(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z", error="must be letters, digits, - and _")
_PREFIX = validate.Regexp(r"[ -~]*\Z", error="must be visible ASCII characters")
_BEARER = validate.Regexp(r"[!-~]+\Z", error="must be visible ASCII characters, without spaces or line ends")


class EnvironmentSchema(Schema):
    """The environment variables of the contract; all others are left alone, empty ones count as absent."""

    class Meta:
        unknown = EXCLUDE

    database_url = fields.String(data_key="DATABASE_URL", load_default=None)
    home = fields.String(data_key="RECEIVER_HOME", load_default=".receiver")
    port = fields.Integer(data_key="PORT", load_default=8000, validate=validate.Range(0, 65_535))
    web_concurrency = fields.Integer(data_key="WEB_CONCURRENCY", load_default=2, validate=validate.Range(1, 256))
    config = fields.String(data_key="RECEIVER_CONFIG", load_default=None)
    public_url = fields.String(data_key="RECEIVER_PUBLIC_URL", load_default=None, validate=http_url)
    trusted_proxies = NetworkList(data_key="RECEIVER_TRUSTED_PROXIES", load_default=())
    secret_key = fields.String(data_key="RECEIVER_SECRET_KEY", load_default=None, validate=validate.Length(min=16))
    admin_key = fields.String(
        data_key="RECEIVER_ADMIN_KEY", load_default=None, validate=[validate.Length(min=16), _BEARER]
    )
    max_body = fields.Integer(data_key="RECEIVER_MAX_BODY", load_default=1 << 20, validate=validate.Range(min=1))
    rate_limit = fields.Integer(
        data_key="RECEIVER_RATE_LIMIT", load_default=60_000, validate=validate.Range(1, 1_000_000)
    )
    log_level = fields.String(
        data_key="LOG_LEVEL",
        load_default="INFO",
        validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
    )
    log_format = fields.String(data_key="LOG_FORMAT", load_default="json", validate=validate.OneOf(["json", "console"]))

    notify_hosts = HostList(data_key="RECEIVER_NOTIFY_HOSTS", load_default=())
    notify_secrets = SigningKeys(data_key="RECEIVER_NOTIFY_SECRETS", load_default=())
    notify_networks = NetworkList(data_key="RECEIVER_NOTIFY_NETWORKS", load_default=())

    @validates_schema(skip_on_field_errors=False)
    def _signed(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("notify_hosts") and data.get("notify_secrets") == ():
            needed = "is needed where RECEIVER_NOTIFY_HOSTS is set: whsec_ and the base64 of 24 random bytes"
            raise ValidationError({"RECEIVER_NOTIFY_SECRETS": [needed]})

    @pre_load
    def _drop_empty(self, data: dict[str, str], **_: Any) -> dict[str, str]:
        return {name: value for name, value in data.items() if value != ""}


class AuthSchema(StrictSchema):
    """How we prove ourselves to a provider.

    `bearer`; `header`: `name` with the optional `prefix` before the secret; `basic`: the secret is `user:password`;
    `query` and `body`: the parameter or field `name`.
    """

    scheme = fields.String(required=True, validate=validate.OneOf(["bearer", "header", "basic", "query", "body"]))
    secret = fields.String(required=True, validate=_BEARER)
    name = fields.String(load_default=None, validate=_NAME)
    prefix = fields.String(load_default="", validate=_PREFIX)

    @validates_schema(skip_on_field_errors=False)
    def _named(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("scheme") in {"header", "query", "body"} and data.get("name", "") is None:
            raise ValidationError({"name": ["is needed for this scheme"]})
        if data.get("scheme") == "basic" and ":" not in data.get("secret", ":"):
            raise ValidationError({"secret": ["must be user:password for this scheme"]})


class BearerAuthSchema(StrictSchema):
    """How we prove ourselves to a provider that takes a bearer key."""

    scheme = fields.String(required=True, validate=validate.OneOf(["bearer"]))
    secret = fields.String(required=True, validate=_BEARER)


class RetrySchema(StrictSchema):
    """How often a request is tried; exponential backoff with full jitter."""

    attempts = fields.Integer(strict=True, load_default=8, validate=validate.Range(1, 100))
    base = fields.Float(load_default=1.0, validate=DURATION)
    max = fields.Float(load_default=300.0, validate=DURATION)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> RetryPolicy:
        return RetryPolicy(**data)


class CircuitSchema(StrictSchema):
    """When a provider that fails is left alone, and for how long; each probe that fails doubles it."""

    failures = fields.Integer(strict=True, load_default=20, validate=validate.Range(1, 10_000))
    open_for = fields.Float(load_default=1.0, validate=DURATION)
    max = fields.Float(load_default=60.0, validate=DURATION)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> CircuitPolicy:
        return CircuitPolicy(**data)


class PollSchema(StrictSchema):
    """When silent jobs are asked about."""

    first_after = fields.Float(load_default=60.0, validate=DURATION)
    max_interval = fields.Float(load_default=3_600.0, validate=DURATION)
    give_up_after = fields.Float(load_default=DAY, validate=DURATION)


class ProviderSettingsSchema(StrictSchema):
    """What every kind of provider is told."""

    kind = fields.String(required=True)
    base_url = fields.String(required=True, validate=http_url)
    max_concurrency = fields.Integer(strict=True, load_default=16, validate=validate.Range(1, 1_000))
    max_per_second = fields.Float(load_default=None, validate=validate.Range(min=0, min_inclusive=False))
    connect_timeout = fields.Float(load_default=5.0, validate=DURATION)
    timeout = fields.Float(load_default=15.0, validate=DURATION)
    on_ambiguous = fields.Enum(OnAmbiguous, by_value=True, load_default=OnAmbiguous.HOLD)
    deadline = fields.Float(load_default=3 * DAY, validate=DURATION)
    retry = fields.Nested(RetrySchema, load_default=RetryPolicy)
    circuit = fields.Nested(CircuitSchema, load_default=CircuitPolicy)
    signature = fields.Nested(SignatureSchema, required=True)


class SandboxSettingsSchema(ProviderSettingsSchema):
    """A provider of kind `sandbox`; `idempotent = false` sends no idempotency key.

    With `callback_token` each attempt is given a callback URL of its own, see `schemas.declared.OperationSchema`.
    """

    auth = fields.Nested(BearerAuthSchema, required=True)
    poll = fields.Nested(PollSchema, load_default=lambda: PollSchema().load({}))
    idempotent = fields.Boolean(load_default=True)
    callback_token = fields.Boolean(load_default=False)
