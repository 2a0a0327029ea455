"""Counting what happened, minute by minute, outside the transactions that store it."""

from receiver.store.activity import count_next_period, merge_activity
from receiver.store.database import Database

_INTERVAL_S = 1.0
_BUSY_INTERVAL_S = 0.02


def count_activity(database: Database) -> float:
    """Count the next period; if all are counted, merge old ones. Return the seconds until the next call."""
    with database.transaction() as connection:
        if count_next_period(connection):
            return _BUSY_INTERVAL_S
    with database.transaction() as connection:
        merge_activity(connection)
    return _INTERVAL_S
