"""Searches of lists with any filters, and the pages of a list."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st

from receiver.domain.paging import Cursor, Page
from tests.support.listed import (
    PROVIDER_NAMES,
    TIMES,
    Item,
)

MAX_PAGES = 8
TIME_STRATEGY = st.sampled_from(TIMES)
PROVIDERS_STRATEGY = st.lists(st.sampled_from([*PROVIDER_NAMES, "nobody"]), unique=True)
SEARCH_SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)


def fetch_all(fetch_page: Callable[..., Page[Item]], limit: int, **filters: Any) -> list[Item]:
    """Fetch all pages of a list. No item may appear twice, and every page but the last must be full."""
    items: dict[UUID, Item] = {}
    cursor: Cursor | None = None
    while True:
        page = fetch_page(**filters, cursor=cursor, limit=limit)
        new_items = {item.id: item for item in page.items}
        assert items.keys().isdisjoint(new_items)
        items |= new_items
        if page.next_cursor is None:
            assert len(page.items) == len(new_items) <= limit
            return list(items.values())
        assert len(page.items) == len(new_items) == limit
        cursor = Cursor.parse(str(page.next_cursor))


def choose_filters(**filters: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for at most three of these filters."""
    names = st.lists(st.sampled_from(sorted(filters)), unique=True, max_size=3)
    return names.flatmap(lambda selection: st.fixed_dictionaries({name: filters[name] for name in selection}))


def compute_limit(expected: Sequence[object], pages: int) -> int:
    """Return the limit with which a list has about this number of pages."""
    return max(len(expected) // pages, 1)
