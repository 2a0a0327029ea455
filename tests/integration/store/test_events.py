"""Events in pages: the newest of a job with their effects, and those of a callback in the order of its body."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import EventSource, JobEvent, JobStatus, compute_effects, derive_job_id
from receiver.domain.paging import PageRequest, PositionCursor, ReceiptCursor
from receiver.reconcile import reconcile
from receiver.store.audit import find_audited_events
from receiver.store.connections import Connection
from receiver.store.events import find_callback_jobs, find_newest_events, list_callback_events
from tests.support.factories import event
from tests.support.plans import explain, record_statements

JOB = derive_job_id("sandbox", "ref-1")
EVENT_COUNT = 250
LIMITS = [1, 7, 100, EVENT_COUNT - 1, EVENT_COUNT, 500]
SOURCES = [source for source in EventSource if source is not EventSource.DEADLINE]
LARGE_COUNT = 4_000
INSERT_CALLBACK_EVENTS = f"""
    INSERT INTO events (job_id, key, source, status, precedence, received_at, position, callback_id)
    SELECT id, gen_random_uuid(), 'callback', 'succeeded', 40, now(), reference::integer,
        CASE WHEN reference::integer <= {LARGE_COUNT} THEN %s ELSE gen_random_uuid() END
    FROM jobs
"""
INSERT_JOBS = f"""
    INSERT INTO jobs (id, provider, reference, status, precedence, decided_at, decided_by, accepted_at, finished_at,
        deadline_at)
    SELECT gen_random_uuid(), 'sandbox', n::text, 'succeeded', 40, now(), gen_random_uuid(), now(), now(), now()
    FROM generate_series(1, {5 * LARGE_COUNT}) AS n
"""


def create_history(seed: int) -> list[JobEvent]:
    """Return random events of one job, many of which share their receive time and position."""
    rng = random.Random(seed)
    statuses = [*JobStatus, None] if seed % 2 else [JobStatus.ACCEPTED, JobStatus.IN_PROGRESS, None]
    return [
        event(
            "ref-1",
            rng.choice(statuses),
            source=rng.choice(SOURCES) if rng.random() < 0.1 else EventSource.CALLBACK,
            at=rng.randrange(EVENT_COUNT // 3),
            index=rng.randrange(3),
            superseding=rng.random() < 0.05,
            origin=UUID(int=rng.getrandbits(128)),
        )
        for _ in range(EVENT_COUNT)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_pages_of_job_have_the_effects_of_its_whole_history(connection: Connection, seed: int) -> None:
    reconcile(connection, [*create_history(seed), event("another", at=5)])
    stored = find_audited_events(connection, [JOB])[JOB]
    assert len(stored) == EVENT_COUNT
    expected = compute_effects(stored)
    for limit in LIMITS:
        walked: list[Any] = []
        page: PageRequest[ReceiptCursor] = PageRequest(limit=limit)
        while True:
            newest = find_newest_events(connection, [JOB], page)[JOB]
            assert 0 < len(newest.events) <= limit
            walked = compute_effects(newest.events, newest.preceding) + walked
            if newest.next_cursor is None:
                break
            page = PageRequest(ReceiptCursor.parse(str(newest.next_cursor)), limit)
        assert walked == expected


def test_newest_events_of_many_jobs_are_separate(connection: Connection) -> None:
    events = [event(f"ref-{job}", at=number, index=job) for job in (1, 2) for number in range(job * 3)]
    reconcile(connection, events)
    ids = [derive_job_id("sandbox", f"ref-{job}") for job in (1, 2, 3)]
    found = find_newest_events(connection, ids, PageRequest(limit=3))
    assert [[item.position for item in found[job_id].events] for job_id in ids] == [[1] * 3, [2] * 3, []]
    assert [found[job_id].next_cursor is None for job_id in ids] == [True, False, True]
    preceding = found[ids[1]].preceding
    assert preceding
    assert (preceding.job_id, preceding.received_at) == (ids[1], events[3].received_at)


def create_callback_events(delivery_ids: Sequence[UUID], count: int) -> list[JobEvent]:
    """Return events at positions of which some are shared; each delivery has a part of them."""
    return [
        replace(
            event(f"ref-{number // 2 % 7}"), position=number // 4, callback_id=delivery_ids[number % len(delivery_ids)]
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("limit", [1, 7, 60, 61, 500])
def test_pages_of_callback_have_each_event_once_in_order(connection: Connection, limit: int) -> None:
    deliveries = [uuid4() for _ in range(3)]
    events = create_callback_events(deliveries, 60)
    reconcile(connection, [*events, *create_callback_events([uuid4()], 9)])
    walked: list[JobEvent] = []
    page: PageRequest[PositionCursor] = PageRequest(limit=limit)
    while True:
        result = list_callback_events(connection, [*deliveries, uuid4()], page)
        walked += result.items
        if result.next_cursor is None:
            break
        assert len(result.items) == limit
        page = PageRequest(PositionCursor.parse(str(result.next_cursor)), limit)
    ordered = sorted(events, key=lambda item: (item.position, item.job_id, item.key))
    assert [(item.job_id, item.key) for item in walked] == [(item.job_id, item.key) for item in ordered]
    assert [item.reference for item in walked] == [item.reference for item in ordered]


def test_jobs_of_callback_are_distinct_and_in_order_of_body(connection: Connection) -> None:
    delivery = uuid4()
    references = ["ref-9", "ref-2", "ref-9", "ref-5", "ref-2", "ref-1"]
    events = [replace(event(name), position=at, callback_id=delivery) for at, name in enumerate(references)]
    reconcile(connection, events)
    expected = [derive_job_id("sandbox", name) for name in ("ref-9", "ref-2", "ref-5", "ref-1")]
    assert find_callback_jobs(connection, [delivery], 100) == expected
    assert find_callback_jobs(connection, [delivery], 3) == expected[:3]
    assert find_callback_jobs(connection, [], 3) == []


def test_page_of_large_callback_reads_only_its_own_rows(connection: Connection) -> None:
    delivery = uuid4()
    connection.execute(INSERT_JOBS.encode())
    connection.execute(INSERT_CALLBACK_EVENTS.encode(), [delivery])
    connection.execute("VACUUM ANALYZE")
    middle = PositionCursor(LARGE_COUNT // 2, UUID(int=0), UUID(int=0))
    for cursor in (None, middle):
        with record_statements(connection) as statements:
            page = list_callback_events(connection, [delivery], PageRequest(cursor, 50))
        assert len(page.items) == 50
        plan = explain(connection, statements[0])
        assert plan.indexes == {"events_callback_position_idx", "jobs_pkey"}, plan.text
        assert plan.rows <= 3 * 51, plan.text
    with record_statements(connection) as statements:
        assert len(find_callback_jobs(connection, [delivery], 100)) == 100
    plan = explain(connection, statements[0])
    assert plan.indexes == {"events_callback_position_idx"}, plan.text
    assert plan.rows <= LARGE_COUNT, plan.text


def test_event_may_be_inserted_before_its_job(connection: Connection) -> None:
    reconcile(connection, [event("ref-1", at=1)])
    with connection.transaction():
        connection.execute("CREATE TEMPORARY TABLE jobs_of_test ON COMMIT DROP AS SELECT * FROM jobs")
        connection.execute("DELETE FROM jobs")
        connection.execute(
            "INSERT INTO events (job_id, key, source, precedence, received_at, position)"
            " SELECT id, gen_random_uuid(), 'poll', 0, now(), 0 FROM jobs_of_test"
        )
        connection.execute("INSERT INTO jobs SELECT * FROM jobs_of_test")
