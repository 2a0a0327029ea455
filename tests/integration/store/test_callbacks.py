"""The list of callbacks: each match once, newest first, with any filters."""

from functools import partial
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from receiver.reconcile import reconcile
from receiver.store.callbacks import Deliveries, StoredCallback, Verdict, find_deliveries, save_refused
from receiver.store.connections import Connection
from tests.support.factories import NOON
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


def build_delivery(identity: UUID, verdict: Verdict, provider: str = "acme") -> StoredCallback:
    errors = {"id": ["missing"]} if verdict in {Verdict.INVALID, Verdict.REFUSED} else None
    return StoredCallback(
        uuid4(), identity, provider, NOON, verdict, "POST", f"/callbacks/{provider}", {}, b"{}", errors
    )


def test_deliveries_are_those_of_the_same_callback(connection: Connection) -> None:
    identity = uuid4()
    deliveries = [
        build_delivery(identity, verdict) for verdict in (Verdict.UNMAPPED, Verdict.ACCEPTED, Verdict.INVALID)
    ]
    duplicate, other = build_delivery(identity, Verdict.ACCEPTED), build_delivery(uuid4(), Verdict.ACCEPTED)
    refused = build_delivery(identity, Verdict.REFUSED)
    for callback in (*deliveries, duplicate, other):
        reconcile(connection, [], [callback])
    save_refused(connection, [refused], max_per_provider=9)
    expected = {callback.id for callback in (*deliveries, duplicate)}
    for callback in (*deliveries, duplicate):
        found = find_deliveries(connection, callback.id)
        assert found
        assert (found.provider, set(found.ids), len(found.ids)) == ("acme", expected, 4)
    for callback in (other, refused):
        assert find_deliveries(connection, callback.id) == Deliveries("acme", [callback.id])
    assert find_deliveries(connection, uuid4()) is None
