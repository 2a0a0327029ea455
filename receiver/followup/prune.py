"""Removes finished work in batches: the work of `receiver prune`.

Each batch is a short transaction that removes whole stories or nothing of them, passes by what somebody else holds, and
waits for nobody. It can be stopped anywhere and begun again.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from functools import partial

from receiver.store.database import Connection, Database
from receiver.store.prune import (
    RemovedCounts,
    compute_cutoff,
    find_ended_jobs,
    find_ended_requests,
    find_old_callbacks,
    find_old_keys,
    remove_callbacks,
    remove_finished_work,
    remove_keys,
)

_AT_ONCE = 500


def prune(
    database: Database,
    older_than: float,
    *,
    dry_run: bool = False,
    at_once: int = _AT_ONCE,
    tell: Callable[[str], None] = lambda _: None,
) -> RemovedCounts:
    """Remove what has been finished for longer than `older_than` seconds, by the database's clock.

    Args:
        database: where.
        older_than: seconds.
        dry_run: remove nothing: each batch is rolled back. What only goes when other batches are gone is not counted
            then: callbacks that speak of jobs in several, and idempotency keys.
        at_once: how many to look at in one transaction.
        tell: is told how far it is.

    Raises:
        StoreError: as Postgres says. What was removed until then stays so.
    """
    removed = RemovedCounts()
    with database.connection() as parsed, database.connection() as writing:
        before = compute_cutoff(parsed, older_than)
        for remove in _batches(parsed, before, at_once, with_keys=not dry_run):
            with writing.transaction(force_rollback=dry_run):
                removed += remove(writing)
            tell(format_removed(removed))
    return removed


def format_removed(removed: RemovedCounts) -> str:
    """Tell people how much was removed."""
    counts = [f"{number:,} {name.replace('_', ' ')}" for name, number in asdict(removed).items()]
    return ", ".join(counts)


def _batches(
    parsed: Connection, before: datetime, at_once: int, *, with_keys: bool
) -> Iterator[Callable[[Connection], RemovedCounts]]:
    """Give what removes one batch after another; the callbacks that events name go with those."""
    for find in (find_ended_jobs, find_ended_requests):
        for stories in find(parsed, before, at_once):
            yield partial(remove_finished_work, work=stories, before=before)
    for callbacks in find_old_callbacks(parsed, before, at_once):
        yield partial(remove_callbacks, callback_ids=callbacks, before=before)
    if with_keys:
        for keys in find_old_keys(parsed, before, at_once):
            yield partial(remove_keys, keys=keys, before=before)
