"""Providers as they are shown, and the figures of everything."""

from marshmallow import Schema, fields

from receiver.domain.limits import CircuitState
from receiver.domain.sending import PauseCause
from receiver.schemas.api.common import StrictInput, provider_filter
from receiver.schemas.fields import UTCDateTime


class SecretUseSchema(Schema):
    """When a signing secret last matched; a fingerprint names it."""

    fingerprint = fields.String(metadata={"description": "the first digits of its SHA-256"})
    last_used_at = UTCDateTime(allow_none=True, metadata={"description": "when it last matched"})


class AttentionSchema(Schema):
    """How much needs somebody; for what each kind means and what to do, see the guide to the commands."""

    unmatched = fields.Integer(metadata={"description": "jobs without a known request"})
    unmapped = fields.Integer(metadata={"description": "callbacks with a word that the configuration does not know"})
    invalid = fields.Integer(metadata={"description": "callbacks that cannot be read"})
    disputed = fields.Integer(metadata={"description": "jobs with contradicting final words"})
    unresolved = fields.Integer(metadata={"description": "jobs whose deadline passed without a final word"})
    unknown_requests = fields.Integer(  # `unknown` is a schema's own
        attribute="unknown",
        data_key="unknown",
        metadata={"description": "requests of which nobody knows whether they were acted on"},
    )


class ProviderSchema(Schema):
    """A configured provider."""

    name = fields.String(metadata={"description": "as it is configured"})
    operations = fields.List(fields.String(), metadata={"description": "what can be asked of it"})
    paused = fields.Boolean(metadata={"description": "whether nothing is sent to it now"})
    paused_at = UTCDateTime(allow_none=True, metadata={"description": "since when"})
    pause_reason = fields.String(allow_none=True, metadata={"description": "by whom and why"})
    pause_cause = fields.Enum(
        PauseCause,
        by_value=True,
        allow_none=True,
        metadata={
            "description": "`operator`: until one resumes it; `credentials`: it refused ours, until they change or an "
            "operator resumes it"
        },
    )
    callback_url = fields.String(metadata={"description": "what to register at the provider; its token is for `admin`"})
    max_concurrency = fields.Integer(metadata={"description": "how many requests are under way at once"})
    max_per_second = fields.Float(
        allow_none=True, metadata={"description": "how many are sent in a second; null for no limit"}
    )
    circuit = fields.Enum(
        CircuitState,
        by_value=True,
        metadata={
            "description": "`closed`: it is sent to; `open`: it failed too often in a row and is left alone until "
            "`held_until`; `half_open`: then one exchange shows whether it is back"
        },
    )
    held_until = UTCDateTime(
        allow_none=True,
        metadata={"description": "when it is sent to again, as it failed or asked to wait; null for now"},
    )
    per_second = fields.Float(
        allow_none=True,
        metadata={
            "description": "how many are sent in a second now: less than `max_per_second` after it asked to slow down; "
            "null for no limit"
        },
    )
    last_callback_at = UTCDateTime(allow_none=True, metadata={"description": "when it last called back"})
    missing_callback_rate = fields.Float(
        allow_none=True,
        metadata={"description": "of the jobs that ended or fell silent lately, the share that no callback spoke of"},
    )
    attention = fields.Nested(AttentionSchema, metadata={"description": "how much of it needs somebody"})
    secrets = fields.List(fields.Nested(SecretUseSchema), metadata={"description": "its signing secrets"})


class StatsQuerySchema(StrictInput):
    """Whose figures to give."""

    provider = provider_filter()


class DurationsSchema(Schema):
    """Seconds from acceptance to the final word, of the jobs that ended last."""

    p50 = fields.Float(allow_none=True, metadata={"description": "half of them took no longer"})
    p95 = fields.Float(allow_none=True, metadata={"description": "95 of 100 took no longer"})
    p99 = fields.Float(allow_none=True, metadata={"description": "99 of 100 took no longer"})
    jobs = fields.Integer(metadata={"description": "of how many jobs"})


class OpenJobSchema(Schema):
    """A job without a final word."""

    id = fields.UUID(metadata={"description": "ours"})
    reference = fields.String(metadata={"description": "the provider's"})
    accepted_at = UTCDateTime(metadata={"description": "when it was first heard of"})


class CountsSchema(Schema):
    """How many there are."""

    requests = fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": "by status"})
    jobs = fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": "by status"})
    disputed = fields.Integer(metadata={"description": "jobs with contradicting final words"})
    unmatched = fields.Integer(metadata={"description": "jobs without a known request"})
    attention = fields.Nested(AttentionSchema, metadata={"description": "how much needs somebody"})


class ProviderStatsSchema(CountsSchema):
    """The figures of one provider."""

    name = fields.String(metadata={"description": "whose figures they are"})
    seconds_to_final = fields.Nested(DurationsSchema, metadata={"description": "how long its jobs take"})
    oldest_open_job = fields.Nested(
        OpenJobSchema, allow_none=True, metadata={"description": "the one that has taken longest so far"}
    )


class StatsSchema(CountsSchema):
    """The figures of everything, and of each provider."""

    providers = fields.List(fields.Nested(ProviderStatsSchema), metadata={"description": "of each provider"})
