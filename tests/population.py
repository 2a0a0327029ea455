"""A database as it is after a while in service, filled in bulk.

Providers and statuses are skewed as they are in life: most jobs have succeeded, few are open, fewer failed, disputed or
unmatched. One request in a hundred is a broadcast that gave ten jobs, one in ten gave none.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from receiver.domain.jobs import derive_job_id
from receiver.store.database import Connection
from tests.factories import NOON

PROVIDERS = {"sandbox": 55, "acme": 25, "globex": 12, "initech": 7, "hooli": 1}
"""Their shares in percent."""
RARE = "hooli"
UNTIL, SPAN = NOON, timedelta(days=30)
"""When the newest job was accepted, and how much earlier the oldest was."""
_BROADCAST = 10
_JOBLESS = 10

_SOWN = b"""
CREATE TEMP TABLE sown (
    number bigint, provider text, operation text, reference text, job_id uuid, request_id uuid, leads boolean,
    at timestamptz)
"""
_COPY = b"COPY sown FROM STDIN"
_DRAWN = b"""
CREATE TEMP TABLE drawn AS
SELECT *, random() AS fate, random() AS flaw, random() AS fashion,
    at + make_interval(secs => 1 - 900 * ln(1 - random())) AS ended_at
FROM sown ORDER BY at
"""
_REQUESTS = b"""
INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at, leased_until,
    finished_at, attempts)
SELECT request_id, provider, operation,
    jsonb_build_object('client_reference', 'order-' || number, 'to', jsonb_build_array('2348030000000'),
        'text', 'Your parcel is on its way; it will be with you tomorrow between nine and eleven.'),
    jsonb_build_object('order', number, 'customer', 'customer-' || number %% greatest(%(jobs)s / 20, 1),
        'environment', CASE WHEN fashion < 0.99 THEN 'production' ELSE 'test' END, 'vip', fashion < 0.001),
    status, at, at + interval '3 days', CASE WHEN status = 'queued' THEN at END,
    CASE WHEN status = 'sending' THEN at END,
    CASE WHEN status IN ('completed', 'rejected', 'failed', 'cancelled') THEN ended_at END, 1
FROM (
    SELECT *, CASE WHEN job_id IS NOT NULL THEN 'accepted' WHEN fate < 0.5 THEN 'completed' WHEN fate < 0.8 THEN
        'rejected' WHEN fate < 0.9 THEN 'failed' WHEN fate < 0.93 THEN 'unknown' WHEN fate < 0.97 THEN 'cancelled'
        WHEN fate < 0.99 THEN 'queued' ELSE 'sending' END AS status
    FROM drawn WHERE leads
) AS each
"""
_METADATA = b"""
INSERT INTO request_metadata (key, value, created_at, request_id)
SELECT key, value #>> '{}', created_at, id FROM requests CROSS JOIN LATERAL jsonb_each(metadata)
"""
_JOBS = b"""
INSERT INTO jobs (id, provider, reference, request_id, status, precedence, disputed, decided_at, decided_by,
    accepted_at, finished_at, deadline_at, poll_at)
SELECT job_id, provider, reference, CASE WHEN flaw > 0.003 THEN request_id END, status,
    CASE status WHEN 'accepted' THEN 10 WHEN 'in_progress' THEN 20 WHEN 'unresolved' THEN 30 ELSE 40 END,
    flaw > 0.999 AND status IN ('succeeded', 'failed'), ended_at, job_id, at,
    CASE WHEN status IN ('succeeded', 'failed') THEN ended_at END, at + interval '3 days',
    CASE WHEN status IN ('accepted', 'in_progress') THEN at + interval '1 hour' END
FROM (
    SELECT *, CASE WHEN fate < 0.9 THEN 'succeeded' WHEN fate < 0.95 THEN 'accepted' WHEN fate < 0.98 THEN 'in_progress'
        WHEN fate < 0.995 THEN 'failed' ELSE 'unresolved' END AS status
    FROM drawn WHERE job_id IS NOT NULL
) AS each
"""
_CALLBACKS = b"""
INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors)
SELECT gen_random_uuid(), md5(reference || copy)::uuid, provider, ended_at + copy * interval '5 s', verdict, 'POST',
    '/callbacks/' || provider,
    '{"content-type": "application/json", "user-agent": "provider/2.1", "webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "webhook-timestamp": "1795435200", "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="}',
    CASE WHEN verdict <> 'duplicate' THEN
        convert_to('{"results": [{"id": "' || reference || '", "state": "DELIVERED"}]}', 'UTF8') END,
    CASE WHEN verdict = 'invalid' THEN '{"results": ["is missing"]}'::jsonb END
FROM (
    SELECT *, CASE WHEN copy > 0 THEN 'duplicate' WHEN fashion < 0.99 THEN 'accepted' WHEN fashion < 0.996 THEN
        'unmapped' WHEN fashion < 0.999 THEN 'invalid' ELSE 'refused' END AS verdict
    FROM drawn CROSS JOIN generate_series(0, 1) AS copy
    WHERE reference IS NOT NULL AND fate BETWEEN 0.02 AND 0.99 AND (copy = 0 OR flaw < 0.05)
) AS each ORDER BY ended_at
"""
_EVENTS = b"""
INSERT INTO events (job_id, key, source, status, precedence, provider_status, received_at, request_id)
SELECT id, request_id, 'response', 'accepted', 10, 'QUEUED', accepted_at, request_id FROM jobs
WHERE request_id IS NOT NULL
UNION ALL
SELECT id, id, CASE WHEN hashtext(reference) %% 20 = 0 THEN 'poll' ELSE 'callback' END, status, precedence, 'DELIVERED',
    decided_at, NULL
FROM jobs WHERE finished_at IS NOT NULL
"""
_KEYS = b"""
INSERT INTO api_keys (id, client, name, hash, prefix, scopes, per_minute, created_at)
SELECT gen_random_uuid(), 'client ' || n, 'key ' || n, sha256(n::text::bytea), 'rcv_' || n, '{read}', 600,
    %(until)s - n * interval '1 h'
FROM generate_series(1, least(%(jobs)s / 10, 2000)) AS n
"""


def populate(connection: Connection, jobs: int) -> None:
    """Fill an empty database with so many jobs and all that belongs to them; equal for equal numbers.

    Leaves it vacuumed and analysed, as autovacuum would.
    """
    with connection.transaction():
        connection.execute(b"SELECT setseed(0.5)")
        connection.execute(_SOWN)
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in _sown(jobs):
                copy.write_row(row)
        given = {"jobs": jobs, "until": UNTIL}
        for statement in (_DRAWN, _REQUESTS, _METADATA, _JOBS, _CALLBACKS, _EVENTS, _KEYS):
            connection.execute(statement, given)
        connection.execute(b"DROP TABLE sown, drawn")
    connection.execute(b"VACUUM ANALYZE")


def request_of(number: int, jobs: int) -> UUID:
    """Give the request that gave the job of a number, among so many jobs."""
    head = _head(number)
    return _request_id(_at(head, jobs), head)


def reference_of(number: int) -> str:
    """Give the reference of the job of a number."""
    return f"ref-{number:09d}"


def _sown(jobs: int) -> Iterator[tuple[Any, ...]]:
    """Give the rows of `sown`, those that become jobs and then those that give none."""
    chance = random.Random(7)
    names = chance.choices(list(PROVIDERS), list(PROVIDERS.values()), k=jobs)
    for number in range(jobs):
        head = _head(number)
        name, reference = names[head], reference_of(number)
        yield (
            number,
            name,
            _operation(head),
            reference,
            derive_job_id(name, reference),
            request_of(number, jobs),
            head == number,
            _at(number, jobs),
        )
    for number in range(jobs, jobs + jobs // _JOBLESS):
        at = _at((number - jobs) * _JOBLESS, jobs)
        name = names[number - jobs]
        yield (number, name, _operation(number), None, None, _request_id(at, number), True, at)


def _head(number: int) -> int:
    """Give the first of the jobs of the same request."""
    return number - number % _BROADCAST if number // _BROADCAST % _BROADCAST == 0 else number


def _operation(number: int) -> str:
    return "render" if number % 7 == 0 else "send"


def _at(number: int, jobs: int) -> datetime:
    return UNTIL - SPAN * ((jobs - 1 - number) / jobs)


def _request_id(at: datetime, number: int) -> UUID:
    """Give an id that begins with its time, as version 7 does."""
    return UUID(int=int(at.timestamp() * 1_000) << 80 | 0x7000_8000_0000_0000_0000 | number)
