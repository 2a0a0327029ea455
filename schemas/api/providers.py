"""Providers as they are shown, and the figures of everything."""

from marshmallow import Schema, fields

from schemas.api.common import Given, provider_filter
from schemas.fields import UTCDateTime


class SecretUse(Schema):
    """When a signing secret last matched; a fingerprint names it."""

    fingerprint = fields.String()
    last_used_at = UTCDateTime(allow_none=True)


class Provider(Schema):
    """A configured provider."""

    name = fields.String()
    operations = fields.List(fields.String())
    paused = fields.Boolean()
    paused_at = UTCDateTime(allow_none=True)
    pause_reason = fields.String(allow_none=True)
    callback_url = fields.String(metadata={"description": "what to register at the provider; its token is for `admin`"})
    max_concurrency = fields.Integer()
    max_per_second = fields.Float(allow_none=True)
    last_callback_at = UTCDateTime(allow_none=True)
    missing_callback_rate = fields.Float(
        allow_none=True,
        metadata={"description": "of the jobs that ended or fell silent lately, the share that no callback spoke of"},
    )
    secrets = fields.List(fields.Nested(SecretUse))


class StatsQuery(Given):
    """Whose figures to give."""

    provider = provider_filter()


class Durations(Schema):
    """Seconds from acceptance to the final word, of the jobs that ended last."""

    p50 = fields.Float(allow_none=True)
    p95 = fields.Float(allow_none=True)
    p99 = fields.Float(allow_none=True)
    jobs = fields.Integer(metadata={"description": "of how many jobs"})


class OpenJob(Schema):
    """A job without a final word."""

    id = fields.UUID()
    reference = fields.String()
    accepted_at = UTCDateTime()


class Counts(Schema):
    """How many there are."""

    requests = fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": "by status"})
    jobs = fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": "by status"})
    disputed = fields.Integer()
    unmatched = fields.Integer()


class ProviderStats(Counts):
    """The figures of one provider."""

    name = fields.String()
    seconds_to_final = fields.Nested(Durations)
    oldest_open_job = fields.Nested(OpenJob, allow_none=True)


class Stats(Counts):
    """The figures of everything, and of each provider."""

    providers = fields.List(fields.Nested(ProviderStats))
