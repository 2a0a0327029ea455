"""`/v1/providers` and `/v1/stats`: list, pause and resume providers; statistics."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from receiver.domain.access import Scope
from receiver.domain.accounts import is_included, join_account
from receiver.domain.limits import ProviderLimits
from receiver.domain.notifications import NotificationStatus, get_status
from receiver.domain.paging import NameCursor, Page
from receiver.domain.sending import RequestStatus
from receiver.domain.suggestions import format_suggestion
from receiver.operations import providers as operations
from receiver.providers.base import Provider
from receiver.providers.webhook import PROVIDER_NAME
from receiver.schemas.api import providers as schemas
from receiver.schemas.api.common import list_of
from receiver.store.callbacks import Refusal, list_refusals, list_secret_uses
from receiver.store.connections import Connection
from receiver.store.limits import find_limits
from receiver.store.providers import Pause, find_pauses
from receiver.store.stats import (
    ATTENTION_KINDS,
    Attention,
    CallbackStats,
    Counts,
    count_attention,
    count_by_provider,
    find_callback_stats,
    find_completion_stats,
    list_stored_providers,
)
from receiver.web.context import current_context
from receiver.web.operations import current_caller, extend_fields
from receiver.web.problems import ProblemError, ProblemType
from receiver.web.v1.blueprint import api

_PROVIDER = schemas.ProviderSchema()
_NOT_FOUND = "No such provider is configured."
_UNCONFIGURED: Mapping[str, Any] = {
    "configured": False,
    "operations": [],
    "callback_url": None,
    "trust": None,
    "proof": None,
    "max_concurrency": None,
    "max_per_second": None,
    "secrets": [],
}
_REDACTED = "[redacted]"


@api.operation("GET", "/providers", Scope.READ, list_of(schemas.ProviderSchema)(), query=schemas.ProviderQuerySchema())
def browse_providers(query: dict[str, Any]) -> Page[Mapping[str, Any]]:
    """List the configured providers with their state and callback URLs, by name; each account is an item.

    A provider that is no longer configured is included as long as requests, jobs or callbacks of it need attention.
    """
    page = query["page"]

    def read(connection: Connection) -> Page[Mapping[str, Any]]:
        names = _list_names(connection, query["providers"], page.cursor.name if page.cursor else "")
        shown = Page.from_rows(names[: page.limit + 1], page.limit, NameCursor)
        return Page(build_documents(connection, shown.items), shown.next_cursor)

    return current_context().reader.read(read)


@api.operation(
    "POST",
    "/providers/<name>/pause",
    Scope.ADMIN,
    _PROVIDER,
    body=schemas.ProviderActionSchema(),
    optional_body=True,
    problems={ProblemType.NOT_FOUND: _NOT_FOUND},
)
def pause_provider(name: str, body: dict[str, Any]) -> Mapping[str, Any]:
    """Stop sending to a provider; its requests stay queued. If it is already paused, the first reason stays.

    Without `account`, the provider and all its accounts are paused; the first of them is shown.
    """
    return _perform_action(operations.pause, name, body)


@api.operation(
    "POST",
    "/providers/<name>/resume",
    Scope.ADMIN,
    _PROVIDER,
    body=schemas.ProviderActionSchema(),
    optional_body=True,
    problems={ProblemType.NOT_FOUND: _NOT_FOUND},
)
def resume_provider(name: str, body: dict[str, Any]) -> Mapping[str, Any]:
    """Resume sending to a provider; without `account`, to the provider and all its accounts."""
    return _perform_action(operations.resume, name, body)


@api.operation("GET", "/stats", Scope.READ, schemas.StatsSchema(), query=schemas.StatsQuerySchema())
def show_stats(query: dict[str, Any]) -> Mapping[str, Any]:
    """Count requests and jobs by status and provider, and measure how long jobs take.

    Providers that are no longer configured are included as long as data of theirs is stored.
    """
    return current_context().reader.read(lambda connection: _build_stats(connection, query["providers"]))


def build_counts(connection: Connection, providers: Collection[str] | None) -> Mapping[str, Any]:
    """Build the counts of all providers that the caller may access, or of some of them, with those of each.

    These are the statistics of `show_stats` without the durations and the oldest open jobs.
    """
    counts = count_by_provider(connection)
    names = sorted(_select_names(counts.keys() | current_context().providers.keys(), providers))
    attention = count_attention(connection, names, _configured_names())
    is_unrestricted = current_caller().providers is None and providers is None
    return _sum_counts([counts.get(name, Counts()) for name in names], attention.values()) | {
        "notifications": _count_notifications(connection, counts) if is_unrestricted else None,
        "providers": [
            {
                "name": name,
                "configured": name in _configured_names(),
                **_sum_counts([counts.get(name, Counts())], [attention[name]]),
            }
            for name in names
        ],
    }


def build_documents(connection: Connection, names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Build the documents of providers, of which the caller may access each and which are configured or have data.

    Serialize them by `ProviderSchema`.
    """
    pauses = {pause.name: pause for pause in find_pauses(connection)}
    secret_uses: dict[str, dict[str, datetime]] = defaultdict(dict)
    for use in list_secret_uses(connection):
        secret_uses[use.provider][use.fingerprint] = use.last_used_at
    callback_stats = find_callback_stats(connection, names)
    attention = count_attention(connection, names, _configured_names())
    refusals: dict[str, list[Refusal]] = defaultdict(list)
    for refusal in list_refusals(connection, names):
        refusals[refusal.provider].append(refusal)
    limits = {row.provider: (row, now) for row, now in find_limits(connection, names)}
    documents: list[Mapping[str, Any]] = []
    for name in names:
        provider = current_context().providers.get(name)
        provider_limits, now = limits.get(name, (ProviderLimits(name), current_context().clock.now()))
        documents.append(
            {
                "name": name,
                **_build_state(pauses.get(name), callback_stats[name]),
                **(_build_configuration(provider, secret_uses[name]) if provider else _UNCONFIGURED),
                **_build_limits(provider, provider_limits, now),
                "attention": attention[name],
                "refusals": [_build_refusal(refusal) for refusal in refusals.get(name, ())],
            }
        )
    return documents


def _build_stats(connection: Connection, providers: Collection[str] | None) -> Mapping[str, Any]:
    counts = build_counts(connection, providers)
    completion = find_completion_stats(connection, [document["name"] for document in counts["providers"]])
    documents = [extend_fields(completion[document["name"]]) | document for document in counts["providers"]]
    return {**counts, "providers": documents}


def _count_notifications(connection: Connection, counts: Mapping[str, Counts]) -> Mapping[str, int]:
    by_status = Counter[NotificationStatus]()
    for status, count in counts.get(PROVIDER_NAME, Counts()).requests.items():
        by_status[get_status(RequestStatus(status))] += count
    paused = any(pause.name == PROVIDER_NAME for pause in find_pauses(connection))
    return {status.value: by_status[status] for status in NotificationStatus} | {"paused": paused}


def _sum_counts(counts: Collection[Counts], attention: Iterable[Attention]) -> dict[str, Any]:
    attention_totals = _sum_attention(attention)
    return {
        "requests": _sum_by_status(provider_counts.requests for provider_counts in counts),
        "jobs": _sum_by_status(provider_counts.jobs for provider_counts in counts),
        "disputed": attention_totals["disputed"],
        "unmatched": attention_totals["unmatched"],
        "attention": attention_totals,
    }


def _sum_attention(attention: Iterable[Attention]) -> Mapping[str, int]:
    rows = list(attention)
    return {kind: sum(getattr(row, kind) for row in rows) for kind in ATTENTION_KINDS}


def _sum_by_status(counts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    total: Counter[str] = Counter()
    for by_status in counts:
        total.update(by_status)
    return total


def _select_names(names: Iterable[str], providers: Collection[str] | None) -> list[str]:
    """Return those of `names` that the caller may access and that `providers` includes; None includes all."""
    can_access = current_caller().can_access
    return [name for name in names if can_access(name) and (providers is None or is_included(name, providers))]


def _perform_action(action: Callable[..., None], name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Pause or resume a provider with all its accounts, or one account; return the document of the first of them."""
    providers, subject = current_context().providers, join_account(name, body["account"])
    names = sorted(_select_names(providers, [subject]))
    if not names or not current_caller().can_access(subject):
        visible = [each for each in providers if current_caller().can_access(each)]
        raise ProblemError(ProblemType.NOT_FOUND, f"{_NOT_FOUND}{format_suggestion(subject, visible)}")
    with current_context().database.transaction() as connection:
        action(connection, subject, current_caller().name, body["reason"], names)
        return build_documents(connection, names[:1])[0]


def _configured_names() -> Collection[str]:
    """Return the names of everything that is configured to be sent to; `notify` needs no configuration of its own."""
    return {*current_context().providers, PROVIDER_NAME}


def _list_names(connection: Connection, providers: Collection[str] | None, after: str) -> list[str]:
    """Return the providers to list after a name: the configured ones, and those with data that needs attention."""
    configured = _configured_names()
    others = [name for name in _select_names(list_stored_providers(connection), providers) if name not in configured]
    attention = count_attention(connection, others, configured)
    listed = [name for name in others if attention[name].is_needed]
    listed += _select_names(current_context().providers, providers)
    return sorted(name for name in listed if name > after)


def _build_refusal(refusal: Refusal) -> Mapping[str, Any]:
    is_admin = current_caller().has_scope(Scope.ADMIN)
    return extend_fields(refusal, caller_address=refusal.caller_address if is_admin else None)


def _build_limits(provider: Provider | None, limits: ProviderLimits, now: datetime) -> Mapping[str, Any]:
    return {
        "circuit": limits.circuit(now),
        "held_until": limits.closed_until(now),
        "per_second": limits.per_second(provider.send_policy.limit_policy) if provider else limits.rate,
    }


def _build_state(pause: Pause | None, callback_stats: CallbackStats) -> Mapping[str, Any]:
    return {
        "paused": pause is not None,
        "paused_at": pause and pause.paused_at,
        "pause_reason": pause and pause.pause_reason,
        "pause_cause": pause and pause.pause_cause,
        "last_callback_at": callback_stats.last_callback_at,
        "missing_callback_rate": callback_stats.missing_rate,
    }


def _build_configuration(provider: Provider, last_used_at: Mapping[str, datetime]) -> Mapping[str, Any]:
    auth = provider.callbacks.settings.auth if provider.callbacks else None
    fingerprints = auth.fingerprints if auth else ()
    return {
        "configured": True,
        "operations": list(provider.operations),
        "callback_url": _get_callback_url(provider),
        "trust": auth and auth.trust,
        "proof": auth and auth.describe_trust(),
        "max_concurrency": provider.send_policy.max_concurrency,
        "max_per_second": provider.send_policy.max_per_second,
        "secrets": [
            {"fingerprint": fingerprint, "last_used_at": last_used_at.get(fingerprint)} for fingerprint in fingerprints
        ],
    }


def _get_callback_url(provider: Provider) -> str | None:
    """Return the URL to register; its token, with which anybody could forge callbacks, is shown to `admin` only."""
    if provider.callbacks is None:
        return None
    url = current_context().settings.callback_url(provider.name)
    if not current_caller().has_scope(Scope.ADMIN):
        for token in provider.callbacks.settings.auth.tokens:
            url = url.replace(token, _REDACTED)
    return url
