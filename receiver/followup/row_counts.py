"""Moving the changes that triggers insert to the counts of rows, so that few changes are left to read."""

from receiver.store.database import Database
from receiver.store.row_counts import move_row_count_changes

_BATCH_SIZE = 20_000
_INTERVAL_S = 2.0
_BUSY_INTERVAL_S = 0.05


def move_counts(database: Database) -> float:
    """Move a batch of changes; return the seconds until the next call."""
    with database.transaction() as connection:
        moved = move_row_count_changes(connection, _BATCH_SIZE)
    return _INTERVAL_S if moved < _BATCH_SIZE else _BUSY_INTERVAL_S
