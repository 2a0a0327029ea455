"""The worker's step that moves changes to the counts of rows."""

import pytest

from receiver.followup import row_counts
from receiver.store.connections import Connection
from receiver.store.database import Database

INSERT_CHANGES = """
INSERT INTO row_count_changes (kind, provider, status, total) SELECT 'jobs', 'acme', 'accepted', 1
FROM generate_series(1, 5)
"""


def test_changes_are_moved_in_batches(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_counts, "_BATCH_SIZE", 3)
    connection.execute(INSERT_CHANGES.encode())

    intervals = [row_counts.move_counts(database) for _ in range(2)]

    assert intervals[0] < 1.0 <= intervals[1]
    assert connection.execute("SELECT kind, provider, status, total FROM row_counts").fetchall() == [
        ("jobs", "acme", "accepted", 5)
    ]
    assert connection.execute("SELECT FROM row_count_changes").fetchall() == []
