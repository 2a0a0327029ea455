"""The clock's word: a job whose deadline passed in silence is unresolved, which is not an end."""

import structlog

from receiver.domain.jobs import build_unresolved_event
from receiver.reconcile import reconcile
from receiver.store.database import Database
from receiver.store.jobs import lock_overdue_jobs

_AT_ONCE = 500
_IDLE = 0.5

_log = structlog.get_logger(__name__)


def mark_overdue_jobs(database: Database) -> float:
    """Mark overdue jobs; gives the seconds until the next look."""
    with database.transaction() as connection:
        overdue = lock_overdue_jobs(connection, _AT_ONCE)
        reconcile(
            connection,
            [
                build_unresolved_event(job.id, job.provider, job.reference, job.deadline_at, "deadline passed")
                for job in overdue
            ],
        )
    if overdue:
        _log.warning("jobs.unresolved", count=len(overdue))
    return 0.0 if len(overdue) == _AT_ONCE else _IDLE
