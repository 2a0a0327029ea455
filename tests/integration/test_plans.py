"""The statements that run all the time read what is due and not whole tables."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from receiver.store.database import Connection, connect
from receiver.store.scratch import scratch_database
from receiver.store.statements import load_statement

MANY = 20_000
REQUESTS = f"""
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, finished_at)
    SELECT gen_random_uuid(), 'sandbox', 'send', '{{}}', '{{}}', 'completed', now(), now() + interval '1 day', now()
    FROM generate_series(1, {MANY})
"""
DUE = """
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at)
    SELECT gen_random_uuid(), 'sandbox', 'send', '{}', '{}', 'queued', now(), now() + interval '1 day', now()
    FROM generate_series(1, 50)
"""
JOBS = f"""
    INSERT INTO jobs (id, provider, reference, status, precedence, decided_at, decided_by, accepted_at, finished_at,
        deadline_at)
    SELECT gen_random_uuid(), 'sandbox', n::text, 'succeeded', 40, now(), gen_random_uuid(), now(), now(), now()
    FROM generate_series(1, {MANY}) AS n
"""
BATCHES = '{"sandbox": 100}'
ID = "018f0000-0000-7000-8000-000000000000"
PLACE = {"before": "2026-11-23T12:00:00Z", "after": "-infinity", "after_id": ID, "limit": 500}
NOTICES = """
    WITH wanting AS (UPDATE requests SET notify_url = 'https://shop.example/told'
        WHERE id IN (SELECT id FROM requests LIMIT 200) RETURNING id)
    INSERT INTO notification_outbox (request_id) SELECT id FROM wanting
"""
CAPACITIES = '[{"provider": "sandbox", "free": 16}, {"provider": "other", "free": 16}]'


@pytest.fixture(scope="module")
def filled(server: str, template: str) -> Iterator[Connection]:
    """A connection to a database with many rows, few of which are due."""
    with scratch_database(server, template=template) as dsn, closing(connect(dsn)) as connection:
        for filling in (REQUESTS, DUE, JOBS):
            connection.execute(filling.encode())
        connection.execute("ANALYZE")
        yield connection


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("name", "given", "table"),
    [
        ("claim_requests", {"capacities": CAPACITIES, "lease": 60.0}, "requests"),
        ("expire_requests", {"limit": 500, "lookup_delays": '{"sandbox": 60.0}'}, "requests"),
        ("find_due_requests", {"capacities": CAPACITIES}, "requests"),
        ("find_due_polls", {"capacities": CAPACITIES}, "jobs"),
        ("find_due_lookups", {"capacities": CAPACITIES}, "requests"),
        ("claim_lookups", {"capacities": CAPACITIES, "lease": 60.0}, "requests"),
        ("resume_lookups", {"lookup_delays": '{"sandbox": 60.0}'}, "requests"),
        ("resolve_hints", {"hints": f'[{{"provider": "sandbox", "attempt_id": "{uuid4()}"}}]'}, "requests"),
        ("lock_undecided_requests", {"ids": [uuid4()]}, "requests"),
        ("accept_known_requests", {"ids": [uuid4()]}, "requests"),
        ("record_lookup_results", {"results": f'[{{"id": "{uuid4()}", "status": "unknown"}}]'}, "requests"),
        ("record_outcomes", {"outcomes": f'[{{"attempt_id": "{uuid4()}"}}]'}, "requests"),
        ("claim_polls", {"capacities": CAPACITIES, "batches": BATCHES, "lease": 60.0}, "jobs"),
        ("schedule_polls", {"polls": f'[{{"id": "{uuid4()}", "next_in": 1}}]', "others": [uuid4()]}, "jobs"),
        ("lock_overdue_jobs", {"limit": 500}, "jobs"),
        ("find_prunable_jobs", {"provider": "sandbox", "status": "succeeded", **PLACE}, "jobs"),
        (
            "find_prunable_requests",
            {"provider": "sandbox", "operation": "send", "status": "completed", **PLACE},
            "requests",
        ),
        ("find_audited_jobs", {"after": ID, "provider": None, "limit": 1_000}, "jobs"),
        ("find_audited_requests", {"after": ID, "ids": None, "provider": None, "limit": 1_000}, "requests"),
    ],
)
def test_a_statement_reads_by_index(
    filled: Connection, name: str, given: Mapping[str, Any], table: str, plans: str
) -> None:
    filled.execute(f"SET plan_cache_mode = {plans}".encode())
    plan = "\n".join(line for (line,) in filled.execute(b"EXPLAIN " + load_statement(name), given))
    assert f"Seq Scan on {table}" not in plan, plan
    assert "Index" in plan


def test_the_statements_that_tell_clients_read_by_index(connection: Connection) -> None:
    for filling in (REQUESTS, JOBS, NOTICES):
        connection.execute(filling.encode())
    connection.execute("ANALYZE")
    ids = [request for (request,) in connection.execute("SELECT request_id FROM notification_outbox LIMIT 100")]
    given = {"limit": 100, "ids": ids, "digests": [b"digest" for _ in ids]}
    for name in ("take_outbox", "find_pending_notifications", "save_notified"):
        told = connection.execute(b"EXPLAIN " + load_statement(name), given, prepare=False)
        plan = "\n".join(line for (line,) in told)
        assert "Seq Scan on requests" not in plan, plan
        assert "Seq Scan on jobs" not in plan, plan
