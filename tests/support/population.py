"""A database as it is after some time in production, filled in bulk.

Providers and statuses are distributed as in production: most jobs have succeeded, few are open, and even fewer are
failed, disputed or unmatched. One request in a hundred is a broadcast with ten jobs, one in ten has no job. The rows
are those that the service itself would store: `receiver audit` finds nothing.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain, repeat
from uuid import UUID

import uuid_utils

from receiver.domain.jobs import JOB_NAMESPACE
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
_NAMES = list(chain.from_iterable(repeat(name, share) for name, share in PROVIDERS.items()))
_NAMESPACE = uuid_utils.UUID(bytes=JOB_NAMESPACE.bytes)
_IDS_PER_WRITE = 10_000

_CREATE_JOB_IDS = b"CREATE UNLOGGED TABLE job_ids (number bigint, job_id uuid)"
_COPY_JOB_IDS = b"COPY job_ids FROM STDIN"
# `numbers` and `times` compute what the functions below do, in integers, so that both have the same results.
_CREATE_SAMPLES = b"""
CREATE UNLOGGED TABLE samples AS
WITH numbers AS (
    SELECT number, job_id, number AS position,
        CASE WHEN number / 10 %% 10 = 0 THEN number - number %% 10 ELSE number END AS first_number
    FROM job_ids
    UNION ALL
    SELECT %(jobs)s + n, NULL, n * 10, %(jobs)s + n FROM generate_series(0::bigint, %(jobs)s / 10 - 1) AS n
),
times AS (
    SELECT number, job_id, first_number, first_number = number AS is_first,
        (%(names)s::text[])[(first_number * 2654435761 & 4294967295) / 65536 %% 100 + 1] AS provider,
        CASE WHEN job_id IS NOT NULL THEN 'ref-' || lpad(number::text, 9, '0') END AS reference,
        %(until)s - %(span)s * (%(jobs)s - 1 - position) / %(jobs)s AS created_ms,
        %(until)s - %(span)s * (%(jobs)s - 1 - position - first_number + number) / %(jobs)s AS request_ms
    FROM numbers
),
draws AS (
    SELECT *, created_ms + 1000 + (-900000 * ln(1 - random()))::bigint AS ended_ms, random() AS status_draw,
        random() AS flaw_draw, random() AS variant_draw, random() AS source_draw
    FROM times
),
jobs AS (
    SELECT *, job_id IS NOT NULL AND (flaw_draw > 0.003 OR number / 10 %% 10 = 0) AS is_matched,
        CASE WHEN job_id IS NULL THEN NULL WHEN status_draw < 0.9 THEN 'succeeded'
            WHEN status_draw < 0.95 THEN 'accepted' WHEN status_draw < 0.98 THEN 'in_progress'
            WHEN status_draw < 0.995 THEN 'failed' ELSE 'unresolved' END AS status
    FROM draws
),
callbacks AS (
    SELECT *, CASE
        WHEN job_id IS NULL THEN NULL
        WHEN NOT is_matched THEN 'accepted'
        WHEN status IN ('accepted', 'unresolved') OR source_draw < 0.05 THEN NULL
        WHEN variant_draw < 0.99 THEN 'accepted' WHEN variant_draw < 0.996 THEN 'unmapped'
        WHEN variant_draw < 0.999 THEN 'invalid' ELSE 'refused' END AS verdict
    FROM jobs
),
sources AS (
    SELECT *, CASE
        WHEN status = 'unresolved' THEN 'deadline'
        WHEN verdict = 'accepted' THEN 'callback'
        WHEN status = 'accepted' THEN 'response'
        ELSE 'poll' END AS source
    FROM callbacks
)
SELECT number, job_id, is_first, provider, reference, is_matched, status, source, verdict, flaw_draw, variant_draw,
    status_draw, CASE WHEN first_number %% 7 = 0 THEN 'render' ELSE 'send' END AS operation,
    'epoch'::timestamptz + created_ms * interval '1 ms' AS created_at,
    'epoch'::timestamptz + ended_ms * interval '1 ms' AS ended_at,
    'epoch'::timestamptz + interval '1 ms' * CASE source WHEN 'response' THEN created_ms
        WHEN 'deadline' THEN created_ms + 259200000 WHEN 'callback' THEN ended_ms ELSE ended_ms + 10000 END
        AS decided_at,
    md5(source || job_id)::uuid AS decided_by,
    (lpad(to_hex(request_ms), 12, '0') || '70008000' || lpad(to_hex(first_number), 12, '0'))::uuid AS request_id,
    (lpad(to_hex(ended_ms), 12, '0') || '70008000' || lpad(to_hex(number), 12, '0'))::uuid AS callback_id,
    flaw_draw > 0.999 AND status IN ('succeeded', 'failed') AS disputed
FROM sources
"""
_INSERT_REQUESTS = b"""
INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at, leased_until,
    finished_at, attempts, client, conflict_deadline_at, unknown_since)
SELECT request_id, provider, operation,
    '{"client_reference": "order-000777", "to": ["2348030000000"],
        "text": "Your parcel is on its way; it will be with you tomorrow between nine and eleven."}',
    jsonb_build_object('order', number, 'customer', 'customer-' || number %% greatest(%(jobs)s / 20, 1),
        'environment', CASE WHEN variant_draw < 0.99 THEN 'production' ELSE 'test' END, 'vip', variant_draw < 0.001),
    request_status, created_at, created_at + interval '3 days', CASE WHEN request_status = 'queued' THEN created_at END,
    CASE WHEN request_status = 'sending' THEN created_at END,
    CASE WHEN request_status IN ('completed', 'rejected', 'failed', 'cancelled') THEN ended_at END,
    CASE WHEN request_status IN ('queued', 'cancelled') THEN 0 ELSE 1 END,
    CASE WHEN number %% 200 = 7 THEN 'kiosk' ELSE 'shop' END,
    CASE WHEN request_status = 'accepted' AND flaw_draw > 0.9995 THEN created_at + interval '3 days' END,
    CASE WHEN request_status = 'unknown' THEN ended_at END
FROM (
    SELECT *, CASE WHEN job_id IS NOT NULL THEN 'accepted' WHEN status_draw < 0.5 THEN 'completed'
        WHEN status_draw < 0.8 THEN 'rejected' WHEN status_draw < 0.9 THEN 'failed'
        WHEN status_draw < 0.93 THEN 'unknown' WHEN status_draw < 0.97 THEN 'cancelled'
        WHEN status_draw < 0.99 THEN 'queued' ELSE 'sending' END AS request_status
    FROM samples WHERE is_first AND (is_matched OR job_id IS NULL)
) AS sample
"""
_INSERT_METADATA = b"""
INSERT INTO request_metadata (key, value, created_at, request_id)
SELECT entry.*, created_at, request_id
FROM samples CROSS JOIN LATERAL (VALUES
    ('order', number::text), ('customer', 'customer-' || number %% greatest(%(jobs)s / 20, 1)),
    ('environment', CASE WHEN variant_draw < 0.99 THEN 'production' ELSE 'test' END),
    ('vip', (variant_draw < 0.001)::text)) AS entry
WHERE is_first AND (is_matched OR job_id IS NULL)
"""
_INSERT_ATTEMPTS = b"""
INSERT INTO attempts (id, request_id, number, started_at, finished_at, response_status, response_headers, response_body,
    error)
SELECT overlay(id::text placing '7001' from 15)::uuid, id, 1, created_at,
    CASE WHEN status <> 'sending' THEN created_at + interval '0.2 s' END, response_status,
    CASE WHEN response_status IS NOT NULL THEN '{"content-type": "application/json", "content-length": "58",
        "date": "Mon, 23 Nov 2026 12:00:00 GMT"}'::jsonb END,
    CASE WHEN response_status IS NOT NULL THEN
        convert_to('{"items": [{"id": "' || right(id::text, 12) || '", "status": "QUEUED"}]}', 'UTF8') END,
    CASE WHEN status IN ('failed', 'unknown') THEN 'no response within 30 s' END
FROM (
    SELECT id, created_at, status,
        CASE status WHEN 'accepted' THEN 202 WHEN 'completed' THEN 200 WHEN 'rejected' THEN 400 END AS response_status
    FROM requests WHERE attempts > 0
) AS request
"""
_INSERT_JOBS = b"""
INSERT INTO jobs (id, provider, reference, request_id, status, precedence, disputed, decided_at, decided_by,
    accepted_at, finished_at, deadline_at, poll_at)
SELECT job_id, provider, reference, CASE WHEN is_matched THEN request_id END, status,
    CASE status WHEN 'accepted' THEN 10 WHEN 'in_progress' THEN 20 WHEN 'unresolved' THEN 30 ELSE 40 END, disputed,
    decided_at, decided_by, CASE WHEN is_matched THEN created_at ELSE ended_at END,
    CASE WHEN status IN ('succeeded', 'failed') THEN decided_at END, created_at + interval '3 days',
    CASE WHEN status IN ('accepted', 'in_progress') THEN created_at + interval '1 hour' END
FROM samples WHERE job_id IS NOT NULL
"""
_INSERT_CALLBACKS = b"""
INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors, verified,
    secret_fingerprint, caller_address, is_plausible, form)
SELECT CASE WHEN copy = 0 THEN callback_id ELSE overlay(callback_id::text placing '7001' from 15)::uuid END,
    md5(reference || provider)::uuid, provider, ended_at + copy * interval '5 s',
    CASE WHEN copy = 0 THEN verdict ELSE 'duplicate' END, 'POST', '/callbacks/' || provider,
    '{"content-type": "application/json", "user-agent": "provider/2.1", "webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "webhook-timestamp": "1795435200", "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="}',
    CASE WHEN copy = 0 THEN
        convert_to('{"results": [{"id": "' || reference || '", "state": "DELIVERED"}]}', 'UTF8') END,
    CASE WHEN copy = 0 AND verdict = 'invalid' THEN '{"results": ["is missing"]}'::jsonb END, verdict <> 'refused',
    CASE WHEN verdict <> 'refused' THEN '8a1b2c3d4e5f' END, '192.0.2.7',
    CASE WHEN verdict = 'refused' THEN true END, CASE WHEN verdict = 'refused' THEN 'signature' END
FROM samples CROSS JOIN generate_series(0, 1) AS copy
WHERE verdict IS NOT NULL AND (copy = 0 OR verdict <> 'refused' AND flaw_draw BETWEEN 0.1 AND 0.15)
"""
_INSERT_EVENTS = b"""
INSERT INTO events (job_id, key, source, status, precedence, provider_status, received_at, callback_id, request_id)
SELECT job_id, md5(event.name || job_id)::uuid, event.source, event.status,
    CASE event.status WHEN 'accepted' THEN 10 WHEN 'in_progress' THEN 20 WHEN 'unresolved' THEN 30
        WHEN 'succeeded' THEN 40 WHEN 'failed' THEN 40 ELSE 0 END,
    event.provider_status, event.received_at, event.callback_id, event.request_id
FROM samples CROSS JOIN LATERAL (
    SELECT 'response' AS name, 'response' AS source, 'accepted' AS status, 'QUEUED' AS provider_status,
        created_at AS received_at, NULL::uuid AS callback_id, request_id
    WHERE is_matched
    UNION ALL
    SELECT 'callback', 'callback', CASE WHEN verdict = 'unmapped' THEN NULL WHEN status = 'unresolved' THEN 'accepted'
        ELSE status END, 'DELIVERED', ended_at, callback_id, NULL
    WHERE verdict IN ('accepted', 'unmapped')
    UNION ALL
    SELECT source, source, status, CASE source WHEN 'poll' THEN 'DELIVERED' END, decided_at, NULL, NULL
    WHERE source IN ('poll', 'deadline')
    UNION ALL
    SELECT 'dispute', 'poll', CASE status WHEN 'failed' THEN 'succeeded' ELSE 'failed' END, 'UNDELIVERABLE',
        decided_at + interval '20 s', NULL, NULL
    WHERE disputed
) AS event
WHERE job_id IS NOT NULL
"""
_INSERT_GENERATIONS = b"""
INSERT INTO reference_generations (first_job_id, number, job_id, opened_at)
SELECT md5('first ' || n)::uuid, 2, md5('second ' || n)::uuid, %(until_time)s - n * interval '1 h'
FROM generate_series(1, least(%(jobs)s / 10, 2000)) AS n
"""
_INSERT_KEYS = b"""
INSERT INTO api_keys (id, client, name, hash, prefix, scopes, per_minute, created_at)
SELECT gen_random_uuid(), 'client ' || n, 'key ' || n, sha256(n::text::bytea), 'rcv_' || n, '{read}', 600,
    %(until_time)s - n * interval '1 h'
FROM generate_series(1, least(%(jobs)s / 10, 2000)) AS n
"""
REQUEST_STATEMENTS = (_INSERT_REQUESTS, _INSERT_METADATA, _INSERT_ATTEMPTS)
JOB_STATEMENTS = (_INSERT_JOBS, _INSERT_EVENTS, _INSERT_CALLBACKS, _INSERT_GENERATIONS, _INSERT_KEYS)


def populate(connection: Connection, jobs: int, until: datetime = UNTIL, span: timedelta = SPAN) -> None:
    """Fill an empty database with a number of jobs and all related rows; the same number gives the same rows.

    The newest job was accepted at `until` (UTC), the oldest one `span` before.

    Afterwards the database is vacuumed and analyzed, as it would be by autovacuum.
    """
    with connection.transaction():
        create_samples(connection, jobs, until, span)
        for statement in (*REQUEST_STATEMENTS, *JOB_STATEMENTS):
            insert_rows(connection, statement, jobs, until)
        drop_samples(connection)
    connection.execute(b"VACUUM ANALYZE")


def create_samples(connection: Connection, jobs: int, until: datetime = UNTIL, span: timedelta = SPAN) -> None:
    """Create the table `samples`: a row for each job and for each request without a job, with what chance decides."""
    connection.execute(b"SELECT setseed(0.5)")
    connection.execute(_CREATE_JOB_IDS)
    with connection.cursor() as cursor, cursor.copy(_COPY_JOB_IDS) as copy:
        for start in range(0, jobs, _IDS_PER_WRITE):
            copy.write("".join(_format_job_ids(start, min(start + _IDS_PER_WRITE, jobs))))
    until_ms, span_ms = int(until.timestamp() * 1_000), int(span.total_seconds() * 1_000)
    connection.execute(_CREATE_SAMPLES, {"jobs": jobs, "names": _NAMES, "until": until_ms, "span": span_ms})


def insert_rows(connection: Connection, statement: bytes, jobs: int, until: datetime = UNTIL) -> None:
    """Execute one of the statements that insert rows for `samples`."""
    connection.execute(statement, {"jobs": jobs, "until_time": until})


def drop_samples(connection: Connection) -> None:
    """Drop what `create_samples` created."""
    connection.execute(b"DROP TABLE samples, job_ids")


def derive_request_id(number: int, jobs: int) -> UUID:
    """Return the id of the request of the job with this number, in a database with so many jobs."""
    first_number = _find_first_number(number)
    until, span = int(UNTIL.timestamp() * 1_000), int(SPAN.total_seconds() * 1_000)
    created_ms = until - span * (jobs - 1 - first_number) // jobs
    return UUID(int=created_ms << 80 | 0x7000_8000_0000_0000_0000 | first_number)


def format_reference(number: int) -> str:
    """Return the reference of the job with this number."""
    return f"ref-{number:09d}"


def _format_job_ids(start: int, stop: int) -> Iterator[str]:
    """Yield lines with the numbers and ids of jobs; uuid_utils derives the same ids as `derive_job_id`, but faster."""
    for number in range(start, stop):
        name = _NAMES[(_find_first_number(number) * 2_654_435_761 & 0xFFFF_FFFF) // 65_536 % 100]
        job_id = uuid_utils.uuid5(_NAMESPACE, f"{name}\0{format_reference(number)}")
        yield f"{number}\t{job_id.hex}\n"


def _find_first_number(number: int) -> int:
    """Return the number of the first job of the same request."""
    is_broadcast = number // _BROADCAST_SIZE % _BROADCAST_SIZE == 0
    return number - number % _BROADCAST_SIZE if is_broadcast else number
