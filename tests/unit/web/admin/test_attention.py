"""What needs attention: items with their numbers, places and lists."""

from typing import Any

from receiver.store.stats import ATTENTION_KINDS
from receiver.web.admin.attention import get_full_name, list_attention, list_provider_attention

NOTHING = dict.fromkeys(ATTENTION_KINDS, 0)


def build_stats(notifications: dict[str, Any] | None = None, **providers: dict[str, int]) -> dict[str, Any]:
    documents: list[dict[str, Any]] = [
        {"name": name, "account": None, "attention": NOTHING | attention} for name, attention in providers.items()
    ]
    totals = {kind: sum(document["attention"][kind] for document in documents) for kind in ATTENTION_KINDS}
    return {"attention": totals, "notifications": notifications, "providers": documents}


def test_nothing_is_listed_if_nothing_needs_attention() -> None:
    stats = build_stats({"queued": 5, "failed": 0, "paused": False}, acme={})
    assert list_attention(stats, [], []) == []
    assert list_attention(build_stats(None), [], []) == []


def test_each_kind_is_listed_with_its_providers() -> None:
    every_kind = dict.fromkeys(ATTENTION_KINDS, 2)
    items = list_attention(build_stats(None, a=every_kind, b=every_kind, c=every_kind, d=every_kind, e={}), [], [])
    assert len(items) == len(ATTENTION_KINDS)
    assert len({(item.endpoint, *item.query.items()) for item in items}) == len(items)
    assert {(item.count, *item.places, item.other_places) for item in items} == {(8, "a", "b", "c", 1)}


def test_single_row_is_in_the_singular() -> None:
    [item] = list_attention(build_stats(None, acme={"unmatched": 1}), [], [])
    assert (item.count, item.text) == (1, "job has no known request")


def test_paused_and_failing_providers_come_first() -> None:
    stats = build_stats(None, acme={"unknown": 1}, globex={})
    items = list_attention(stats, ["globex"], ["acme", "globex"])
    assert [(item.endpoint, item.query, item.count) for item in items] == [
        ("admin.show_provider", {"name": "globex"}, 1),
        ("admin.list_providers", {}, 2),
        ("admin.list_requests", {"status": "unknown"}, 1),
    ]


def test_notifications_need_attention() -> None:
    items = list_attention(build_stats({"queued": 0, "failed": 3, "paused": True}), [], [])
    assert [(item.count, item.query) for item in items] == [(0, {"status": "queued"}), (3, {"status": "failed"})]


def test_lists_of_one_provider_are_filtered() -> None:
    attention = NOTHING | {"refused": 2}
    [item] = list_provider_attention("acme/north", attention)
    assert item.query == {"verdict": "refused", "provider": "acme", "account": "north"}
    [item] = list_provider_attention("acme", attention)
    assert item.query == {"verdict": "refused", "provider": "acme"}


def test_name_includes_the_account() -> None:
    assert get_full_name({"name": "acme", "account": "north"}) == "acme/north"
    assert get_full_name({"name": "acme", "account": None}) == "acme"
