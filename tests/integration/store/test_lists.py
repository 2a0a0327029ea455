"""A client that follows a list's cursors gets each matching item exactly once, newest first, with any filters."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.devtools.scratch import scratch_database
from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.domain.paging import Cursor, Page
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import Verdict
from receiver.store.database import Connection
from receiver.store.jobs import Job
from receiver.store.keys import ApiKey
from tests.support.factories import NOON
from tests.support.listed import (
    LONG_KEY,
    LONG_VALUE,
    METADATA_VALUES,
    OPERATIONS,
    PROVIDER_NAMES,
    REQUEST_IDS,
    ROW_COUNT,
    TIMES,
    Item,
    Rows,
    callback_matches,
    copy_rows,
    format_metadata_value,
    has_metadata,
    job_matches,
    request_matches,
    sort_newest_first,
    store_rows,
)
from tests.support.lists import list_callbacks, list_jobs, list_keys, list_requests

MAX_PAGES = 8


@pytest.fixture(scope="module")
def rows(server: str, template: str) -> Iterator[Rows]:
    with scratch_database(server, template=template) as dsn, store_rows(dsn) as rows:
        yield rows


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


times = st.sampled_from(TIMES)
providers = st.lists(st.sampled_from([*PROVIDER_NAMES, "nobody"]), unique=True)
search_settings = settings(max_examples=50, deadline=None, derandomize=True)


def choose_filters(**filters: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for at most three of these filters."""
    names = st.lists(st.sampled_from(sorted(filters)), unique=True, max_size=3)
    return names.flatmap(lambda selection: st.fixed_dictionaries({name: filters[name] for name in selection}))


def compute_limit(expected: Sequence[object], pages: int) -> int:
    """Return the limit with which a list has about this number of pages."""
    return max(len(expected) // pages, 1)


job_filters: Mapping[str, st.SearchStrategy[Any]] = {
    "status": st.sampled_from([*JobStatus]),
    "providers": providers,
    "disputed": st.booleans(),
    "unmatched": st.booleans(),
    "accepted_from": times,
    "accepted_to": times,
    "finished_from": times,
    "finished_to": times,
}
selectors = st.one_of(
    st.sampled_from(REQUEST_IDS).map(lambda request_id: {"request_id": request_id}),
    st.integers(0, ROW_COUNT // 3).map(lambda number: {"reference": f"ref-{number}"}),
)


@search_settings
@given(filters=choose_filters(**job_filters), pages=st.integers(1, MAX_PAGES))
def test_job_list_returns_each_match_once_newest_first(rows: Rows, filters: dict[str, Any], pages: int) -> None:
    assert_list_jobs_matches(rows, filters, pages)


@search_settings
@given(selector=selectors, filters=choose_filters(**job_filters), pages=st.integers(1, MAX_PAGES))
def test_job_list_by_request_or_reference_returns_each_match_once(
    rows: Rows, selector: dict[str, Any], filters: dict[str, Any], pages: int
) -> None:
    assert_list_jobs_matches(rows, selector | filters, pages)


def assert_list_jobs_matches(rows: Rows, filters: dict[str, Any], pages: int) -> None:
    by_finished_at = not filters.keys().isdisjoint({"finished_from", "finished_to"})
    expected = sort_newest_first(
        [job for job in rows.jobs if job_matches(job, filters)],
        lambda job: job.finished_at if by_finished_at else job.accepted_at,
    )
    limit = compute_limit(expected, pages)
    assert fetch_all(partial(list_jobs, rows.connection), limit, **filters) == expected


@search_settings
@given(
    filters=choose_filters(
        status=st.sampled_from([*RequestStatus]),
        providers=providers,
        operation=st.sampled_from([*OPERATIONS, "other"]),
        created_from=times,
        created_to=times,
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


@search_settings
@given(
    filters=choose_filters(
        verdict=st.sampled_from([*Verdict]), providers=providers, received_from=times, received_to=times
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


def test_key_list_returns_each_key_once_newest_first(connection: Connection) -> None:
    connection.execute(
        b"""INSERT INTO api_keys (id, client, name, hash, prefix, scopes, per_minute, created_at)
        SELECT gen_random_uuid(), 'shop', 'key', n::text::bytea, 'rcv_', '{read}', 1, %s + n / 3 * interval '1 s'
        FROM generate_series(1, 100) AS n""",
        [NOON],
    )
    all_keys: list[ApiKey] = fetch_all(partial(list_keys, connection), 500)
    assert all_keys == sort_newest_first(all_keys, lambda key: key.created_at)
    assert len({key.id for key in all_keys}) == 100
    for limit in (1, 7, 99, 100):
        assert fetch_all(partial(list_keys, connection), limit) == all_keys


@pytest.mark.parametrize(
    ("limit", "item_count", "has_next"),
    [(1, 1, True), (9, 9, True), (10, 10, False), (11, 10, False), (500, 10, False)],
)
def test_page_has_cursor_only_if_more_items_exist(
    connection: Connection, limit: int, item_count: int, *, has_next: bool
) -> None:
    jobs = [
        Job(derive_job_id("acme", str(number)), "acme", str(number), None, JobStatus.ACCEPTED, False, NOON, None, NOON)
        for number in range(10)
    ]
    copy_rows(
        connection,
        b"""COPY jobs (id, provider, reference, status, precedence, accepted_at, deadline_at, decided_at, decided_by)
        FROM STDIN""",
        [(job.id, job.provider, job.reference, job.status, 10, NOON, NOON, NOON, job.id) for job in jobs],
    )
    page = list_jobs(connection, limit=limit)
    assert list(page.items) == sort_newest_first(jobs, lambda job: job.accepted_at)[:item_count]
    assert (page.next_cursor is not None) is has_next


def test_time_range_includes_start_and_excludes_end(rows: Rows) -> None:
    since, until = TIMES[30], TIMES[31]
    assert until - since == timedelta(microseconds=1)
    jobs = list_jobs(rows.connection, accepted_from=since, accepted_to=until, limit=500).items
    finished_jobs = list_jobs(rows.connection, finished_from=since, finished_to=until, limit=500).items
    requests = list_requests(rows.connection, created_from=since, created_to=until, limit=500).items
    callbacks = list_callbacks(rows.connection, received_from=since, received_to=until, limit=500).items
    assert {job.accepted_at for job in jobs} == {since}
    assert {job.finished_at for job in finished_jobs} == {since}
    assert {request.created_at for request in requests} == {since}
    assert {callback.received_at for callback in callbacks} == {since}
    assert list_jobs(rows.connection, accepted_from=since, accepted_to=since).items == []


def test_time_range_applies_to_jobs_by_reference_or_request(rows: Rows) -> None:
    job = next(job for job in rows.jobs if job.finished_at and job.request_id)
    accepted_at, finished_at = job.accepted_at, job.finished_at
    for name in ("reference", "request_id"):
        selector: dict[str, Any] = {name: getattr(job, name), "providers": [job.provider], "limit": 500}
        assert job in list_jobs(rows.connection, **selector, accepted_from=accepted_at).items
        assert job in list_jobs(rows.connection, **selector, finished_from=finished_at).items
        assert job not in list_jobs(rows.connection, **selector, accepted_to=accepted_at).items
        assert job not in list_jobs(rows.connection, **selector, finished_to=finished_at).items


def test_finish_range_excludes_open_jobs(rows: Rows) -> None:
    finished_jobs = fetch_all(partial(list_jobs, rows.connection), 500, finished_to=TIMES[-1] + timedelta(days=1))
    assert {job.id for job in finished_jobs} == {job.id for job in rows.jobs if job.finished_at}
    assert list_jobs(rows.connection, status=JobStatus.ACCEPTED, finished_from=TIMES[0]).items == []


def test_job_is_found_by_reference_for_any_provider(rows: Rows) -> None:
    job = next(job for job in rows.jobs if job.provider == "long-gone")
    jobs = list_jobs(rows.connection, reference=job.reference).items
    assert job in jobs
    assert {item.reference for item in jobs} == {job.reference}
    assert list_jobs(rows.connection, reference=job.reference, providers=["long-gone"]).items == [job]


@pytest.mark.parametrize("providers", [[], ["acme"], ["acme", "long-gone"]])
def test_provider_filter_hides_other_providers_with_any_filter(rows: Rows, providers: list[str]) -> None:
    hidden_job = next(job for job in rows.jobs if job.provider == "sandbox" and job.request_id)
    job_queries: list[dict[str, Any]] = [
        {},
        {"reference": hidden_job.reference},
        {"request_id": hidden_job.request_id},
        {"finished_from": TIMES[0]},
        {"unmatched": True},
    ]
    jobs = [
        job
        for query in job_queries
        for job in list_jobs(rows.connection, providers=providers, **query, limit=500).items
    ]
    request_queries: list[dict[str, Any]] = [{}, {"operation": "send"}, {"metadata": {"vip": "true"}}]
    requests = [
        request
        for query in request_queries
        for request in list_requests(rows.connection, providers=providers, **query, limit=500).items
    ]
    callbacks = list_callbacks(rows.connection, providers=providers, limit=500).items
    for items in (jobs, requests, callbacks):
        assert {item.provider for item in items} <= set(providers)
        assert bool(items) is bool(providers)


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
