"""The statements that run all the time read only what is due, by index, and not whole tables."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from receiver.store.statements import load_statement

ROW_COUNT = 20_000
INSERT_REQUESTS = f"""
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, finished_at)
    SELECT gen_random_uuid(), 'sandbox', 'send', '{{}}', '{{}}', 'completed', now(), now() + interval '1 day', now()
    FROM generate_series(1, {ROW_COUNT})
"""
INSERT_DUE_REQUESTS = """
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at)
    SELECT gen_random_uuid(), 'sandbox', 'send', '{}', '{}', 'queued', now(), now() + interval '1 day', now()
    FROM generate_series(1, 50)
"""
INSERT_ATTEMPTS = """
    INSERT INTO attempts (id, request_id, number, started_at)
    SELECT gen_random_uuid(), id, 1, created_at FROM requests LIMIT 5000
"""
INSERT_JOBS = f"""
    INSERT INTO jobs (id, provider, reference, status, precedence, decided_at, decided_by, accepted_at, finished_at,
        deadline_at)
    SELECT gen_random_uuid(), 'sandbox', n::text, 'succeeded', 40, now(), gen_random_uuid(), now(), now(), now()
    FROM generate_series(1, {ROW_COUNT}) AS n
"""
INSERT_EVENTS = """
    INSERT INTO events (job_id, key, source, status, precedence, received_at, callback_id)
    SELECT id, gen_random_uuid(), 'callback', 'succeeded', 40, now(), gen_random_uuid() FROM jobs
"""
INSERT_CALLBACKS = """
    INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body)
    SELECT callback_id, gen_random_uuid(), 'sandbox', now(), 'accepted', 'POST', '/callbacks/sandbox', '{}', ''
    FROM events
"""
LEASES = '{"sandbox": 60.0, "other": 60.0}'
BATCHES = '{"sandbox": 100}'
ID = "018f0000-0000-7000-8000-000000000000"
EVENT_PAGES = {
    "ids": [ID],
    "before": "2026-11-23T12:00:00Z",
    "before_position": 7,
    "before_key": ID,
    "callback_ids": [ID],
    "after_position": 7,
    "after_job_id": ID,
    "after_key": ID,
    "limit": 100,
}
PAGE = {"before": "2026-11-23T12:00:00Z", "after": "-infinity", "after_id": ID, "limit": 500}
RECOVERY = {
    "ids": [ID],
    "before": "2026-11-23T12:00:00Z",
    "detail": "",
    "actor": "",
    "reason": "",
    "lookup_delays": '{"sandbox": 60.0}',
}
INSERTS = (
    *(INSERT_REQUESTS, INSERT_DUE_REQUESTS, INSERT_ATTEMPTS),
    *(INSERT_JOBS, INSERT_EVENTS, INSERT_CALLBACKS),
)
INSERT_OUTBOX = """
    WITH updated_requests AS (UPDATE requests SET notify_url = 'https://shop.example/hook'
        WHERE id IN (SELECT id FROM requests LIMIT 200) RETURNING id)
    INSERT INTO notification_outbox (request_id) SELECT id FROM updated_requests
"""
RETENTION = {
    "provider": "sandbox",
    "kind": "payloads",
    "seconds": 3_600.0,
    "margin": 60.0,
    "statuses": ["completed", "accepted"],
    "verdicts": ["accepted", "duplicate"],
    **PAGE,
}
TAIL = {
    **RETENTION,
    "time": "2026-11-23T12:00:00Z",
    "started": ["2026-11-23T12:00:00Z"],
    "received_from": "2999-01-01T00:00:00Z",
    "next_xid": "900",
    "running": ["890"],
    "min_bytes": 65_536,
    "replayed": [ID],
    "callback_ids": [ID],
}
CAPACITIES = '[{"provider": "sandbox", "free": 16}, {"provider": "other", "free": 16}]'


@pytest.fixture(scope="module")
def filled_connection(server: str, template: str) -> Iterator[Connection]:
    """A connection to a database with many rows, few of which are due."""
    with scratch_database(server, template=template) as dsn, closing(connect(dsn)) as connection:
        for statement in INSERTS:
            connection.execute(statement.encode())
        connection.execute("ANALYZE")
        yield connection


def explain(connection: Connection, name: str, params: Mapping[str, Any], *, prepare: bool | None = None) -> str:
    """Return the plan of a named statement as text."""
    rows = connection.execute(b"EXPLAIN " + load_statement(name), params, prepare=prepare)
    return "\n".join(line for (line,) in rows)


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("name", "params", "table"),
    [
        ("claim_requests", {"capacities": CAPACITIES, "claim_id": uuid4(), "leases": LEASES}, "requests"),
        ("expire_requests", {"limit": 500, "lookup_delays": '{"sandbox": 60.0}'}, "requests"),
        ("find_due_requests", {"capacities": CAPACITIES, "likely_due": ["other"]}, "requests"),
        ("find_due_ages", {"names": ["sandbox", "other"]}, "requests"),
        ("find_due_ages", {"names": ["sandbox", "other"]}, "jobs"),
        ("find_traced_jobs", {"ids": [uuid4()]}, "jobs"),
        ("find_traced_jobs", {"ids": [uuid4()]}, "events"),
        ("find_traced_jobs", {"ids": [uuid4()]}, "requests"),
        ("find_due_polls", {"capacities": CAPACITIES}, "jobs"),
        ("find_due_lookups", {"capacities": CAPACITIES}, "requests"),
        ("claim_lookups", {"capacities": CAPACITIES, "leases": LEASES}, "requests"),
        ("resume_lookups", {"lookup_delays": '{"sandbox": 60.0}'}, "requests"),
        ("resolve_hints", {"hints": f'[{{"provider": "sandbox", "attempt_id": "{uuid4()}"}}]'}, "requests"),
        ("lock_undecided_requests", {"ids": [uuid4()]}, "requests"),
        ("accept_known_requests", {"ids": [uuid4()]}, "requests"),
        ("record_lookup_results", {"results": f'[{{"id": "{uuid4()}", "status": "unknown"}}]'}, "requests"),
        ("record_outcomes", {"outcomes": f'[{{"attempt_id": "{uuid4()}", "request_id": "{uuid4()}"}}]'}, "requests"),
        ("record_outcomes", {"outcomes": f'[{{"attempt_id": "{uuid4()}", "request_id": "{uuid4()}"}}]'}, "attempts"),
        ("claim_polls", {"capacities": CAPACITIES, "batches": BATCHES, "leases": LEASES}, "jobs"),
        ("schedule_polls", {"polls": f'[{{"id": "{uuid4()}", "next_in": 1}}]', "other_ids": [uuid4()]}, "jobs"),
        ("lock_overdue_jobs", {"limit": 500}, "jobs"),
        ("find_prunable_jobs", {"provider": "sandbox", "status": "succeeded", **PAGE}, "jobs"),
        (
            "find_prunable_requests",
            {"provider": "sandbox", "operation": "send", "status": "completed", **PAGE},
            "requests",
        ),
        (
            "find_recoverable_requests",
            {"provider": "sandbox", "operation": "send", "status": "queued", **PAGE},
            "requests",
        ),
        ("recover_requests", RECOVERY, "requests"),
        ("recover_requests", RECOVERY, "jobs"),
        ("remove_finished_work", {"jobs": f'{{"{ID}": 1}}', "requests": [ID] * 500, **PAGE}, "jobs"),
        ("find_newest_events", EVENT_PAGES, "events"),
        ("find_newest_events", EVENT_PAGES, "jobs"),
        ("list_callback_events", EVENT_PAGES, "events"),
        ("list_callback_events", EVENT_PAGES, "jobs"),
        ("find_callback_jobs", EVENT_PAGES, "events"),
        ("find_deliveries", {"id": ID}, "callbacks"),
        ("find_resolution_time", {"id": ID}, "jobs"),
        ("find_audited_jobs", {"after": ID, "provider": None, "limit": 1_000}, "jobs"),
        ("find_expiring_requests", RETENTION, "requests"),
        ("find_expiring_callbacks", RETENTION, "callbacks"),
        ("take_expired_requests", RETENTION, "requests"),
        ("read_changed_callbacks", TAIL, "callbacks"),
        ("read_changed_events", TAIL, "jobs"),
        ("find_callbacks_of_jobs", {"ids": [ID]}, "callbacks"),
        ("erase_callbacks", {"ids": [ID]}, "callbacks"),
        ("find_audited_requests", {"after": ID, "ids": None, "provider": None, "limit": 1_000}, "requests"),
    ],
)
def test_statement_reads_by_index(
    filled_connection: Connection, name: str, params: Mapping[str, Any], table: str, plan_cache_mode: str
) -> None:
    filled_connection.execute(f"SET plan_cache_mode = {plan_cache_mode}".encode())
    plan = explain(filled_connection, name, params)
    assert f"Seq Scan on {table}" not in plan, plan
    assert "Index" in plan


def test_notification_statements_read_by_index(connection: Connection) -> None:
    for statement in (INSERT_REQUESTS, INSERT_JOBS, INSERT_OUTBOX):
        connection.execute(statement.encode())
    connection.execute("ANALYZE")
    ids = [request_id for (request_id,) in connection.execute("SELECT request_id FROM notification_outbox LIMIT 100")]
    params = {"limit": 100, "ids": ids, "digests": [b"digest" for _ in ids]}
    for name in ("take_outbox", "find_pending_notifications", "save_notified", "take_job_outbox", "find_pending_jobs"):
        plan = explain(connection, name, params, prepare=False)
        assert "Seq Scan on requests" not in plan, plan
        assert "Seq Scan on jobs" not in plan, plan
