"""The list of callbacks: each match once, newest first, with any filters."""

from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.store.callbacks import Verdict
from tests.support.list_search import (
    MAX_PAGES,
    PROVIDERS_STRATEGY,
    SEARCH_SETTINGS,
    TIME_STRATEGY,
    choose_filters,
    compute_limit,
    fetch_all,
)
from tests.support.listed import (
    Rows,
    callback_matches,
    sort_newest_first,
)
from tests.support.lists import list_callbacks


@SEARCH_SETTINGS
@given(
    filters=choose_filters(
        verdict=st.sampled_from([*Verdict]),
        providers=PROVIDERS_STRATEGY,
        received_from=TIME_STRATEGY,
        received_to=TIME_STRATEGY,
    ),
    pages=st.integers(1, MAX_PAGES),
)
def test_callback_list_returns_each_match_once_newest_first(rows: Rows, filters: dict[str, Any], pages: int) -> None:
    expected = sort_newest_first(
        [callback for callback in rows.callbacks if callback_matches(callback, filters)],
        lambda callback: callback.received_at,
    )
    limit = compute_limit(expected, pages)
    assert fetch_all(partial(list_callbacks, rows.connection), limit, **filters) == expected
