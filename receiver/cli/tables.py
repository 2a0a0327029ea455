"""The columns in which each kind of thing is listed."""

from receiver.cli.api import flatten_errors
from receiver.cli.output import Column, Json, format_time, format_time_ms, time_field

_PRESSING = ("unknown", "disputed", "unresolved", "unmatched", "unmapped", "invalid")


def format_flags(job: Json) -> str:
    """Give the names of a job's flags."""
    return ", ".join(name for name in ("disputed", "unmatched") if job[name])


def format_errors(callback: Json) -> str:
    """Give what is wrong with a callback, each fault with its place."""
    return "; ".join(f"{place}: {message}" for place, message in flatten_errors(callback["errors"] or {}))


def _missing(provider: Json) -> str:
    rate = provider["missing_callback_rate"]
    return "" if rate is None else f"{rate:.1%}"


def _attention(provider: Json) -> str:
    """Tell what needs somebody, the most pressing first."""
    needed = provider["attention"]
    return ", ".join(f"{needed[kind]} {kind}" for kind in _PRESSING if needed[kind])


def _limited(provider: Json) -> str:
    """Give how a provider is sent less than usual."""
    told = []
    if provider["circuit"] != "closed":
        told.append(f"circuit {provider['circuit'].replace('_', '-')}")
    if provider["held_until"]:
        told.append(f"until {format_time(provider['held_until'])}")
    if provider["per_second"] != provider["max_per_second"]:
        told.append(f"{provider['per_second']:.3g} a second")
    return ", ".join(told)


def _providers(key: Json) -> str:
    return "all" if key["providers"] is None else ", ".join(key["providers"])


def _said(event: Json) -> str:
    return " / ".join(filter(None, (event["provider_status"], event["code"])))


REQUESTS = (
    Column("id", "id"),
    Column("status", "status"),
    Column("provider", "provider"),
    Column("operation", "operation"),
    Column("created", time_field("created_at")),
    Column("finished", time_field("finished_at")),
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
    Column("at", time_field("at")),
    Column("actor", "actor"),
    Column("action", "action"),
    Column("reason", "reason", prose=True),
)
JOBS = (
    Column("id", "id"),
    Column("status", "status"),
    Column("provider", "provider"),
    Column("accepted", time_field("accepted_at")),
    Column("finished", time_field("finished_at")),
    Column("flags", format_flags),
    Column("reference", "reference"),
)
EVENTS = (
    Column("received", lambda event: format_time_ms(event["received_at"])),
    Column("source", "source"),
    Column("status", "status"),
    Column("effect", "effect"),
    Column("provider said", _said),
    Column("detail", "detail", prose=True),
    Column("actor", "actor"),
)
CALLBACKS_OF_JOB = (
    Column("received", lambda event: format_time_ms(event["received_at"])),
    Column("id", "callback_id"),
)
CALLBACKS = (
    Column("id", "id"),
    Column("received", time_field("received_at")),
    Column("verdict", "verdict"),
    Column("provider", "provider"),
    Column("errors", format_errors, prose=True),
)
PROVIDERS = (
    Column("name", "name"),
    Column("paused", lambda provider: "yes" if provider["paused"] else "no"),
    Column("attention", _attention, prose=True, style="yellow"),
    Column("last callback", time_field("last_callback_at")),
    Column("missing callbacks", _missing),
    Column("callback URL", "callback_url"),
    Column("why paused", "pause_reason", prose=True),
    Column("limited", _limited, prose=True, style="yellow"),
)
KEYS = (
    Column("id", "id"),
    Column("client", "client"),
    Column("name", "name"),
    Column("begins", "prefix"),
    Column("scopes", lambda key: ", ".join(key["scopes"])),
    Column("providers", _providers, prose=True),
    Column("per minute", "per_minute"),
    Column("created", time_field("created_at")),
    Column("expires", time_field("expires_at")),
    Column("revoked", time_field("revoked_at")),
    Column("last used", time_field("last_used_at")),
)
