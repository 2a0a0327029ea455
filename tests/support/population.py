"""A database as it is after some time in production, filled in bulk.

Providers and statuses are distributed as in production: most jobs have succeeded, few are open, and even fewer are
failed, disputed or unmatched. One request in a hundred is a broadcast with ten jobs, one in ten has no job.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from receiver.domain.jobs import derive_job_id
from receiver.store.connections import Connection
from tests.support.factories import NOON

PROVIDERS = {"sandbox": 55, "acme": 25, "globex": 12, "initech": 7, "hooli": 1}
"""The providers and their shares in percent."""
RARE = "hooli"
"""The provider with the fewest rows."""
RARE_CLIENT = "kiosk"
"""The client with the fewest requests."""
UNTIL, SPAN = NOON, timedelta(days=30)
"""When the newest job was accepted, and how much earlier the oldest job was accepted."""
_BROADCAST_SIZE = 10
_JOBLESS_RATIO = 10

_CREATE_SEEDS = b"""
CREATE TEMP TABLE seeds (
    number bigint, provider text, operation text, reference text, job_id uuid, request_id uuid, is_first boolean,
    created_at timestamptz)
"""
_COPY_SEEDS = b"COPY seeds FROM STDIN"
_CREATE_SAMPLES = b"""
CREATE TEMP TABLE samples AS
SELECT *, random() AS status_draw, random() AS flaw_draw, random() AS variant_draw,
    created_at + make_interval(secs => 1 - 900 * ln(1 - random())) AS ended_at
FROM seeds ORDER BY created_at
"""
_INSERT_REQUESTS = b"""
INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at, leased_until,
    finished_at, attempts, client, conflict_deadline_at)
SELECT request_id, provider, operation,
    jsonb_build_object('client_reference', 'order-' || number, 'to', jsonb_build_array('2348030000000'),
        'text', 'Your parcel is on its way; it will be with you tomorrow between nine and eleven.'),
    jsonb_build_object('order', number, 'customer', 'customer-' || number %% greatest(%(jobs)s / 20, 1),
        'environment', CASE WHEN variant_draw < 0.99 THEN 'production' ELSE 'test' END, 'vip', variant_draw < 0.001),
    status, created_at, created_at + interval '3 days', CASE WHEN status = 'queued' THEN created_at END,
    CASE WHEN status = 'sending' THEN created_at END,
    CASE WHEN status IN ('completed', 'rejected', 'failed', 'cancelled') THEN ended_at END, 1,
    CASE WHEN number %% 200 = 7 THEN 'kiosk' ELSE 'shop' END,
    CASE WHEN status = 'accepted' AND flaw_draw > 0.9995 THEN created_at + interval '3 days' END
FROM (
    SELECT *, CASE WHEN job_id IS NOT NULL THEN 'accepted' WHEN status_draw < 0.5 THEN 'completed'
        WHEN status_draw < 0.8 THEN 'rejected' WHEN status_draw < 0.9 THEN 'failed'
        WHEN status_draw < 0.93 THEN 'unknown' WHEN status_draw < 0.97 THEN 'cancelled'
        WHEN status_draw < 0.99 THEN 'queued' ELSE 'sending' END AS status
    FROM samples WHERE is_first
) AS sample
"""
_INSERT_METADATA = b"""
INSERT INTO request_metadata (key, value, created_at, request_id)
SELECT key, value #>> '{}', created_at, id FROM requests CROSS JOIN LATERAL jsonb_each(metadata)
"""
_INSERT_JOBS = b"""
INSERT INTO jobs (id, provider, reference, request_id, status, precedence, disputed, decided_at, decided_by,
    accepted_at, finished_at, deadline_at, poll_at)
SELECT job_id, provider, reference, CASE WHEN flaw_draw > 0.003 THEN request_id END, status,
    CASE status WHEN 'accepted' THEN 10 WHEN 'in_progress' THEN 20 WHEN 'unresolved' THEN 30 ELSE 40 END,
    flaw_draw > 0.999 AND status IN ('succeeded', 'failed'), ended_at, job_id, created_at,
    CASE WHEN status IN ('succeeded', 'failed') THEN ended_at END, created_at + interval '3 days',
    CASE WHEN status IN ('accepted', 'in_progress') THEN created_at + interval '1 hour' END
FROM (
    SELECT *, CASE WHEN status_draw < 0.9 THEN 'succeeded' WHEN status_draw < 0.95 THEN 'accepted'
        WHEN status_draw < 0.98 THEN 'in_progress' WHEN status_draw < 0.995 THEN 'failed'
        ELSE 'unresolved' END AS status
    FROM samples WHERE job_id IS NOT NULL
) AS sample
"""
_INSERT_CALLBACKS = b"""
INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors)
SELECT gen_random_uuid(), md5(reference || copy)::uuid, provider, ended_at + copy * interval '5 s', verdict, 'POST',
    '/callbacks/' || provider,
    '{"content-type": "application/json", "user-agent": "provider/2.1", "webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "webhook-timestamp": "1795435200", "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="}',
    CASE WHEN verdict <> 'duplicate' THEN
        convert_to('{"results": [{"id": "' || reference || '", "state": "DELIVERED"}]}', 'UTF8') END,
    CASE WHEN verdict = 'invalid' THEN '{"results": ["is missing"]}'::jsonb END
FROM (
    SELECT *, CASE WHEN copy > 0 THEN 'duplicate' WHEN variant_draw < 0.99 THEN 'accepted'
        WHEN variant_draw < 0.996 THEN 'unmapped' WHEN variant_draw < 0.999 THEN 'invalid' ELSE 'refused' END AS verdict
    FROM samples CROSS JOIN generate_series(0, 1) AS copy
    WHERE reference IS NOT NULL AND status_draw BETWEEN 0.02 AND 0.99 AND (copy = 0 OR flaw_draw < 0.05)
) AS sample ORDER BY ended_at
"""
_INSERT_EVENTS = b"""
INSERT INTO events (job_id, key, source, status, precedence, provider_status, received_at, request_id)
SELECT id, request_id, 'response', 'accepted', 10, 'QUEUED', accepted_at, request_id FROM jobs
WHERE request_id IS NOT NULL
UNION ALL
SELECT id, id, CASE WHEN hashtext(reference) %% 20 = 0 THEN 'poll' ELSE 'callback' END, status, precedence, 'DELIVERED',
    decided_at, NULL
FROM jobs WHERE finished_at IS NOT NULL
"""
_INSERT_GENERATIONS = b"""
INSERT INTO reference_generations (first_job_id, number, job_id, opened_at)
SELECT md5('first ' || n)::uuid, 2, md5('second ' || n)::uuid, %(until)s - n * interval '1 h'
FROM generate_series(1, least(%(jobs)s / 10, 2000)) AS n
"""
_INSERT_KEYS = b"""
INSERT INTO api_keys (id, client, name, hash, prefix, scopes, per_minute, created_at)
SELECT gen_random_uuid(), 'client ' || n, 'key ' || n, sha256(n::text::bytea), 'rcv_' || n, '{read}', 600,
    %(until)s - n * interval '1 h'
FROM generate_series(1, least(%(jobs)s / 10, 2000)) AS n
"""
_FILL_STATEMENTS = (
    _CREATE_SAMPLES,
    _INSERT_REQUESTS,
    _INSERT_METADATA,
    _INSERT_JOBS,
    _INSERT_CALLBACKS,
    _INSERT_EVENTS,
    _INSERT_GENERATIONS,
    _INSERT_KEYS,
)


def populate(connection: Connection, jobs: int) -> None:
    """Fill an empty database with a number of jobs and all related rows; the same number gives the same rows.

    Afterwards the database is vacuumed and analyzed, as it would be by autovacuum.
    """
    with connection.transaction():
        connection.execute(b"SELECT setseed(0.5)")
        connection.execute(_CREATE_SEEDS)
        with connection.cursor() as cursor, cursor.copy(_COPY_SEEDS) as copy:
            for row in _build_seeds(jobs):
                copy.write_row(row)
        params = {"jobs": jobs, "until": UNTIL}
        for statement in _FILL_STATEMENTS:
            connection.execute(statement, params)
        connection.execute(b"DROP TABLE seeds, samples")
    connection.execute(b"VACUUM ANALYZE")


def derive_request_id(number: int, jobs: int) -> UUID:
    """Return the id of the request of the job with this number, in a database with so many jobs."""
    first_number = _find_first_number(number)
    return _build_request_id(_compute_time(first_number, jobs), first_number)


def format_reference(number: int) -> str:
    """Return the reference of the job with this number."""
    return f"ref-{number:09d}"


def _build_seeds(jobs: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `seeds`: first those with a job, then those without one."""
    rng = random.Random(7)
    names = rng.choices(list(PROVIDERS), list(PROVIDERS.values()), k=jobs)
    for number in range(jobs):
        first_number = _find_first_number(number)
        name, reference = names[first_number], format_reference(number)
        yield (
            number,
            name,
            _choose_operation(first_number),
            reference,
            derive_job_id(name, reference),
            derive_request_id(number, jobs),
            first_number == number,
            _compute_time(number, jobs),
        )
    for number in range(jobs, jobs + jobs // _JOBLESS_RATIO):
        created_at = _compute_time((number - jobs) * _JOBLESS_RATIO, jobs)
        name, request_id = names[number - jobs], _build_request_id(created_at, number)
        yield (number, name, _choose_operation(number), None, None, request_id, True, created_at)


def _find_first_number(number: int) -> int:
    """Return the number of the first job of the same request."""
    is_broadcast = number // _BROADCAST_SIZE % _BROADCAST_SIZE == 0
    return number - number % _BROADCAST_SIZE if is_broadcast else number


def _choose_operation(number: int) -> str:
    return "render" if number % 7 == 0 else "send"


def _compute_time(number: int, jobs: int) -> datetime:
    return UNTIL - SPAN * ((jobs - 1 - number) / jobs)


def _build_request_id(created_at: datetime, number: int) -> UUID:
    """Return an id that begins with its time, as a UUID of version 7 does."""
    return UUID(int=int(created_at.timestamp() * 1_000) << 80 | 0x7000_8000_0000_0000_0000 | number)
