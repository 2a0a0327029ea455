"""The counts of rows are exact: whatever statements change, while changes are moved and while all rows are counted."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

import pytest

from receiver.store.connections import Connection, connect
from receiver.store.row_counts import count_all_rows, find_wrong_counts, move_row_count_changes
from receiver.store.stats import count_attention, count_by_provider
from tests.support.population import PROVIDERS

WRITERS = 3
STATEMENTS_PER_WRITER = 40
INSERT_JOBS = """
INSERT INTO jobs (id, provider, reference, status, precedence, decided_at, decided_by, accepted_at, deadline_at)
SELECT md5(n::text)::uuid, CASE WHEN n %% 2 = 0 THEN 'acme' ELSE 'globex' END, n, 'accepted', 10, now(),
    gen_random_uuid(), now(), now()
FROM generate_series(%(n)s::integer, %(n)s + 20) AS n
ON CONFLICT (id) DO UPDATE SET status = 'in_progress', precedence = 20, disputed = NOT jobs.disputed
"""
DELETE_JOBS = "DELETE FROM jobs WHERE reference::integer BETWEEN %(n)s AND %(n)s + 10"
MATCH_JOBS = "UPDATE jobs SET request_id = id WHERE reference::integer BETWEEN %(n)s AND %(n)s + 5"
INSERT_REQUESTS = """
INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at)
SELECT gen_random_uuid(), 'acme', 'send', '{}', '{}', 'queued', now(), now(), now() FROM generate_series(1, 3)
"""
CHANGE_REQUESTS = """
UPDATE requests SET status = 'accepted', due_at = NULL, conflict_deadline_at = now()
WHERE id = ANY(ARRAY(SELECT id FROM requests WHERE status = 'queued' LIMIT 2 FOR UPDATE SKIP LOCKED))
"""
INSERT_CALLBACKS = """
INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors)
SELECT gen_random_uuid(), gen_random_uuid(), 'acme', now(), verdict, 'POST', '/', '{}', '', '{}'
FROM unnest(ARRAY['accepted', 'unmapped', 'invalid', 'refused']) AS verdict
"""
CHANGE_CALLBACKS = """
UPDATE callbacks SET verdict = CASE verdict WHEN 'unmapped' THEN 'accepted' ELSE 'unmapped' END
WHERE id = ANY(ARRAY(SELECT id FROM callbacks LIMIT 3 FOR UPDATE SKIP LOCKED))
"""
DELETE_CALLBACKS = """
DELETE FROM callbacks WHERE id = ANY(ARRAY(SELECT id FROM callbacks LIMIT 2 FOR UPDATE SKIP LOCKED))
"""
CHANGES = (
    INSERT_JOBS,
    DELETE_JOBS,
    MATCH_JOBS,
    INSERT_REQUESTS,
    CHANGE_REQUESTS,
    INSERT_CALLBACKS,
    CHANGE_CALLBACKS,
    DELETE_CALLBACKS,
)


def test_counts_are_exact_while_rows_change(dsn: str, connection: Connection) -> None:
    finished = Event()

    def write(seed: int) -> None:
        rng = random.Random(seed)
        with closing(connect(dsn)) as writer:
            for _ in range(STATEMENTS_PER_WRITER):
                # From different ranges, so that no two writers lock the same jobs in different orders.
                params = {"n": seed * 1_000 + rng.randrange(40)}
                with writer.transaction(force_rollback=rng.random() < 0.1):
                    writer.execute(rng.choice(CHANGES).encode(), params)

    def repeat(action: Callable[[Connection], object]) -> None:
        with closing(connect(dsn)) as own:
            while not finished.is_set():
                action(own)

    def check(own: Connection) -> None:
        assert find_wrong_counts(own) == []

    with ThreadPoolExecutor() as executor:
        others = [
            executor.submit(repeat, action)
            for action in (lambda own: move_row_count_changes(own, 5), count_all_rows, check)
        ]
        try:
            for writer in [executor.submit(write, seed) for seed in range(WRITERS)]:
                writer.result()
        finally:
            finished.set()
        for other in others:
            other.result()

    assert find_wrong_counts(connection) == []
    while move_row_count_changes(connection, 100):
        pass
    assert connection.execute("SELECT count(*) FROM row_count_changes").fetchall() == [(0,)]
    assert find_wrong_counts(connection) == []
    assert connection.execute("SELECT count(*) FROM counted_rows").fetchall() > [(4,)]


@pytest.mark.parametrize("table", ["requests", "jobs", "callbacks"])
def test_truncated_rows_are_not_counted(connection: Connection, table: str) -> None:
    for statement in (INSERT_JOBS, INSERT_REQUESTS, INSERT_CALLBACKS):
        connection.execute(statement.encode(), {"n": 0})
    move_row_count_changes(connection, 2)

    connection.execute(f"TRUNCATE {table} CASCADE".encode())

    assert find_wrong_counts(connection) == []


def test_rows_that_exist_already_are_counted(connection: Connection) -> None:
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(INSERT_JOBS.encode(), {"n": 0})
    connection.execute(INSERT_JOBS.encode(), {"n": 10})
    assert find_wrong_counts(connection) != []

    count_all_rows(connection)

    assert find_wrong_counts(connection) == []


def test_moved_changes_are_limited(connection: Connection) -> None:
    for number in range(3):
        connection.execute(INSERT_JOBS.encode(), {"n": number * 100})

    assert [move_row_count_changes(connection, 4) for _ in range(3)] == [4, 2, 0]


def test_worker_does_not_wait_for_changes_of_another(dsn: str, connection: Connection) -> None:
    connection.execute(INSERT_JOBS.encode(), {"n": 0})
    with closing(connect(dsn)) as other, other.transaction():
        assert move_row_count_changes(other, 100) == 2

        assert move_row_count_changes(connection, 100) == 0


def test_statistics_are_read_from_the_counts(populated: Connection) -> None:
    names = list(PROVIDERS)

    counts, attention = count_by_provider(populated), count_attention(populated, names, names)

    assert find_wrong_counts(populated) == []
    expected = populated.execute("SELECT provider, status, count(*) FROM jobs GROUP BY provider, status").fetchall()
    assert {(name, status, n) for name in names for status, n in counts[name].jobs.items()} == set(expected)
    unmatched = populated.execute("SELECT count(*) FROM jobs WHERE request_id IS NULL").fetchall()
    assert [(sum(row.unmatched for row in attention.values()),)] == unmatched
