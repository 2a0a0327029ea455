"""Operators' actions on jobs: poll now, and set a job's final status manually.

Each action is recorded as an event of the job, so that the job's status stays a fold over its events.
"""

from dataclasses import replace
from datetime import timedelta

from uuid_utils.compat import uuid7

from receiver.domain.access import OperatorAction
from receiver.domain.errors import StateConflict
from receiver.domain.jobs import JobEvent, JobStatus, build_operator_event
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.jobs import Job, find_resolution_time, schedule_polls_now

_CLOCK_RESOLUTION = timedelta(microseconds=1)


def poll_now(connection: Connection, job: Job, provider: Provider | None, operator: OperatorAction) -> None:
    """Make a job due for a poll; call within a transaction.

    Raises:
        StateConflict: the job is final, or its provider cannot be polled.
    """
    if job.status.is_final:
        raise StateConflict(f"The job already has the final status {job.status}. There is nothing to poll.")
    if provider is None:
        raise StateConflict(f"The provider {job.provider} is not configured. Configure it to poll its jobs.")
    if provider.poller is None:
        raise StateConflict(f"The provider {job.provider} cannot be polled. Its configuration has no `poll` table.")
    detail = f"poll requested: {operator.reason}" if operator.reason else "poll requested"
    reconcile(connection, [_build_event(job, None, operator, detail)])
    schedule_polls_now(connection, [job.id])


def resolve(connection: Connection, job: Job, status: JobStatus, operator: OperatorAction) -> None:
    """Set a job's final status manually.

    The status has precedence over whatever the provider reports. Of several operators' statuses the latest stands. The
    event is dated after all stored ones, so that a process whose clock is behind can correct them too.
    """
    resolved_at = find_resolution_time(connection, job.id)
    if resolved_at is not None:
        operator = replace(operator, created_at=max(operator.created_at, resolved_at + _CLOCK_RESOLUTION))
    reconcile(connection, [_build_event(job, status, operator, operator.reason)])


def _build_event(job: Job, status: JobStatus | None, operator: OperatorAction, detail: str | None) -> JobEvent:
    return build_operator_event(
        job.id,
        job.provider,
        job.reference,
        operator,
        key=uuid7(),
        deadline_at=job.deadline_at,
        status=status,
        detail=detail,
    )
