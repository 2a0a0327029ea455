"""Factories of values for tests; every factory takes overrides."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from receiver.domain.backoff import RetryPolicy
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, StatusReport
from receiver.domain.sending import Attempt, OnAmbiguous, RetryRules
from receiver.domain.targets import TargetRules
from receiver.providers.base import Provider, SendPolicy
from receiver.providers.sandbox import build_sandbox
from receiver.providers.webhook import build_notify_provider
from receiver.settings import Settings
from receiver.signatures.base import CallbackAuth
from receiver.signatures.standard_webhooks import StandardWebhooks, decode_key

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PUBLIC_URL = "https://receiver.example"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def provider(
    *, api_key: str = "key", idempotent: bool = True, callback_token: bool = False, **overrides: Any
) -> Provider:
    """Build a sandbox provider whose origin does not exist; `overrides` are fields of `Provider`."""
    fields: dict[str, Any] = {
        "name": "sandbox",
        "origin": "http://127.0.0.1:9",
        "base_path": "",
        "retry_rules": RetryRules(RetryPolicy(attempts=4, base=0.05, max=0.2), OnAmbiguous.HOLD),
        "send_policy": SendPolicy(max_concurrency=16, connect_timeout=1.0, timeout=1.0),
        "deadline": 3_600.0,
    }
    table = {
        "auth": {"secret": api_key},
        "idempotent": idempotent,
        "callback_token": callback_token,
        "signature": CallbackAuth(StandardWebhooks([decode_key(SECRET)])),
        "poll": {"first_after": 60.0, "max_interval": 600.0, "give_up_after": 86_400.0},
    }
    return build_sandbox(Provider(**fields | overrides), table)


def notify_provider(*hosts: str, networks: str = "", secrets: Sequence[str] = (SECRET,)) -> Provider:
    """Build the provider `notify` for these hosts; `networks` are the non-public networks that may be called."""
    allowed_networks = [ip_network(network) for network in networks.split()]
    return build_notify_provider(
        TargetRules(hosts or ("shop.example",), allowed_networks), [decode_key(secret) for secret in secrets]
    )


def report(reference: str = "ref-1", status: JobStatus | None = JobStatus.SUCCEEDED, **overrides: Any) -> StatusReport:
    """Build a status report."""
    return StatusReport(reference=reference, status=status, **overrides)


def event(
    reference: str = "ref-1",
    status: JobStatus | None = JobStatus.SUCCEEDED,
    *,
    source: EventSource = EventSource.CALLBACK,
    origin: UUID | None = None,
    at: float = 0.0,
    superseding: bool = False,
    actor: Provider | None = None,
    **overrides: Any,
) -> JobEvent:
    """Build an event received `at` seconds after noon; without an `origin` it differs from all other events."""
    status_report = report(reference, status, superseding=superseding)
    received_at = NOON + timedelta(seconds=at)
    return (actor or provider()).build_event(status_report, source, origin or uuid4(), received_at, **overrides)


def attempt(**overrides: Any) -> Attempt:
    """Build a first attempt."""
    fields: dict[str, Any] = {
        "id": uuid4(),
        "request_id": uuid4(),
        "provider": "sandbox",
        "operation": "send",
        "payload": {"client_reference": "c-1", "to": ["2348030000000"], "text": "hello"},
        "failures": 0,
        "ambiguous": False,
        "deadline_at": NOON + timedelta(hours=1),
        "started_at": NOON,
    }
    return Attempt(**fields | overrides)


def settings(
    dsn: str,
    home: Path,
    providers: Mapping[str, Provider],
    public_url: str = PUBLIC_URL,
    notify: Provider | None = None,
) -> Settings:
    """Build the settings of a web process that runs within the test."""
    return Settings(
        database_url=dsn,
        home=home,
        port=0,
        web_concurrency=1,
        public_url=public_url,
        trusted_proxies=(),
        log_level="ERROR",
        log_format="json",
        max_body_bytes=1 << 20,
        rate_limit_per_minute=60_000,
        secret_keys=("a-secret-key-of-tests",),
        admin_key=None,
        providers=providers,
        notify_provider=notify,
    )
