"""Retention: erases the payloads, responses and raw callbacks of providers that store them for a limited time.

Statuses, events and actions stay. Each batch is a short transaction; several workers share the work.
"""

import time
from collections.abc import Mapping, Sequence

import structlog

from receiver.providers.base import Provider
from receiver.store.database import Database
from receiver.store.retention import ExpiredCounts, ProviderRetention, erase_expired

_BATCH_SIZE = 500
_INTERVAL_S = 5.0
_BUSY_INTERVAL_S = 0.05
_REST_FACTOR = 100.0
"""With many providers, the time between two looks is this many times the time that a look takes."""

_log = structlog.get_logger(__name__)


def list_retentions(providers: Mapping[str, Provider]) -> Sequence[ProviderRetention]:
    """Return what the providers store for a limited time."""
    return [
        ProviderRetention(name, kind, seconds)
        for name, provider in providers.items()
        for kind, seconds in provider.retention.seconds.items()
    ]


def apply_retentions(database: Database, retentions: Sequence[ProviderRetention]) -> float:
    """Erase the next data whose retention has ended; return the seconds until the next call."""
    started_at = time.monotonic()
    is_complete = True
    for retention in retentions:
        counts = apply_retention(database, retention)
        is_complete &= counts.examined < _BATCH_SIZE
    return max(_INTERVAL_S, (time.monotonic() - started_at) * _REST_FACTOR) if is_complete else _BUSY_INTERVAL_S


def apply_retention(database: Database, retention: ProviderRetention) -> ExpiredCounts:
    """Erase a batch of the data whose retention has ended."""
    with database.transaction() as connection:
        counts = erase_expired(connection, retention, _BATCH_SIZE)
    if counts.erased:
        _log.info("retention.applied", provider=retention.provider, kind=retention.kind, erased=counts.erased)
    return counts
