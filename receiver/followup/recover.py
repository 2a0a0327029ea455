"""Recovery after a restored backup in batches, for `receiver recover`.

A database that is restored from a backup does not know what the lost one sent after the backup was taken. Requests that
may have been sent then become `unknown`, so that only evidence or an operator decides whether they are sent again.

Each batch is a short transaction. Recovery can be interrupted at any time and started again; what was recovered, and
what happened since, is not changed.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from receiver.domain.sending import RESTORED_DETAIL
from receiver.providers.base import Provider, find_lookup_delays
from receiver.providers.webhook import PROVIDER_NAME
from receiver.store.database import Database
from receiver.store.recover import RecoveredCounts, Recovery, find_recoverable_requests, recover_requests

_ACTOR = "receiver recover"
_BATCH_SIZE = 500


def recover(
    database: Database,
    before: datetime,
    providers: Mapping[str, Provider],
    *,
    dry_run: bool = False,
    batch_size: int = _BATCH_SIZE,
    report_progress: Callable[[str], None] = lambda _: None,
) -> RecoveredCounts:
    """Set requests to `unknown` that the lost database may have sent without a record in this one.

    These are the requests that were due before `before`, or that were being sent. Webhook notifications are left
    alone: they are delivered at least once in any case.

    Args:
        database: the restored database.
        before: when the lost database was last in use, UTC.
        providers: the configured providers by name, some of which support lookups.
        dry_run: only count; roll back each batch.
        batch_size: the number of requests to recover in one transaction.
        report_progress: called with a line of text after each batch.

    Raises:
        StoreError: a statement failed. Batches that were recovered before remain recovered.
    """
    lookup_delays = find_lookup_delays(providers)
    recovery = Recovery(before, RESTORED_DETAIL, _ACTOR, f"--before {before.isoformat()}", lookup_delays)
    recovered = RecoveredCounts()
    with database.connection() as reader, database.connection() as writer:
        for request_ids in find_recoverable_requests(reader, before, batch_size, ignored_provider=PROVIDER_NAME):
            with writer.transaction(force_rollback=dry_run):
                recovered += recover_requests(writer, request_ids, recovery)
            report_progress(f"{recovered.unknown:,} unknown, {recovered.accepted:,} accepted")
    return recovered
