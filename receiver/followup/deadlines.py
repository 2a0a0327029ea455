"""Deadlines of jobs: an open job whose deadline passed becomes `unresolved`.

`unresolved` is not final: any later final status still decides the job.
"""

import structlog

from receiver.domain.jobs import build_unresolved_event
from receiver.reconcile import reconcile
from receiver.store.database import Database
from receiver.store.jobs import lock_overdue_jobs

_BATCH_SIZE = 500
_IDLE_INTERVAL_S = 0.5
_MAX_LOGGED = 20

_log = structlog.get_logger(__name__)


def mark_overdue_jobs(database: Database) -> float:
    """Mark a batch of overdue jobs as unresolved; return the seconds until the next call."""
    with database.transaction() as connection:
        jobs = lock_overdue_jobs(connection, _BATCH_SIZE)
        reconcile(
            connection,
            [
                build_unresolved_event(job.id, job.provider, job.reference, job.deadline_at, "deadline passed")
                for job in jobs
            ],
        )
    if jobs:
        _log.warning("jobs.expired", count=len(jobs), jobs=[str(job.id) for job in jobs[:_MAX_LOGGED]])
    return 0.0 if len(jobs) == _BATCH_SIZE else _IDLE_INTERVAL_S
