"""Schemas of providers and of statistics."""

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from receiver.domain.limits import CircuitState
from receiver.domain.paging import NameCursor, PageRequest
from receiver.domain.sending import PauseCause
from receiver.schemas.api.common import (
    MAX_PAGE_SIZE,
    AccountName,
    ActionReasonSchema,
    PageCursor,
    ProviderName,
    QueryInteger,
    StrictInput,
    account_filter,
    pop_provider_names,
    provider_filter,
)
from receiver.schemas.fields import Text, UTCDateTime
from receiver.signatures.base import Trust

REFUSAL_REASONS = (
    "signature",
    "address",
    "handshake",
    "kept_handshake",
    "method",
    "media_type",
    "too_large",
    "unreadable",
)
"""Why a delivery is counted and kept as a sample: it was refused, or it is a handshake that an admin needs to see."""


class SecretUseSchema(Schema):
    """The last use of a signing secret, which is identified by a fingerprint."""

    fingerprint = fields.String(metadata={"description": "the first digits of its SHA-256"})
    last_used_at = UTCDateTime(allow_none=True, metadata={"description": "when it last matched a signature"})


class AttentionSchema(Schema):
    """How many requests, jobs and callbacks need attention; the CLI guide explains what to do about each kind."""

    unmatched = fields.Integer(metadata={"description": "jobs without a known request"})
    unmapped = fields.Integer(metadata={"description": "callbacks with a status that the configuration does not map"})
    invalid = fields.Integer(metadata={"description": "callbacks that cannot be parsed"})
    disputed = fields.Integer(metadata={"description": "jobs with contradicting final statuses"})
    unresolved = fields.Integer(metadata={"description": "jobs whose deadline passed without a final status"})
    unknown_requests = fields.Integer(  # the attribute `unknown` of a schema is marshmallow's own
        attribute="unknown",
        data_key="unknown",
        metadata={"description": "requests that the provider may or may not have acted on"},
    )
    reference_conflict = fields.Integer(
        metadata={"description": "requests that have the reference of a job of another request"}
    )
    unconfigured = fields.Integer(
        metadata={"description": "queued requests and open jobs of a provider that is not configured any more"}
    )
    refused = fields.Integer(
        metadata={"description": "callbacks that were refused in the last day and not accepted since by a replay"}
    )


class RefusalSchema(Schema):
    """Callbacks of the last day that were refused for the same reason, from the same caller."""

    reason = fields.String(
        validate=validate.OneOf(REFUSAL_REASONS),
        metadata={
            "description": "`signature`: the signature, or a time or nonce that belongs to it, is missing, wrong "
            "or too old; `address`: not in `allow_from`; `handshake`: its "
            "token or another value is wrong; `kept_handshake`: not refused, but a handshake in which may be the "
            "secret of later signatures; `method`, `media_type`, `too_large` and `unreadable`: refused before it "
            "was verified"
        },
    )
    caller_address = fields.String(
        allow_none=True,
        metadata={
            "description": "the caller's address, or its network of IPv6; empty for many callers together; null for "
            "keys without the scope `admin`"
        },
    )
    count = fields.Integer(metadata={"description": "the number of callbacks"})
    last_at = UTCDateTime(metadata={"description": "when the last one was refused"})


def _configured() -> fields.Boolean:
    return fields.Boolean(
        metadata={"description": "whether it is configured; if not, nothing is sent to it or accepted from it"}
    )


class ProviderSchema(Schema):
    """A provider: a configured one, or one that is not configured any more and of which something needs attention."""

    name = ProviderName("its name in the configuration")
    account = AccountName("name")
    configured = _configured()
    operations = fields.List(fields.String(), metadata={"description": "the operations that it offers"})
    paused = fields.Boolean(metadata={"description": "whether sending to it is paused"})
    paused_at = UTCDateTime(allow_none=True, metadata={"description": "since when it is paused"})
    pause_reason = fields.String(allow_none=True, metadata={"description": "who paused it, and why"})
    pause_cause = fields.Enum(
        PauseCause,
        by_value=True,
        allow_none=True,
        metadata={
            "description": "`operator`: paused until an operator resumes it; `credentials`: it refused our "
            "credentials or our account, paused until the credentials change or an operator resumes it"
        },
    )
    callback_url = fields.String(
        allow_none=True,
        metadata={
            "description": "the URL to register at the provider, its token shown to `admin` only; null for a provider "
            "that does not call back or is not configured"
        },
    )
    trust = fields.Enum(
        Trust,
        by_value=True,
        allow_none=True,
        metadata={
            "description": "why a status in a callback is believed: `signature`, the signature covers all that "
            "decides; `sender`, the sender holds a secret; `confirm`, a final status only triggers a poll, which "
            "decides; null for a provider that does not call back"
        },
    )
    proof = fields.String(
        allow_none=True, metadata={"description": "what a callback of this provider proves, a sentence for people"}
    )
    max_concurrency = fields.Integer(
        allow_none=True,
        metadata={"description": "maximum number of concurrent requests; null for a provider that is not configured"},
    )
    max_per_second = fields.Float(
        allow_none=True, metadata={"description": "maximum number of requests per second; null for no limit"}
    )
    circuit = fields.Enum(
        CircuitState,
        by_value=True,
        metadata={
            "description": "`closed`: requests are sent; `open`: too many requests in a row failed, and none is sent "
            "until `held_until`; `half_open`: one request is sent to see whether the provider has recovered"
        },
    )
    held_until = UTCDateTime(
        allow_none=True,
        metadata={"description": "no request is sent before, because of failures or `Retry-After`; null if not held"},
    )
    per_second = fields.Float(
        allow_none=True,
        metadata={
            "description": "current limit of requests per second: below `max_per_second` after the provider asked to "
            "slow down; null for no limit"
        },
    )
    last_callback_at = UTCDateTime(allow_none=True, metadata={"description": "when its last callback was accepted"})
    missing_callback_rate = fields.Float(
        allow_none=True,
        metadata={"description": "share of recently finished or unresolved jobs without any callback"},
    )
    attention = fields.Nested(AttentionSchema, metadata={"description": "what needs attention"})
    refusals = fields.List(
        fields.Nested(RefusalSchema),
        metadata={
            "description": "the callbacks that were refused in the last day, without those that a replay has accepted "
            "since, the most frequent first"
        },
    )
    secrets = fields.List(fields.Nested(SecretUseSchema), metadata={"description": "its signing secrets"})


class ProviderQuerySchema(StrictInput):
    """The query of the list of providers; loads to a `PageRequest` as `page`, and names as `providers`."""

    provider = provider_filter()
    account = account_filter()
    limit = QueryInteger(
        load_default=MAX_PAGE_SIZE,
        validate=validate.Range(1, MAX_PAGE_SIZE),
        metadata={"description": "maximum number of items"},
    )
    cursor = PageCursor(NameCursor)

    @post_load
    def _build_query(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"page": PageRequest(data["cursor"], data["limit"]), "providers": pop_provider_names(data)}


class ProviderActionSchema(ActionReasonSchema):
    """An operator's action on a provider with all its accounts, or on one account."""

    account = Text(
        load_default=None,
        allow_none=True,
        max_length=63,
        metadata={"description": "only this account; by default the provider and all its accounts"},
    )


class StatsQuerySchema(StrictInput):
    """The query of the statistics; loads to names as `providers`."""

    provider = provider_filter()
    account = account_filter()

    @post_load
    def _build_query(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"providers": pop_provider_names(data)}


class DurationsSchema(Schema):
    """Seconds from acceptance to the final status, over the jobs that finished last."""

    p50 = fields.Float(allow_none=True, metadata={"description": "50th percentile"})
    p95 = fields.Float(allow_none=True, metadata={"description": "95th percentile"})
    p99 = fields.Float(allow_none=True, metadata={"description": "99th percentile"})
    jobs = fields.Integer(metadata={"description": "number of jobs in the sample"})


class OpenJobSchema(Schema):
    """A job without a final status."""

    id = fields.UUID(metadata={"description": "our id of the job"})
    reference = fields.String(metadata={"description": "the provider's reference"})
    accepted_at = UTCDateTime(metadata={"description": "when its first event was received"})


class CountsSchema(Schema):
    """Counts of requests and jobs."""

    requests = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata={"description": "number of requests by status"}
    )
    jobs = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata={"description": "number of jobs by status"}
    )
    disputed = fields.Integer(metadata={"description": "jobs with contradicting final statuses"})
    unmatched = fields.Integer(metadata={"description": "jobs without a known request"})
    attention = fields.Nested(AttentionSchema, metadata={"description": "what needs attention"})


class ProviderStatsSchema(CountsSchema):
    """The statistics of one provider."""

    name = ProviderName("the provider's name")
    account = AccountName("name")
    configured = _configured()
    seconds_to_final = fields.Nested(DurationsSchema, metadata={"description": "how long its jobs take"})
    oldest_open_job = fields.Nested(
        OpenJobSchema, allow_none=True, metadata={"description": "its oldest job without a final status"}
    )


class NotificationStatsSchema(Schema):
    """Counts of webhook notifications by status, and whether sending them is paused."""

    queued = fields.Integer(metadata={"description": "notifications to be sent, for the first time or again"})
    sending = fields.Integer(metadata={"description": "notifications that are being sent"})
    delivered = fields.Integer(metadata={"description": "notifications that the client accepted"})
    rejected = fields.Integer(metadata={"description": "notifications that the client does not want: 410"})
    failed = fields.Integer(
        metadata={"description": "notifications that the client never accepted, which need attention"}
    )
    cancelled = fields.Integer(metadata={"description": "notifications that an operator cancelled"})
    paused = fields.Boolean(metadata={"description": "whether no notification is sent"})


class StatsSchema(CountsSchema):
    """The statistics of all providers together, and of each provider."""

    notifications = fields.Nested(
        NotificationStatsSchema,
        allow_none=True,
        metadata={"description": "webhook notifications; null for one provider, and for keys of certain providers"},
    )

    providers = fields.List(fields.Nested(ProviderStatsSchema), metadata={"description": "by provider"})
