"""The order in which due requests are claimed, and what a claim reads while many requests wait."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import NewRequest, claim_requests, find_requests, submit_requests
from tests.support.plans import explain, record_statements

CAPACITY, LEASES = ProviderCapacity("sandbox", 8), {"sandbox": 60.0}
WAITING_COUNT = 20_000
INSERT_REQUESTS = """
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at, priority)
    SELECT gen_random_uuid(), 'sandbox', 'send', '{}', '{}', 'queued', now(), now() + interval '1 day',
        now() + %s * interval '1 s' + n * interval '1 ms', %s
    FROM generate_series(1, %s) AS n
"""
BACKLOGS = {
    "all have the default": (5, -3_600, 5),
    "all others are less urgent": (0, -3_600, 5),
    "one is more urgent": (5, -3_600, 9),
    "the others are retries for later": (9, 3_600, 5),
}
"""The priority of a large number of requests, the seconds from now at which they are due, and another's priority."""


def submit(connection: Connection, priority: int, due_in: float = 0.0) -> UUID:
    """Queue a request and return its id."""
    due_at = datetime.now(UTC) + timedelta(seconds=due_in)
    request = NewRequest(uuid7(), "sandbox", "send", {}, {}, due_at, None, 3_600.0, priority=priority)
    submit_requests(connection, [request])
    return request.id


def claim(connection: Connection, free: int = 8) -> list[UUID]:
    return [attempt.request_id for attempt in claim_requests(connection, [ProviderCapacity("sandbox", free)], LEASES)]


@pytest.fixture(scope="module", params=list(BACKLOGS.values()), ids=list(BACKLOGS))
def backlog(request: pytest.FixtureRequest, server: str, template: str) -> Iterator[Connection]:
    """A connection to a database with many queued requests and one request of another priority that is due."""
    priority, due_in, other_priority = request.param
    with scratch_database(server, template=template) as dsn, closing(connect(dsn)) as connection:
        connection.execute(INSERT_REQUESTS, [due_in, priority, WAITING_COUNT])
        connection.execute(INSERT_REQUESTS, [-1, other_priority, 1])
        connection.execute("ANALYZE")
        yield connection


def test_highest_priority_is_claimed_first_and_then_longest_due(connection: Connection) -> None:
    ids = [submit(connection, priority) for priority in (5, 0, 9, 5, 9)]
    assert [claim(connection, free=2), claim(connection, free=2), claim(connection)] == [
        [ids[2], ids[4]],
        [ids[0], ids[3]],
        [ids[1]],
    ]


def test_requests_of_a_batch_are_claimed_in_order(connection: Connection) -> None:
    batch = [NewRequest(uuid7(), "sandbox", "send", {}, {}, None, None, 60.0) for _ in range(8)]
    submit_requests(connection, batch[::-1])
    assert claim(connection) == [request.id for request in batch]


def test_priority_does_not_send_before_the_due_time(connection: Connection) -> None:
    later, now = submit(connection, 9, due_in=60.0), submit(connection, 0)
    assert claim(connection) == [now]
    assert [request.priority for request in find_requests(connection, [later])] == [9]


def test_request_of_the_previous_release_has_the_default(connection: Connection) -> None:
    row = connection.execute(
        """
        INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at)
        VALUES (gen_random_uuid(), 'sandbox', 'send', '{}', '{}', 'queued', now(), now() + interval '1 h', now())
        RETURNING priority
        """
    ).fetchone()
    assert row == (5,)


@pytest.mark.parametrize("priority", [-1, 10])
def test_unknown_priority_is_not_stored(connection: Connection, priority: int) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        submit(connection, priority)


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
def test_claim_reads_only_what_it_claims(backlog: Connection, plan_cache_mode: str) -> None:
    with backlog.transaction(force_rollback=True), record_statements(backlog) as statements:
        backlog.execute(f"SET LOCAL plan_cache_mode = {plan_cache_mode}".encode())
        claim_requests(backlog, [CAPACITY], LEASES)
    with backlog.transaction(force_rollback=True):
        backlog.execute(f"SET LOCAL plan_cache_mode = {plan_cache_mode}".encode())
        plan = explain(backlog, statements[-1])
    assert "requests_priority_idx" in plan.indexes, plan.text
    assert "requests" not in plan.scanned_tables, plan.text
    assert plan.rows <= 4 * CAPACITY.free, plan.text
