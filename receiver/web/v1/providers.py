"""`/v1/providers` and `/v1/stats`: how providers do, and who may be sent to."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from werkzeug.exceptions import NotFound

from receiver.domain.access import Scope
from receiver.domain.limits import ProviderLimits
from receiver.domain.paging import Page
from receiver.outbound import operations
from receiver.providers.base import Provider
from receiver.schemas.api import providers as schemas
from receiver.schemas.api.common import ReasonSchema, list_of
from receiver.store.callbacks import SecretUse, list_secret_uses
from receiver.store.database import Connection
from receiver.store.limits import find_limits
from receiver.store.providers import Pause, find_pauses
from receiver.store.stats import (
    ATTENTION,
    Attention,
    CallbackStats,
    Counts,
    count_attention,
    count_by_provider,
    find_callback_stats,
    find_completion_stats,
)
from receiver.web.context import current_context
from receiver.web.operations import current_caller
from receiver.web.v1.blueprint import api

_PROVIDER = schemas.ProviderSchema()
_UNKNOWN = "no such provider is configured"
_REDACTED = "[redacted]"


@api.operation("GET", "/providers", Scope.READ, list_of(schemas.ProviderSchema)())
def browse_providers() -> Page[Mapping[str, Any]]:
    """List the configured providers: how each is used, whether it is paused, and how it calls back."""
    names = [name for name in sorted(current_context().providers) if current_caller().sees(name)]
    with current_context().database.connection() as connection:
        return Page(_told(connection, names))


@api.operation(
    "POST",
    "/providers/<name>/pause",
    Scope.ADMIN,
    _PROVIDER,
    body=ReasonSchema(),
    optional_body=True,
    refusals={404: _UNKNOWN},
)
def pause_provider(name: str, body: dict[str, Any]) -> Mapping[str, Any]:
    """Stop sending to a provider; its requests stay queued. A pause that stands keeps its reason."""
    _demand_configured(name)
    with current_context().database.transaction() as connection:
        operations.pause(connection, name, current_caller().name, body["reason"])
        return _told(connection, [name])[0]


@api.operation(
    "POST",
    "/providers/<name>/resume",
    Scope.ADMIN,
    _PROVIDER,
    body=ReasonSchema(),
    optional_body=True,
    refusals={404: _UNKNOWN},
)
def resume_provider(name: str, body: dict[str, Any]) -> Mapping[str, Any]:
    """Send to a provider again."""
    _demand_configured(name)
    with current_context().database.transaction() as connection:
        operations.resume(connection, name, current_caller().name, body["reason"])
        return _told(connection, [name])[0]


@api.operation("GET", "/stats", Scope.READ, schemas.StatsSchema(), query=schemas.StatsQuerySchema())
def show_stats(query: dict[str, Any]) -> Mapping[str, Any]:
    """Count requests and jobs by status and provider, and tell how long jobs take.

    A provider that is not configured any more is counted as well, as long as there is something of it.
    """
    with current_context().database.connection() as connection:
        counted = count_by_provider(connection)
        known = counted.keys() | current_context().providers.keys()
        names = sorted(name for name in known if current_caller().sees(name) and query["provider"] in {None, name})
        paces = find_completion_stats(connection, names)
        needed = count_attention(connection, names)
    of_each = {name: _sum([counted.get(name, Counts())], [needed[name]]) for name in names}
    return _sum([counted.get(name, Counts()) for name in names], needed.values()) | {
        "providers": [
            {
                "name": name,
                **figures,
                "seconds_to_final": paces[name].seconds_to_final,
                "oldest_open_job": paces[name].oldest_open_job,
            }
            for name, figures in of_each.items()
        ]
    }


def _sum(counted: Iterable[Counts], needed: Iterable[Attention]) -> dict[str, Any]:
    counted, total = list(counted), _all_of(needed)
    return {
        "requests": _added(counts.requests for counts in counted),
        "jobs": _added(counts.jobs for counts in counted),
        "disputed": total["disputed"],
        "unmatched": total["unmatched"],
        "attention": total,
    }


def _all_of(needed: Iterable[Attention]) -> Mapping[str, int]:
    each = list(needed)
    return {kind: sum(getattr(one, kind) for one in each) for kind in ATTENTION}


def _added(counted: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    total: Counter[str] = Counter()
    for one in counted:
        total.update(one)
    return total


def _demand_configured(name: str) -> None:
    if name not in current_context().providers or not current_caller().sees(name):
        raise NotFound(_UNKNOWN)


def _told(connection: Connection, names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Give configured providers with all that is known of them, for their schema."""
    pauses = {pause.name: pause for pause in find_pauses(connection)}
    uses = list_secret_uses(connection)
    figures = find_callback_stats(connection, names)
    needed = count_attention(connection, names)
    limits = {one.provider: (one, now) for one, now in find_limits(connection, names)}
    return [
        {
            **_document(current_context().providers[name], pauses.get(name), uses, figures[name]),
            **_limits(
                current_context().providers[name],
                *limits.get(name, (ProviderLimits(name), current_context().clock.now())),
            ),
            "attention": needed[name],
        }
        for name in names
    ]


def _limits(provider: Provider, limits: ProviderLimits, now: datetime) -> Mapping[str, Any]:
    return {
        "circuit": limits.circuit(now),
        "held_until": limits.closed_until(now),
        "per_second": limits.per_second(provider.send_policy.limits),
    }


def _document(
    provider: Provider, paused: Pause | None, uses: Collection[SecretUse], figures: CallbackStats
) -> Mapping[str, Any]:
    last = {use.fingerprint: use.last_used_at for use in uses if use.provider == provider.name}
    auth = provider.callback_settings.auth
    return {
        "name": provider.name,
        "operations": provider.operations(),
        "paused": paused is not None,
        "paused_at": paused and paused.paused_at,
        "pause_reason": paused and paused.pause_reason,
        "pause_cause": paused and paused.pause_cause,
        "callback_url": _callback_url(provider),
        "max_concurrency": provider.send_policy.max_concurrency,
        "max_per_second": provider.send_policy.max_per_second,
        "last_callback_at": figures.last_callback_at,
        "missing_callback_rate": figures.missing_rate,
        "secrets": [{"fingerprint": one, "last_used_at": last.get(one)} for one in auth.fingerprints],
    }


def _callback_url(provider: Provider) -> str:
    """Give the URL to register; its token would let whoever reads it forge callbacks, so that only `admin` sees it."""
    url = current_context().settings.callback_url(provider.name)
    tokens = provider.callback_settings.auth.tokens
    return url if current_caller().may(Scope.ADMIN) or not tokens else url.removesuffix(tokens[0]) + _REDACTED
