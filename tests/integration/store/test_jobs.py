"""The list of jobs: each match once, newest first, with any filters; and the leases of polls."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.jobs import Job, claim_polls
from receiver.store.limits import ProviderCapacity
from tests.support.factories import NOON, event, provider
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
    REQUEST_IDS,
    ROW_COUNT,
    TIMES,
    Rows,
    copy_rows,
    job_matches,
    sort_newest_first,
)
from tests.support.lists import list_jobs

job_filters: Mapping[str, st.SearchStrategy[Any]] = {
    "status": st.sampled_from([*JobStatus]),
    "providers": PROVIDERS_STRATEGY,
    "disputed": st.booleans(),
    "unmatched": st.booleans(),
    "accepted_from": TIME_STRATEGY,
    "accepted_to": TIME_STRATEGY,
    "finished_from": TIME_STRATEGY,
    "finished_to": TIME_STRATEGY,
}
selectors = st.one_of(
    st.sampled_from(REQUEST_IDS).map(lambda request_id: {"request_id": request_id}),
    st.integers(0, ROW_COUNT // 3).map(lambda number: {"reference": f"ref-{number}"}),
)


@SEARCH_SETTINGS
@given(filters=choose_filters(**job_filters), pages=st.integers(1, MAX_PAGES))
def test_job_list_returns_each_match_once_newest_first(rows: Rows, filters: dict[str, Any], pages: int) -> None:
    assert_list_jobs_matches(rows, filters, pages)


@SEARCH_SETTINGS
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


@pytest.mark.parametrize(
    ("limit", "item_count", "has_next"),
    [(1, 1, True), (9, 9, True), (10, 10, False), (11, 10, False), (500, 10, False)],
)
def test_page_has_cursor_only_if_more_items_exist(
    connection: Connection, limit: int, item_count: int, *, has_next: bool
) -> None:
    jobs = [
        Job(
            derive_job_id("acme", str(number)),
            "acme",
            str(number),
            None,
            JobStatus.ACCEPTED,
            False,
            NOON,
            None,
            NOON,
            True,
        )
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


def test_polls_are_leased_for_their_providers_seconds(connection: Connection) -> None:
    leases = {"fast": 10.0, "slow": 1_000.0}
    reconcile(connection, [event(status=JobStatus.ACCEPTED, actor=provider(name=name)) for name in leases])
    connection.execute("UPDATE jobs SET poll_at = now()")
    assert len(claim_polls(connection, [ProviderCapacity(name, 1) for name in leases], {}, leases)) == 2
    rows = connection.execute("SELECT provider, extract(epoch FROM poll_at - now()) FROM jobs").fetchall()
    assert {name: round(float(seconds), -1) for name, seconds in rows} == leases
