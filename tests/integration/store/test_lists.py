"""Filters that several lists have in common: ranges of time, and providers."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.listed import (
    TIMES,
    Rows,
)
from tests.support.lists import list_callbacks, list_jobs, list_requests


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
    request_queries: list[dict[str, Any]] = [
        {},
        {"operation": "send"},
        {"reference_conflict": True},
        {"metadata": {"vip": "true"}},
    ]
    requests = [
        request
        for query in request_queries
        for request in list_requests(rows.connection, providers=providers, **query, limit=500).items
    ]
    callbacks = list_callbacks(rows.connection, providers=providers, limit=500).items
    for items in (jobs, requests, callbacks):
        assert {item.provider for item in items} <= set(providers)
        assert bool(items) is bool(providers)
