"""What an operator may do about a job: have its provider asked now, or say how it ended.

Both are events of the job, with who and why.
"""

from uuid_utils.compat import uuid7

from receiver.domain.access import OperatorAction
from receiver.domain.errors import StateConflict
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, compute_precedence
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.store.database import Connection
from receiver.store.jobs import Job, schedule_polls_now


def poll_now(connection: Connection, job: Job, provider: Provider | None, operator: OperatorAction) -> None:
    """Make a job due to be asked about; call within a transaction.

    Raises:
        StateConflict: it is final, or its provider cannot be asked.
    """
    if job.status.is_final:
        raise StateConflict(f"the job has {job.status} already; there is nothing to ask")
    if provider is None or not provider.can_poll:
        raise StateConflict(f"{job.provider} cannot be asked: it has no poll in the configuration")
    reconcile(
        connection, [_said(job, None, operator, f"asked to poll{f': {operator.reason}' if operator.reason else ''}")]
    )
    schedule_polls_now(connection, [job.id])


def resolve(connection: Connection, job: Job, status: JobStatus, operator: OperatorAction) -> None:
    """Record an operator's word on how a job ended. It outweighs every other; among operators' the first stands."""
    reconcile(connection, [_said(job, status, operator, operator.reason)])


def _said(job: Job, status: JobStatus | None, operator: OperatorAction, detail: str | None) -> JobEvent:
    return JobEvent(
        job_id=job.id,
        key=uuid7(),
        provider=job.provider,
        reference=job.reference,
        source=EventSource.OPERATOR,
        status=status,
        precedence=compute_precedence(status, EventSource.OPERATOR),
        received_at=operator.created_at,
        deadline_at=job.deadline_at,
        detail=detail,
        actor=operator.actor,
    )
