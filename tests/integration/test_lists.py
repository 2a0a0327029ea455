"""Whoever follows a list's cursors sees each item that fits exactly once, newest first, whatever the filters."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.domain.paging import Cursor, Page
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import Verdict, list_callbacks
from receiver.store.database import Connection
from receiver.store.jobs import Job, list_jobs
from receiver.store.keys import ApiKey, list_keys
from receiver.store.requests import list_requests
from receiver.store.scratch import scratch_database
from tests.factories import NOON
from tests.listed import (
    LONG_KEY,
    MANY,
    NAMES,
    OPERATIONS,
    REQUEST_IDS,
    TIMES,
    TOO_LONG,
    VALUES,
    Item,
    Rows,
    callback_fits,
    copy_in,
    having,
    job_fits,
    newest_first,
    request_fits,
    stored_rows,
    text_of,
)

MOST_PAGES = 8


@pytest.fixture(scope="module")
def rows(server: str, template: str) -> Iterator[Rows]:
    with scratch_database(server, template=template) as dsn, stored_rows(dsn) as stored:
        yield stored


def followed(give: Callable[..., Page[Item]], limit: int, **filters: Any) -> list[Item]:
    """Follow a list from its first page to its last; each page but the last must be full and bring what is new."""
    found: dict[UUID, Item] = {}
    cursor: Cursor | None = None
    while True:
        page = give(**filters, cursor=cursor, limit=limit)
        new = {item.id: item for item in page.items}
        assert found.keys().isdisjoint(new)
        found |= new
        if page.next_cursor is None:
            assert len(page.items) == len(new) <= limit
            return list(found.values())
        assert len(page.items) == len(new) == limit
        cursor = Cursor.of(str(page.next_cursor))


times = st.sampled_from(TIMES)
providers = st.lists(st.sampled_from([*NAMES, "of-nobody"]), unique=True)
searches = settings(max_examples=50, deadline=None, derandomize=True)


def some_of(**filters: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Give any few of these filters."""
    names = st.lists(st.sampled_from(sorted(filters)), unique=True, max_size=3)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: filters[name] for name in chosen}))


def pages_of(expected: Sequence[object], pages: int) -> int:
    """Give a limit with which a list has about so many pages."""
    return max(len(expected) // pages, 1)


of_jobs: Mapping[str, st.SearchStrategy[Any]] = {
    "status": st.sampled_from([*JobStatus]),
    "providers": providers,
    "disputed": st.booleans(),
    "unmatched": st.booleans(),
    "accepted_from": times,
    "accepted_to": times,
    "finished_from": times,
    "finished_to": times,
}
naming = st.one_of(
    st.sampled_from(REQUEST_IDS).map(lambda request_id: {"request_id": request_id}),
    st.integers(0, MANY // 3).map(lambda number: {"reference": f"ref-{number}"}),
)


@searches
@given(filters=some_of(**of_jobs), pages=st.integers(1, MOST_PAGES))
def test_jobs_are_listed_once_each_newest_first(rows: Rows, filters: dict[str, Any], pages: int) -> None:
    assert_jobs_are_listed(rows, filters, pages)


@searches
@given(named=naming, filters=some_of(**of_jobs), pages=st.integers(1, MOST_PAGES))
def test_jobs_of_a_request_or_a_reference_are_listed_once_each_newest_first(
    rows: Rows, named: dict[str, Any], filters: dict[str, Any], pages: int
) -> None:
    assert_jobs_are_listed(rows, named | filters, pages)


def assert_jobs_are_listed(rows: Rows, filters: dict[str, Any], pages: int) -> None:
    by_end = not filters.keys().isdisjoint({"finished_from", "finished_to"})
    expected = newest_first(
        [job for job in rows.jobs if job_fits(job, filters)],
        lambda job: job.finished_at if by_end else job.accepted_at,
    )
    limit = pages_of(expected, pages)
    assert followed(lambda **given: list_jobs(rows.connection, **given), limit, **filters) == expected


@searches
@given(
    filters=some_of(
        status=st.sampled_from([*RequestStatus]),
        providers=providers,
        operation=st.sampled_from([*OPERATIONS, "unheard of"]),
        created_from=times,
        created_to=times,
        metadata=st.fixed_dictionaries(
            {},
            optional={
                key: st.sampled_from([text_of(value) or json.dumps(value) for value in values])
                for key, values in VALUES.items()
            },
        ),
    ),
    pages=st.integers(1, MOST_PAGES),
)
def test_requests_are_listed_once_each_newest_first(rows: Rows, filters: dict[str, Any], pages: int) -> None:
    expected = newest_first(
        [request for request in rows.requests if request_fits(request, filters)], lambda request: request.created_at
    )
    limit = pages_of(expected, pages)
    assert followed(lambda **given: list_requests(rows.connection, **given), limit, **filters) == expected


@searches
@given(
    filters=some_of(verdict=st.sampled_from([*Verdict]), providers=providers, received_from=times, received_to=times),
    pages=st.integers(1, MOST_PAGES),
)
def test_callbacks_are_listed_once_each_newest_first(rows: Rows, filters: dict[str, Any], pages: int) -> None:
    expected = newest_first(
        [callback for callback in rows.callbacks if callback_fits(callback, filters)], lambda one: one.received_at
    )
    limit = pages_of(expected, pages)
    assert followed(lambda **given: list_callbacks(rows.connection, **given), limit, **filters) == expected


def test_keys_are_listed_once_each_newest_first(connection: Connection) -> None:
    connection.execute(
        b"""INSERT INTO api_keys (id, client, name, hash, prefix, scopes, per_minute, created_at)
        SELECT gen_random_uuid(), 'shop', 'key', n::text::bytea, 'rcv_', '{read}', 1, %s + n / 3 * interval '1 s'
        FROM generate_series(1, 100) AS n""",
        [NOON],
    )
    all_keys: list[ApiKey] = followed(lambda **given: list_keys(connection, **given), 500)
    assert all_keys == newest_first(all_keys, lambda key: key.created_at)
    assert len({key.id for key in all_keys}) == 100
    for limit in (1, 7, 99, 100):
        assert followed(lambda **given: list_keys(connection, **given), limit) == all_keys


@pytest.mark.parametrize(
    ("limit", "items", "goes_on"), [(1, 1, True), (9, 9, True), (10, 10, False), (11, 10, False), (500, 10, False)]
)
def test_a_page_goes_on_only_if_there_is_more(connection: Connection, limit: int, items: int, *, goes_on: bool) -> None:
    stored = [
        Job(derive_job_id("acme", str(number)), "acme", str(number), None, JobStatus.ACCEPTED, False, NOON, None, NOON)
        for number in range(10)
    ]
    copy_in(
        connection,
        b"""COPY jobs (id, provider, reference, status, precedence, accepted_at, deadline_at, decided_at, decided_by)
        FROM STDIN""",
        [(job.id, job.provider, job.reference, job.status, 10, NOON, NOON, NOON, job.id) for job in stored],
    )
    page = list_jobs(connection, limit=limit)
    assert list(page.items) == newest_first(stored, lambda job: job.accepted_at)[:items]
    assert (page.next_cursor is not None) is goes_on


def test_a_span_of_time_begins_at_its_first_moment_and_ends_before_its_last(rows: Rows) -> None:
    since, until = TIMES[30], TIMES[31]
    assert until - since == timedelta(microseconds=1)
    jobs = list_jobs(rows.connection, accepted_from=since, accepted_to=until, limit=500).items
    ended = list_jobs(rows.connection, finished_from=since, finished_to=until, limit=500).items
    requests = list_requests(rows.connection, created_from=since, created_to=until, limit=500).items
    callbacks = list_callbacks(rows.connection, received_from=since, received_to=until, limit=500).items
    assert {job.accepted_at for job in jobs} == {since}
    assert {job.finished_at for job in ended} == {since}
    assert {request.created_at for request in requests} == {since}
    assert {callback.received_at for callback in callbacks} == {since}
    assert list_jobs(rows.connection, accepted_from=since, accepted_to=since).items == []


def test_a_job_that_is_named_is_in_a_span_that_begins_with_it_and_in_none_that_ends_with_it(rows: Rows) -> None:
    job = next(job for job in rows.jobs if job.finished_at and job.request_id)
    at, ended = job.accepted_at, job.finished_at
    for name in ("reference", "request_id"):
        naming: dict[str, Any] = {name: getattr(job, name), "providers": [job.provider], "limit": 500}
        assert job in list_jobs(rows.connection, **naming, accepted_from=at).items
        assert job in list_jobs(rows.connection, **naming, finished_from=ended).items
        assert job not in list_jobs(rows.connection, **naming, accepted_to=at).items
        assert job not in list_jobs(rows.connection, **naming, finished_to=ended).items


def test_what_has_not_ended_is_in_no_span_of_ends(rows: Rows) -> None:
    ended = followed(
        lambda **given: list_jobs(rows.connection, **given), 500, finished_to=TIMES[-1] + timedelta(days=1)
    )
    assert {job.id for job in ended} == {job.id for job in rows.jobs if job.finished_at}
    assert list_jobs(rows.connection, status=JobStatus.ACCEPTED, finished_from=TIMES[0]).items == []


def test_a_job_is_found_by_its_reference_whoever_its_provider_is(rows: Rows) -> None:
    gone = next(job for job in rows.jobs if job.provider == "long-gone")
    found = list_jobs(rows.connection, reference=gone.reference).items
    assert gone in found
    assert {job.reference for job in found} == {gone.reference}
    assert list_jobs(rows.connection, reference=gone.reference, providers=["long-gone"]).items == [gone]


@pytest.mark.parametrize("bound", [[], ["acme"], ["acme", "long-gone"]])
def test_who_is_bound_to_providers_sees_nothing_of_others_by_any_filter(rows: Rows, bound: list[str]) -> None:
    theirs = next(job for job in rows.jobs if job.provider == "sandbox" and job.request_id)
    filters: list[dict[str, Any]] = [
        {},
        {"reference": theirs.reference},
        {"request_id": theirs.request_id},
        {"finished_from": TIMES[0]},
        {"unmatched": True},
    ]
    jobs = [job for each in filters for job in list_jobs(rows.connection, providers=bound, **each, limit=500).items]
    queries: list[dict[str, Any]] = [{}, {"operation": "send"}, {"metadata": {"vip": "true"}}]
    requests = [
        one for each in queries for one in list_requests(rows.connection, providers=bound, **each, limit=500).items
    ]
    callbacks = list_callbacks(rows.connection, providers=bound, limit=500).items
    for seen in (jobs, requests, callbacks):
        assert {one.provider for one in seen} <= set(bound)
        assert bool(seen) is bool(bound)


@pytest.mark.parametrize(
    ("wanted", "found"),
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
        ({"note": TOO_LONG}, set()),
        ({"tags": '["a"]'}, {'["a"]'}),
        ({"a.b": "dotted"}, {"dotted"}),
        ({LONG_KEY: "under a long key"}, set()),
        ({"vip": "true", "order": "1"}, {True, "true"}),
        ({"tags": '["a"]', "order": "1"}, {'["a"]'}),
        ({"order": "1", "tags": '["a"]', "note": TOO_LONG}, set()),
    ],
)
def test_metadata_is_compared_by_the_text_of_its_values(rows: Rows, wanted: dict[str, str], found: set[Any]) -> None:
    key = next(iter(wanted))
    page = list_requests(rows.connection, metadata=wanted, limit=500)
    assert {request.metadata[key] for request in page.items} == found
    assert all(having(request.metadata, wanted) for request in page.items)
