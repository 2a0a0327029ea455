"""Schemas of the environment variables and of what all providers in `receiver.toml` have in common.

Unknown keys are errors; durations are seconds.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validate, validates_schema

from receiver.domain.backoff import RetryPolicy
from receiver.domain.connections import MIN_BUDGET_BODIES
from receiver.domain.egress import TlsFiles
from receiver.domain.limits import CircuitPolicy
from receiver.domain.retention import Retention
from receiver.domain.sending import OnAmbiguous
from receiver.schemas.coverage import find_body_errors
from receiver.schemas.fields import (
    DAY_S,
    DURATION_OR_ZERO_RANGE,
    DURATION_RANGE,
    Choice,
    HostList,
    NetworkList,
    ProxyUrl,
    SecretKeys,
    SigningKeys,
    StrictSchema,
    check_http_url,
)
from receiver.schemas.paths import StatusCodes
from receiver.schemas.signatures import SignatureSchema
from receiver.signatures.base import CallbackAuth

_NAME = validate.Regexp(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z", error="Must contain only letters, digits, - and _.")
PREFIX = validate.Regexp(r"[ -~]*\Z", error="Must contain only printable ASCII characters.")
CREDENTIAL = validate.Regexp(
    r"[!-~]+\Z", error="Must contain only printable ASCII characters, without spaces or line breaks."
)
_PRODUCT = validate.Regexp(r"[!-~]([ -~]*[!-~])?\Z", error="Must contain only printable ASCII characters.")
_PORT_RANGE = validate.Range(1, 65_535)


CONNECTION_LIMITS = (
    "header_timeout",
    "body_timeout",
    "response_timeout",
    "min_rate",
    "max_unverified_bytes",
    "max_incomplete",
    "max_incomplete_per_address",
)
"""The fields of `EnvironmentSchema` that limit connections."""


class EnvironmentSchema(Schema):
    """The environment variables of the service. Other variables are ignored, and empty ones count as absent."""

    class Meta:
        unknown = EXCLUDE

    database_url = fields.String(data_key="DATABASE_URL", load_default=None)
    database_read_url = fields.String(data_key="DATABASE_READ_URL", load_default=None)
    database_pool_size = fields.Integer(data_key="DATABASE_POOL_SIZE", load_default=5, validate=validate.Range(1, 999))
    database_prepare = fields.String(
        data_key="DATABASE_PREPARE", load_default="auto", validate=Choice(["auto", "on", "off"])
    )
    metrics_port = fields.Integer(data_key="RECEIVER_METRICS_PORT", load_default=None, validate=_PORT_RANGE)
    home = fields.String(data_key="RECEIVER_HOME", load_default=".receiver")
    environment = fields.String(data_key="RECEIVER_ENVIRONMENT", load_default="", validate=validate.Length(max=40))
    port = fields.Integer(data_key="PORT", load_default=8000, validate=validate.Range(0, 65_535))
    web_concurrency = fields.Integer(data_key="WEB_CONCURRENCY", load_default=2, validate=validate.Range(1, 256))
    config = fields.String(data_key="RECEIVER_CONFIG", load_default=None)
    public_url = fields.String(data_key="RECEIVER_PUBLIC_URL", load_default=None, validate=check_http_url)
    trusted_proxies = NetworkList(data_key="RECEIVER_TRUSTED_PROXIES", load_default=())
    secret_keys = SecretKeys(data_key="RECEIVER_SECRET_KEY", load_default=())
    admin_key = fields.String(
        data_key="RECEIVER_ADMIN_KEY", load_default=None, validate=[validate.Length(min=16), CREDENTIAL]
    )
    max_body_bytes = fields.Integer(data_key="RECEIVER_MAX_BODY", load_default=1 << 20, validate=validate.Range(min=1))
    header_timeout = fields.Float(data_key="RECEIVER_HEADER_TIMEOUT", load_default=10.0, validate=DURATION_RANGE)
    body_timeout = fields.Float(data_key="RECEIVER_BODY_TIMEOUT", load_default=30.0, validate=DURATION_RANGE)
    response_timeout = fields.Float(data_key="RECEIVER_RESPONSE_TIMEOUT", load_default=30.0, validate=DURATION_RANGE)
    min_rate = fields.Integer(data_key="RECEIVER_MIN_RATE", load_default=1_000, validate=validate.Range(min=0))
    max_unverified_bytes = fields.Integer(
        data_key="RECEIVER_MAX_UNVERIFIED", load_default=64 << 20, validate=validate.Range(min=1)
    )
    max_incomplete = fields.Integer(
        data_key="RECEIVER_MAX_INCOMPLETE", load_default=2_000, validate=validate.Range(min=1)
    )
    max_incomplete_per_address = fields.Integer(
        data_key="RECEIVER_MAX_INCOMPLETE_PER_ADDRESS", load_default=500, validate=validate.Range(min=1)
    )
    rate_limit_per_minute = fields.Integer(
        data_key="RECEIVER_RATE_LIMIT", load_default=60_000, validate=validate.Range(1, 1_000_000)
    )
    log_level = fields.String(
        data_key="LOG_LEVEL",
        load_default="INFO",
        validate=Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
    )
    log_format = fields.String(data_key="LOG_FORMAT", load_default="json", validate=Choice(["json", "console"]))
    log_callbacks = fields.Float(data_key="LOG_CALLBACKS", load_default=0.0, validate=validate.Range(0, 1))

    notify_hosts = HostList(data_key="RECEIVER_NOTIFY_HOSTS", load_default=())
    notify_secrets = SigningKeys(data_key="RECEIVER_NOTIFY_SECRETS", load_default=())
    notify_networks = NetworkList(data_key="RECEIVER_NOTIFY_NETWORKS", load_default=())
    notify_proxy = ProxyUrl(data_key="RECEIVER_NOTIFY_PROXY", load_default=None)
    user_agent = fields.String(data_key="RECEIVER_USER_AGENT", load_default=None, validate=_PRODUCT)

    @validates_schema(skip_on_field_errors=False)
    def _check_notify_secrets(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("notify_hosts") and data.get("notify_secrets") == ():
            message = "Required if RECEIVER_NOTIFY_HOSTS is set: whsec_ and the base64 of 24 random bytes."
            raise ValidationError({"RECEIVER_NOTIFY_SECRETS": [message]})

    @validates_schema
    def _check_max_unverified(self, data: dict[str, Any], **_: Any) -> None:
        if data["max_unverified_bytes"] < MIN_BUDGET_BODIES * data["max_body_bytes"]:
            message = f"Must be at least {MIN_BUDGET_BODIES} times RECEIVER_MAX_BODY."
            raise ValidationError({"RECEIVER_MAX_UNVERIFIED": [message]})

    @pre_load
    def _drop_empty(self, data: dict[str, str], **_: Any) -> dict[str, str]:
        return {name: value for name, value in data.items() if value != ""}


class AuthSchema(StrictSchema):
    """The credentials that we send to a provider.

    Schemes: `bearer`; `header`, sent in `name` with the optional `prefix` before the secret; `basic`, with the secret
    `user:password`; `query` and `body`, sent as the parameter or field `name`. The scheme `oauth2` has keys of its own,
    see `receiver.schemas.oauth2`.
    """

    scheme = fields.String(required=True, validate=Choice(["bearer", "header", "basic", "query", "body", "oauth2"]))
    secret = fields.String(required=True, validate=CREDENTIAL)
    name = fields.String(load_default=None, validate=_NAME)
    prefix = fields.String(load_default="", validate=PREFIX)

    @validates_schema(skip_on_field_errors=False)
    def _check_scheme(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("scheme") in {"header", "query", "body"} and data.get("name", "") is None:
            raise ValidationError({"name": ["Required with this scheme."]})
        if data.get("scheme") == "basic" and ":" not in data.get("secret", ":"):
            raise ValidationError({"secret": ["Must be user:password with this scheme."]})


class BearerAuthSchema(StrictSchema):
    """The credentials that we send to a provider that takes only a bearer key."""

    scheme = fields.String(required=True, validate=Choice(["bearer"]))
    secret = fields.String(required=True, validate=CREDENTIAL)


class RetrySchema(StrictSchema):
    """How often a request is sent; exponential backoff with full jitter between `base` and `max` seconds."""

    attempts = fields.Integer(strict=True, load_default=8, validate=validate.Range(1, 100))
    base = fields.Float(load_default=1.0, validate=DURATION_RANGE)
    max = fields.Float(load_default=300.0, validate=DURATION_RANGE)

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> RetryPolicy:
        return RetryPolicy(**data)


class CircuitSchema(StrictSchema):
    """After how many consecutive failures a circuit opens, and for how long. Each failed probe doubles the time."""

    failures = fields.Integer(strict=True, load_default=20, validate=validate.Range(1, 10_000))
    open_for = fields.Float(load_default=1.0, validate=DURATION_RANGE)
    max = fields.Float(load_default=60.0, validate=DURATION_RANGE)

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> CircuitPolicy:
        return CircuitPolicy(**data)


class RetentionSchema(StrictSchema):
    """How long data is stored, in seconds: payloads and responses once a request is finished, bodies of callbacks."""

    payloads = fields.Float(load_default=None, validate=DURATION_OR_ZERO_RANGE)
    responses = fields.Float(load_default=None, validate=DURATION_OR_ZERO_RANGE)
    bodies = fields.Float(load_default=None, validate=DURATION_OR_ZERO_RANGE)

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> Retention:
        return Retention(**data)


class PollSchema(StrictSchema):
    """When jobs without a final status are polled."""

    first_after = fields.Float(load_default=60.0, validate=DURATION_RANGE)
    max_interval = fields.Float(load_default=3_600.0, validate=DURATION_RANGE)
    give_up_after = fields.Float(load_default=DAY_S, validate=DURATION_RANGE)


class TlsSchema(StrictSchema):
    """The files of a TLS client; relative paths begin at the directory of `receiver.toml`."""

    ca_file = fields.String(load_default=None, validate=validate.Length(min=1))
    cert_file = fields.String(load_default=None, validate=validate.Length(min=1))
    key_file = fields.String(load_default=None, validate=validate.Length(min=1))

    @validates_schema
    def _check_key(self, data: dict[str, Any], **_: Any) -> None:
        if data["key_file"] and not data["cert_file"]:
            raise ValidationError({"cert_file": ["Required if key_file is set."]})

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> TlsFiles:
        return TlsFiles(**{key: Path(text) if text else None for key, text in data.items()})


class ProviderSettingsSchema(StrictSchema):
    """The settings of every kind of provider."""

    kind = fields.String(required=True)
    base_url = fields.String(required=True, validate=check_http_url)
    max_concurrency = fields.Integer(strict=True, load_default=16, validate=validate.Range(1, 999))
    max_per_second = fields.Float(load_default=None, validate=validate.Range(min=0, min_inclusive=False))
    connect_timeout = fields.Float(load_default=5.0, validate=DURATION_RANGE)
    timeout = fields.Float(load_default=15.0, validate=DURATION_RANGE)
    idle_timeout = fields.Float(load_default=4.0, validate=DURATION_OR_ZERO_RANGE)
    on_ambiguous = fields.Enum(OnAmbiguous, by_value=True, load_default=OnAmbiguous.HOLD)
    deadline = fields.Float(load_default=3 * DAY_S, validate=DURATION_RANGE)
    reference_reuse_after = fields.Float(load_default=None, validate=DURATION_RANGE)
    retry = fields.Nested(RetrySchema, load_default=RetryPolicy)
    status_codes = StatusCodes(load_default=dict)
    circuit = fields.Nested(CircuitSchema, load_default=CircuitPolicy)
    retention = fields.Nested(RetentionSchema, load_default=Retention)
    signature = fields.Nested(SignatureSchema, required=True)
    public_url = fields.String(load_default="", validate=check_http_url)
    proxy = ProxyUrl(load_default=None)
    tls = fields.Nested(TlsSchema, load_default=TlsFiles)

    @validates_schema
    def _check_tls(self, data: dict[str, Any], **_: Any) -> None:
        if data["tls"] != TlsFiles() and not data["base_url"].startswith("https:"):
            raise ValidationError({"tls": ["Only used with a base_url that begins with https://."]})

    def find_coverage_errors(self, auth: CallbackAuth, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the errors of a signature that does not cover what callbacks are read for: here, the whole body."""
        return find_body_errors(auth)

    @validates_schema(skip_on_field_errors=False)
    def _check_coverage(self, data: dict[str, Any], **_: Any) -> None:
        auth = data.get("signature")
        if isinstance(auth, CallbackAuth) and (errors := self.find_coverage_errors(auth, data)):
            raise ValidationError(dict(errors))

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_public_url(self, data: dict[str, Any], original: Any, **_: Any) -> None:
        signature = original.get("signature") if isinstance(original, Mapping) else None
        if data.get("public_url") and isinstance(signature, Mapping) and "public_url" in signature:
            message = "Set the whole URL here, or that before /callbacks in signature.public_url, not both."
            raise ValidationError({"public_url": [message]})

    @post_load
    def _set_public_url(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return data | {"signature": replace(data["signature"], public_url=data["public_url"])}


class SandboxSettingsSchema(ProviderSettingsSchema):
    """The settings of a provider of kind `sandbox`.

    `idempotent = false` sends no idempotency key. `callback_token = true` gives each attempt its own callback URL, see
    `schemas.declared.OperationSchema`.
    """

    auth = fields.Nested(BearerAuthSchema, required=True)
    poll = fields.Nested(PollSchema, load_default=lambda: PollSchema().load({}))
    idempotent = fields.Boolean(load_default=True)
    callback_token = fields.Boolean(load_default=False)
