"""Counting what happened, minute by minute, outside the transactions that store it."""

from collections.abc import Callable, Sequence

from receiver.domain.activity import ActivityIncrement
from receiver.store.activity import count_next_period, merge_activity
from receiver.store.database import Database

_INTERVAL_S = 1.0
_BUSY_INTERVAL_S = 0.02


def count_activity(database: Database, observe: Callable[[Sequence[ActivityIncrement]], None] | None = None) -> float:
    """Count the next period; if all are counted, merge old ones. Return the seconds until the next call.

    `observe` is called with the counts once they are committed.
    """
    with database.transaction() as connection:
        increments = count_next_period(connection)
    if increments is not None:
        if observe is not None:
            observe(increments)
        return _BUSY_INTERVAL_S
    with database.transaction() as connection:
        merge_activity(connection)
    return _INTERVAL_S
