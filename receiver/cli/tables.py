"""The columns of all tables that commands print."""

from receiver.cli.api import flatten_errors
from receiver.cli.output import Column, Json, format_time, format_time_ms, make_time_formatter
from receiver.domain.accounts import join_account

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
    return "; ".join(f"{place}: {message}" for place, message in flatten_errors(callback["errors"] or {}))


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


def _format_provider_status(event: Json) -> str:
    return " / ".join(filter(None, (event["provider_status"], event["code"])))


def _format_last_response(notification: Json) -> str:
    """Return the status of the last response to a notification, or why there was none."""
    return str(notification["response_status"] or notification["error"] or "")


REQUESTS = (
    Column("id", "id"),
    Column("status", "status"),
    Column("provider", format_provider),
    Column("operation", "operation"),
    Column("created", make_time_formatter("created_at")),
    Column("finished", make_time_formatter("finished_at")),
    Column("detail", "detail", prose=True),
)
ATTEMPTS = (
    Column("number", "number"),
    Column("started", lambda attempt: format_time_ms(attempt["started_at"])),
    Column("finished", lambda attempt: format_time_ms(attempt["finished_at"])),
    Column("response", "response_status"),
    Column("error", "error", prose=True),
)
ACTIONS = (
    Column("time", make_time_formatter("at")),
    Column("actor", "actor"),
    Column("action", "action"),
    Column("reason", "reason", prose=True),
)
JOBS = (
    Column("id", "id"),
    Column("status", "status"),
    Column("provider", format_provider),
    Column("accepted", make_time_formatter("accepted_at")),
    Column("finished", make_time_formatter("finished_at")),
    Column("flags", format_flags),
    Column("reference", "reference"),
)
EVENTS = (
    Column("received", lambda event: format_time_ms(event["received_at"])),
    Column("source", "source"),
    Column("status", "status"),
    Column("effect", "effect"),
    Column("provider status", _format_provider_status),
    Column("detail", "detail", prose=True),
    Column("actor", "actor"),
)
EVENTS_OF_CALLBACK = (
    Column("position", "position"),
    Column("job", "job_id"),
    Column("status", "status"),
    Column("provider status", _format_provider_status),
    Column("reference", "reference"),
    Column("detail", "detail", prose=True),
)
CALLBACKS_OF_JOB = (
    Column("received", lambda event: format_time_ms(event["received_at"])),
    Column("id", "callback_id"),
)
CALLBACKS = (
    Column("id", "id"),
    Column("received", make_time_formatter("received_at")),
    Column("verdict", "verdict"),
    Column("provider", format_provider),
    Column("errors", format_errors, prose=True),
)
NOTIFICATIONS = (
    Column("id", "id"),
    Column("status", "status"),
    Column("type", "type"),
    Column("created", make_time_formatter("created_at")),
    Column("attempts", "attempt_count"),
    Column("response", _format_last_response, prose=True),
    Column("next attempt", make_time_formatter("next_attempt_at")),
    Column("URL", "url", prose=True),
)
PROVIDERS = (
    Column("name", lambda provider: join_account(provider["name"], provider.get("account"))),
    Column("state", _format_state),
    Column("attention", _format_attention, prose=True, style="yellow"),
    Column("last callback", make_time_formatter("last_callback_at")),
    Column("missing callbacks", _format_missing_callbacks),
    Column("callback URL", "callback_url"),
    Column("pause reason", "pause_reason", prose=True),
    Column("limits", _format_limits, prose=True, style="yellow"),
)
KEYS = (
    Column("id", "id"),
    Column("client", "client"),
    Column("name", "name"),
    Column("prefix", "prefix"),
    Column("scopes", lambda key: ", ".join(key["scopes"])),
    Column("providers", _format_key_providers, prose=True),
    Column("per minute", "per_minute"),
    Column("created", make_time_formatter("created_at")),
    Column("expires", make_time_formatter("expires_at")),
    Column("revoked", make_time_formatter("revoked_at")),
    Column("last used", make_time_formatter("last_used_at")),
)
