"""The columns of all tables that commands print, each with its importance where there is no room for all."""

from receiver.cli.api import iterate_errors
from receiver.cli.cells import Column
from receiver.cli.formats import Json, format_time, format_time_ms
from receiver.domain.accounts import join_account
from receiver.domain.status_symbols import StatusKind

_ATTENTION_KINDS = (
    "unconfigured",
    "unknown",
    "reference_conflict",
    "disputed",
    "unresolved",
    "unmatched",
    "unmapped",
    "invalid",
    "refused",
)
"""The kinds of `attention`, the most urgent first."""


def format_flags(job: Json) -> str:
    """Return the names of a job's flags, separated by commas."""
    return ", ".join(name for name in ("disputed", "unmatched") if job[name])


def format_errors(callback: Json) -> str:
    """Return the errors of a callback, each with its place."""
    return "; ".join(f"{place}: {message}" for place, message in iterate_errors(callback["errors"] or {}))


def format_provider(item: Json) -> str:
    """Return the provider of an item of the API, with its account; "" if there is none."""
    return join_account(item["provider"] or "", item.get("account"))


def _format_missing_callbacks(provider: Json) -> str:
    rate = provider["missing_callback_rate"]
    return "" if rate is None else f"{rate:.1%}"


def _format_attention(provider: Json) -> str:
    counts = provider["attention"]
    return ", ".join(f"{counts[kind]} {kind.replace('_', ' ')}" for kind in _ATTENTION_KINDS if counts[kind])


def _format_state(provider: Json) -> str:
    if not provider["configured"]:
        return "unconfigured"
    return "paused" if provider["paused"] else "active"


def _format_limits(provider: Json) -> str:
    """Return why a provider is sent less than configured; empty if it is not."""
    limits = []
    if provider["circuit"] != "closed":
        limits.append(f"circuit {provider['circuit'].replace('_', '-')}")
    if provider["held_until"]:
        limits.append(f"held until {format_time(provider['held_until'])}")
    if provider["per_second"] != provider["max_per_second"]:
        limits.append(f"{provider['per_second']:.3g} per second")
    return ", ".join(limits)


def _format_key_providers(key: Json) -> str:
    return "all" if key["providers"] is None else ", ".join(key["providers"])


def format_provider_status(event: Json) -> str:
    """Return the provider's own status of an event, with its code."""
    return " / ".join(dict.fromkeys(filter(None, (event["provider_status"], event["code"]))))


def _format_last_response(notification: Json) -> str:
    """Return the status of the last response to a notification, or why there was none."""
    return str(notification["response_status"] or notification["error"] or "")


REQUESTS = (
    Column("id", "id"),
    Column("status", "status", status=StatusKind.REQUEST),
    Column("provider", format_provider, 8),
    Column("operation", "operation", 6),
    Column("created", "created_at", 7, time=format_time),
    Column("finished", "finished_at", 4, time=format_time),
    Column("detail", "detail", 5, prose=True),
)
ATTEMPTS = (
    Column("number", "number"),
    Column("started", "started_at", 9, time=format_time_ms),
    Column("finished", "finished_at", 6, time=format_time_ms),
    Column("response", "response_status", 8),
    Column("error", "error", 7, prose=True),
)
ACTIONS = (
    Column("time", "at", time=format_time),
    Column("actor", "actor", 8),
    Column("action", "action"),
    Column("reason", "reason", 9, prose=True),
)
JOBS = (
    Column("id", "id"),
    Column("status", "status", status=StatusKind.JOB),
    Column("provider", format_provider, 5),
    Column("accepted", "accepted_at", 6, time=format_time),
    Column("finished", "finished_at", 4, time=format_time),
    Column("flags", format_flags, 7, status=StatusKind.FLAG),
    Column("reference", "reference", 8),
)
EVENTS = (
    Column("received", "received_at", time=format_time_ms),
    Column("source", "source", 8),
    Column("status", "status", status=StatusKind.JOB),
    Column("effect", "effect", 9, status=StatusKind.EFFECT),
    Column("provider status", format_provider_status, 7),
    Column("detail", "detail", 6, prose=True),
    Column("actor", "actor", 5),
)
EVENTS_OF_CALLBACK = (
    Column("position", "position", 5),
    Column("job", "job_id"),
    Column("status", "status", status=StatusKind.JOB),
    Column("provider status", format_provider_status, 8),
    Column("reference", "reference", 7),
    Column("detail", "detail", 6, prose=True),
)
CALLBACKS_OF_JOB = (
    Column("received", "received_at", time=format_time_ms),
    Column("id", "callback_id"),
)
CALLBACKS = (
    Column("id", "id"),
    Column("received", "received_at", 9, time=format_time),
    Column("verdict", "verdict", status=StatusKind.VERDICT),
    Column("provider", format_provider, 8),
    Column("errors", format_errors, 7, prose=True),
)
NOTIFICATIONS = (
    Column("id", "id"),
    Column("status", "status", status=StatusKind.NOTIFICATION),
    Column("type", "type", 8),
    Column("created", "created_at", 7, time=format_time),
    Column("attempts", "attempt_count", 4),
    Column("response", _format_last_response, 5, prose=True),
    Column("next attempt", "next_attempt_at", 3, time=format_time),
    Column("URL", "url", 6, prose=True),
)
PROVIDERS = (
    Column("name", lambda provider: join_account(provider["name"], provider.get("account"))),
    Column("state", _format_state, status=StatusKind.PROVIDER),
    Column("attention", _format_attention, 9, prose=True, color="yellow"),
    Column("last callback", "last_callback_at", 7, time=format_time),
    Column("missing callbacks", _format_missing_callbacks, 6),
    Column("callback URL", "callback_url", 3),
    Column("pause reason", "pause_reason", 5, prose=True),
    Column("limits", _format_limits, 8, prose=True, color="yellow"),
)
KEYS = (
    Column("id", "id"),
    Column("client", "client", 5),
    Column("name", "name", 9),
    Column("prefix", "prefix", 4),
    Column("scopes", lambda key: ", ".join(key["scopes"]), 8),
    Column("providers", _format_key_providers, 3, prose=True),
    Column("per minute", "per_minute", 1),
    Column("created", "created_at", 2, time=format_time),
    Column("expires", "expires_at", 6, time=format_time),
    Column("revoked", "revoked_at", 7, time=format_time),
    Column("last used", "last_used_at", 5, time=format_time),
)
