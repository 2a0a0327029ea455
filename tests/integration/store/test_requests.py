"""The list of requests: each match once, newest first, with any filters; and the search for due requests."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.sending import RequestStatus
from receiver.store.connections import Connection
from receiver.store.limits import ProviderCapacity
from receiver.store.providers import pause_providers
from receiver.store.requests import find_due_requests
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
    LONG_KEY,
    LONG_VALUE,
    METADATA_VALUES,
    OPERATIONS,
    Rows,
    format_metadata_value,
    has_metadata,
    request_matches,
    sort_newest_first,
)
from tests.support.lists import list_requests


@SEARCH_SETTINGS
@given(
    filters=choose_filters(
        status=st.sampled_from([*RequestStatus]),
        providers=PROVIDERS_STRATEGY,
        operation=st.sampled_from([*OPERATIONS, "other"]),
        reference_conflict=st.booleans(),
        created_from=TIME_STRATEGY,
        created_to=TIME_STRATEGY,
        metadata=st.fixed_dictionaries(
            {},
            optional={
                key: st.sampled_from([format_metadata_value(value) or json.dumps(value) for value in values])
                for key, values in METADATA_VALUES.items()
            },
        ),
    ),
    pages=st.integers(1, MAX_PAGES),
)
def test_request_list_returns_each_match_once_newest_first(rows: Rows, filters: dict[str, Any], pages: int) -> None:
    expected = sort_newest_first(
        [request for request in rows.requests if request_matches(request, filters)], lambda request: request.created_at
    )
    limit = compute_limit(expected, pages)
    assert fetch_all(partial(list_requests, rows.connection), limit, **filters) == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"order": "1"}, {1, "1"}),
        ({"order": "9007199254740992"}, {2**53}),
        ({"order": "-7"}, {-7}),
        ({"order": "01"}, set()),
        ({"rate": "1.5"}, {1.5, "1.5"}),
        ({"vip": "true"}, {True, "true"}),
        ({"vip": "null"}, set()),
        ({"note": ""}, {""}),
        ({"note": "v" * 500}, {"v" * 500}),
        ({"note": LONG_VALUE}, set()),
        ({"tags": '["a"]'}, {'["a"]'}),
        ({"a.b": "dotted"}, {"dotted"}),
        ({LONG_KEY: "under a long key"}, set()),
        ({"vip": "true", "order": "1"}, {True, "true"}),
        ({"tags": '["a"]', "order": "1"}, {'["a"]'}),
        ({"order": "1", "tags": '["a"]', "note": LONG_VALUE}, set()),
    ],
)
def test_metadata_filter_compares_values_as_text(rows: Rows, metadata: dict[str, str], expected: set[Any]) -> None:
    key = next(iter(metadata))
    page = list_requests(rows.connection, metadata=metadata, limit=500)
    assert {request.metadata[key] for request in page.items} == expected
    assert all(has_metadata(request.metadata, metadata) for request in page.items)


def test_likely_due_requests_are_not_looked_for(connection: Connection) -> None:
    looked_for, likely_due = ProviderCapacity("sandbox", 1), ProviderCapacity("sandbox", 1, likely_due=True)
    assert find_due_requests(connection, [looked_for]) == {}
    assert find_due_requests(connection, [likely_due]) == {"sandbox": False}
    pause_providers(connection, ["sandbox"], "maintenance")
    assert find_due_requests(connection, [likely_due]) == {}
