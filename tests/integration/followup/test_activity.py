"""The worker's step that counts activity."""

from receiver.followup.activity import count_activity
from receiver.store.connections import Connection
from receiver.store.database import Database


def test_step_counts_until_nothing_is_left(database: Database, connection: Connection) -> None:
    connection.execute("UPDATE activity_progress SET counted_until = now() - interval '90 s'")
    intervals = [count_activity(database)]
    while intervals[-1] < 1.0:
        intervals.append(count_activity(database))

    assert 3 <= len(intervals) <= 4
    [(age_s,)] = connection.execute("SELECT extract(epoch FROM now() - counted_until)::float8 FROM activity_progress")
    assert 10.0 <= age_s < 15.0
