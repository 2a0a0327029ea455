"""What needs attention: how much of which kind, at which providers, and the list that shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.domain.accounts import join_account

_MAX_NAMES = 3


@dataclass(frozen=True, slots=True)
class AttentionItem:
    """Something that needs attention.

    Attributes:
        count: how many there are.
        text: what they are.
        endpoint: the page with the list of them.
        query: the filters of the list, or the variables of the page's path.
        places: the providers concerned, the first of them by name.
        other_places: the number of further providers.
    """

    count: int
    text: str
    endpoint: str
    query: Mapping[str, str]
    places: Sequence[str] = ()
    other_places: int = 0


# The kinds of `receiver.store.stats.ATTENTION_KINDS`, those that a person must settle first.
_KINDS: Mapping[str, tuple[str, str, str, Mapping[str, str]]] = {
    "unknown": (
        "request may or may not have been acted on",
        "requests may or may not have been acted on",
        "admin.list_requests",
        {"status": "unknown"},
    ),
    "disputed": (
        "job has contradicting final statuses",
        "jobs have contradicting final statuses",
        "admin.list_jobs",
        {"disputed": "true"},
    ),
    "reference_conflict": (
        "request has the reference of another request's job",
        "requests have the reference of another request's job",
        "admin.list_requests",
        {"reference_conflict": "true"},
    ),
    "unresolved": (
        "job has no final status at its deadline",
        "jobs have no final status at their deadline",
        "admin.list_jobs",
        {"status": "unresolved"},
    ),
    "unmatched": (
        "job has no known request",
        "jobs have no known request",
        "admin.list_jobs",
        {"unmatched": "true"},
    ),
    "unmapped": (
        "callback has a status that is not mapped",
        "callbacks have a status that is not mapped",
        "admin.list_callbacks",
        {"verdict": "unmapped"},
    ),
    "invalid": (
        "callback cannot be read",
        "callbacks cannot be read",
        "admin.list_callbacks",
        {"verdict": "invalid"},
    ),
    "refused": (
        "callback was refused in the last day and not accepted since",
        "callbacks were refused in the last day and not accepted since",
        "admin.list_callbacks",
        {"verdict": "refused"},
    ),
    "unconfigured": (
        "request or job waits for a removed provider",
        "requests and jobs wait for removed providers",
        "admin.list_providers",
        {},
    ),
}


def list_attention(stats: Mapping[str, Any], paused: Sequence[str], failing: Sequence[str]) -> list[AttentionItem]:
    """Return what needs attention in the statistics of the API, without what there is none of.

    Args:
        stats: the document of `show_stats`.
        paused: the names of the paused providers.
        failing: the names of the providers whose circuits are not closed.
    """
    items = _list_providers(paused, "provider is paused", "providers are paused")
    items += _list_providers(
        failing, "provider does not work: its circuit is open", "providers do not work: their circuits are open"
    )
    notifications = stats["notifications"] or {}
    if notifications.get("paused"):
        text = "notifications wait: sending them is paused"
        items.append(AttentionItem(notifications["queued"], text, "admin.list_notifications", {"status": "queued"}))
    for kind in _KINDS:
        names = [get_full_name(provider) for provider in stats["providers"] if provider["attention"][kind]]
        items += _list_kind(kind, stats["attention"][kind], names)
    failed = notifications.get("failed", 0)
    if failed:
        text = "notification was never accepted" if failed == 1 else "notifications were never accepted"
        items.append(AttentionItem(failed, text, "admin.list_notifications", {"status": "failed"}))
    return items


def list_provider_attention(name: str, attention: Mapping[str, int]) -> list[AttentionItem]:
    """Return what needs attention at one provider; the lists show only that provider."""
    provider, _, account = name.partition("/")
    filters = {"provider": provider} | ({"account": account} if account else {})
    items = [item for kind in _KINDS for item in _list_kind(kind, attention[kind], [])]
    return [AttentionItem(item.count, item.text, item.endpoint, {**item.query, **filters}) for item in items]


def get_full_name(document: Mapping[str, Any]) -> str:
    """Return the name of a provider with its account, from a document of the API."""
    return join_account(document["name"], document["account"])


def _list_providers(names: Sequence[str], one: str, many: str) -> list[AttentionItem]:
    if not names:
        return []
    if len(names) == 1:
        return [_build_item(1, one, "admin.show_provider", {"name": names[0]}, names)]
    return [_build_item(len(names), many, "admin.list_providers", {}, names)]


def _list_kind(kind: str, count: int, names: Sequence[str]) -> list[AttentionItem]:
    one, many, endpoint, query = _KINDS[kind]
    return [_build_item(count, one if count == 1 else many, endpoint, query, names)] if count else []


def _build_item(count: int, text: str, endpoint: str, query: Mapping[str, str], names: Sequence[str]) -> AttentionItem:
    return AttentionItem(count, text, endpoint, query, names[:_MAX_NAMES], max(len(names) - _MAX_NAMES, 0))
