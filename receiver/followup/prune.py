"""Removal of finished work in batches, for `receiver prune`.

Each batch is a short transaction. It removes a request or job with everything that belongs to it or not at all, skips
rows that others have locked, and waits for nobody. Prune can be interrupted at any time and started again. While others
use the database, it pauses after each batch.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from functools import partial

from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.generations import find_old_references, remove_generations
from receiver.store.prune import (
    RemovedCounts,
    compute_cutoff,
    find_ended_jobs,
    find_ended_requests,
    find_old_callbacks,
    find_old_keys,
    find_old_nonces,
    has_other_activity,
    remove_callbacks,
    remove_finished_work,
    remove_keys,
    remove_nonces,
)

_BATCH_SIZE = 500
_PAUSE_RATIO = 5.0
"""How many times as long as the batch before it a pause lasts: prune then works for a sixth of the time."""


def prune(
    database: Database,
    older_than: float,
    *,
    dry_run: bool = False,
    batch_size: int = _BATCH_SIZE,
    report_progress: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> RemovedCounts:
    """Remove work that has been finished for more than `older_than` seconds, by the database's clock.

    Args:
        database: the database to prune.
        older_than: minimum age in seconds.
        dry_run: remove nothing: roll back each batch. The counts then lack what can only be removed after other
            batches: callbacks about jobs of several batches, and idempotency keys.
        batch_size: the number of rows to examine in one transaction.
        report_progress: called with a line of text after each batch.
        sleep: called with the seconds of a pause.

    Raises:
        StoreError: a statement failed. Batches that were removed before remain removed.
    """
    removed = RemovedCounts()
    with database.connection() as reader, database.connection() as writer:
        cutoff = compute_cutoff(reader, older_than)
        for remove_batch in _find_batches(reader, cutoff, batch_size, with_keys=not dry_run):
            started_at = time.monotonic()
            with writer.transaction(force_rollback=dry_run):
                removed += remove_batch(writer)
            report_progress(format_counts(removed))
            if has_other_activity(writer):
                sleep((time.monotonic() - started_at) * _PAUSE_RATIO)
    return removed


def format_counts(removed: RemovedCounts) -> str:
    """Format the numbers of removed rows as one line of text."""
    counts = [f"{number:,} {name.replace('_', ' ')}" for name, number in asdict(removed).items()]
    return ", ".join(counts)


def _find_batches(
    reader: Connection, cutoff: datetime, batch_size: int, *, with_keys: bool
) -> Iterator[Callable[[Connection], RemovedCounts]]:
    """Yield functions that remove one batch each.

    A callback that events refer to is removed with the last of these events, the others by age afterwards.
    """
    for find in (find_ended_jobs, find_ended_requests):
        for work in find(reader, cutoff, batch_size):
            yield partial(remove_finished_work, work=work, before=cutoff)
    for callback_ids in find_old_callbacks(reader, cutoff, batch_size):
        yield partial(remove_callbacks, callback_ids=callback_ids, before=cutoff)
    for first_job_ids in find_old_references(reader, cutoff, batch_size):
        yield partial(remove_generations, first_job_ids=first_job_ids)
    for nonces in find_old_nonces(reader, cutoff, batch_size):
        yield partial(remove_nonces, nonces=nonces, before=cutoff)
    if with_keys:
        for keys in find_old_keys(reader, cutoff, batch_size):
            yield partial(remove_keys, keys=keys, before=cutoff)
