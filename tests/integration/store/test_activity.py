"""Activity: each row is counted once, in its minute, and old minutes are merged into hours."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.activity import ActivityIncrement, ActivityKind, find_bucket
from receiver.store.activity import (
    count_durations,
    count_next_period,
    find_counted_until,
    list_activity,
    merge_activity,
)
from receiver.store.callbacks import Refusal, save_refusals
from receiver.store.connections import Connection, connect

MINUTE = timedelta(minutes=1)
INSERT_JOB = """
INSERT INTO jobs (id, provider, reference, status, precedence, decided_at, decided_by, accepted_at, finished_at,
    deadline_at)
VALUES (gen_random_uuid(), 'acme', 'r', 'succeeded', 40, %(at)s, gen_random_uuid(), %(at)s - interval '3 s', %(at)s,
    %(at)s)
"""
INSERT_REQUEST = """
INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, deadline_at, due_at)
VALUES (gen_random_uuid(), 'acme', 'send', '{}', '{}', 'queued', %(at)s, %(at)s, %(at)s)
"""
INSERT_CALLBACK = """
INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body)
VALUES (gen_random_uuid(), gen_random_uuid(), 'acme', %(at)s, 'accepted', 'POST', '/', '{}', '')
"""


@pytest.fixture
def now(connection: Connection) -> datetime:
    """The time; rows are counted from 5 minutes ago on."""
    now = datetime.now(UTC)
    since = now.replace(second=0, microsecond=0) - 5 * MINUTE
    connection.execute("UPDATE activity_progress SET counted_until = %s", [since])
    return now


def insert(connection: Connection, at: datetime) -> None:
    for statement in (INSERT_JOB, INSERT_REQUEST, INSERT_CALLBACK):
        connection.execute(statement.encode(), {"at": at})


def count_all(connection: Connection) -> int:
    """Count until nothing is left to count, and return the number of periods."""
    periods = 0
    while True:
        with connection.transaction():
            if count_next_period(connection) is None:
                return periods
        periods += 1


def test_rows_are_counted_once_in_their_minute(connection: Connection, now: datetime) -> None:
    minute = now.replace(second=0, microsecond=0) - 3 * MINUTE
    for seconds in (0, 59.9, 60):
        insert(connection, minute + timedelta(seconds=seconds))

    periods = count_all(connection)

    assert count_all(connection) == 0
    assert periods >= 4
    counts = list_activity(connection, now - 10 * MINUTE, now, 60)
    assert [(count.kind, count.outcome, count.count) for count in counts if count.started_at == minute] == [
        (ActivityKind.CALLBACKS, "accepted", 2),
        (ActivityKind.JOBS, "succeeded", 2),
        (ActivityKind.REQUESTS, "submitted", 2),
    ]
    assert {count.started_at: count.count for count in counts} == {minute: 2, minute + MINUTE: 1}
    some = list_activity(connection, now - 10 * MINUTE, now, 60, kinds=[ActivityKind.JOBS])
    assert {count.kind for count in some} == {ActivityKind.JOBS}
    assert count_durations(connection, now - 10 * MINUTE, now) == {"acme": {find_bucket(3.0): 3}}
    assert count_durations(connection, now - 10 * MINUTE, now, ["globex"]) == {}


def test_counts_are_returned_with_the_seconds_of_jobs(connection: Connection, now: datetime) -> None:
    minute = now.replace(second=0, microsecond=0) - 3 * MINUTE
    insert(connection, minute)
    increments: list[ActivityIncrement] = []
    while True:
        with connection.transaction():
            period = count_next_period(connection)
        if period is None:
            break
        increments += period
    counts = sorted((each.kind, each.outcome, each.bucket, each.count, each.seconds) for each in increments)
    assert counts == [
        (ActivityKind.CALLBACKS, "accepted", 0, 1, 0.0),
        (ActivityKind.JOBS, "succeeded", find_bucket(3.0), 1, 3.0),
        (ActivityKind.REQUESTS, "submitted", 0, 1, 0.0),
    ]


def test_newest_rows_are_counted_later(connection: Connection, now: datetime) -> None:
    insert(connection, now)

    count_all(connection)

    assert list_activity(connection, now - 10 * MINUTE, now + MINUTE, 60) == []
    assert find_counted_until(connection) < now


def test_activity_of_the_last_day_is_counted(connection: Connection) -> None:
    connection.execute("UPDATE activity_progress SET counted_until = now() - interval '3 days'")
    with connection.transaction():
        assert count_next_period(connection) is not None

    [(age,)] = connection.execute("SELECT now() - counted_until FROM activity_progress").fetchall()
    assert timedelta(days=1) - MINUTE <= age <= timedelta(days=1)


@pytest.mark.usefixtures("now")
def test_second_worker_has_nothing_to_count(dsn: str, connection: Connection) -> None:
    with closing(connect(dsn)) as other, other.transaction():
        assert count_next_period(other) is not None

        with connection.transaction():
            assert count_next_period(connection) is None


def test_old_minutes_are_merged_into_hours(connection: Connection) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=4)
    rows = [
        (60, hour),
        (60, hour + 59 * MINUTE),
        (3600, hour),
        (60, hour + timedelta(hours=3)),
        (3600, hour - timedelta(days=90)),
    ]
    for seconds, started_at in rows:
        connection.execute(
            "INSERT INTO activity VALUES (%s, %s, 'acme', 'jobs', 'failed', 7, 10)", [seconds, started_at]
        )

    merge_activity(connection)
    merge_activity(connection)

    stored = connection.execute("SELECT seconds, started_at, count FROM activity ORDER BY seconds").fetchall()
    assert stored == [(60, hour + timedelta(hours=3), 10), (3600, hour, 30)]
    [count] = list_activity(connection, hour, hour + timedelta(hours=1), 3_600)
    assert (count.started_at, count.provider, count.outcome, count.count) == (hour, "acme", "failed", 30)


def test_refused_callbacks_are_counted(connection: Connection) -> None:
    at = datetime.now(UTC)
    for _ in range(2):
        save_refusals(connection, [Refusal("acme", "signature", "192.0.2.1", 3, at)])

    [count] = list_activity(connection, at - MINUTE, at + MINUTE, 60)
    assert (count.outcome, count.count) == ("refused", 6)
