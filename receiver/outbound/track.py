"""Tracking: jobs of requests that clients sent to providers themselves.

A tracked job is that of a request like any other, except that the request is stored as accepted and has no attempts.
The job's first event says what the client reports: the response of the provider that accepted it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from receiver.domain.access import OperatorAction
from receiver.domain.errors import ReceiverError, StateConflict
from receiver.domain.filters import JobFilter
from receiver.domain.jobs import EventSource, JobStatus, StatusReport
from receiver.domain.notifications import NotifyEvent
from receiver.domain.sending import RequestStatus
from receiver.domain.targets import TargetRules
from receiver.outbound.submit import check_notify_url, find_provider
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.store.connections import Connection
from receiver.store.jobs import list_jobs, set_job_deadline
from receiver.store.requests import NewRequest, find_requests, submit_requests

OPERATION = "job.track"
"""The operation of tracked requests; no provider can have an operation of this name, which has a full stop."""


@dataclass(frozen=True, slots=True)
class TrackedReference:
    """The reference that a provider gave `client`. `metadata` is a JSON object, `deadline` is UTC.

    `notify_url` gets webhook notifications of the `notify_events`, by default once the job is final. `traceparent` is
    the trace context of the call. `id` is that of the request to be; it is set before the request is first stored, so
    that a transaction that was lost can be repeated.
    """

    provider: str
    reference: str
    metadata: Mapping[str, Any]
    client: str
    deadline: datetime | None = None
    notify_url: str | None = None
    notify_events: Sequence[NotifyEvent] = (NotifyEvent.REQUEST,)
    account: str | None = None
    traceparent: str | None = None
    id: UUID = field(default_factory=uuid7)


class AlreadyTracked(ReceiverError):
    """The same client tracked the job, or sent its request, before."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"the job {job_id} is tracked already")
        self.job_id = job_id


def track_reference(
    connection: Connection,
    providers: Mapping[str, Provider],
    tracked: TrackedReference,
    operator: OperatorAction,
    notify_targets: TargetRules | None = None,
) -> UUID:
    """Store a request with the job of a reference and return the id of the job.

    Call within a transaction, which must be rolled back if an error is raised.

    If callbacks with the reference came first, their job becomes that of the request.

    Args:
        connection: any connection.
        providers: the configured providers by name.
        tracked: the reference.
        operator: who tracks the reference, and when.
        notify_targets: the hosts that may be notified; None if notifications are disabled.

    Raises:
        InvalidSubmission: the provider or account does not exist, or `notify_url` may not be called.
        AlreadyTracked: the job belongs to a request of this client.
        StateConflict: the job belongs to a request of another client.
    """
    provider = find_provider(providers, tracked.provider, tracked.account)
    check_notify_url(tracked.notify_url, notify_targets)
    request = NewRequest(
        id=tracked.id,
        provider=provider.name,
        operation=OPERATION,
        payload={"reference": tracked.reference},
        metadata=tracked.metadata,
        due_at=None,
        deadline_at=tracked.deadline,
        deadline_after=provider.deadline,
        notify_url=tracked.notify_url,
        notify_events=tracked.notify_events if tracked.notify_url else None,
        client=tracked.client,
        status=RequestStatus.ACCEPTED,
        traceparent=tracked.traceparent,
    )
    event = provider.build_event(
        StatusReport(tracked.reference, JobStatus.ACCEPTED),
        EventSource.RESPONSE,
        request.id,
        operator.created_at,
        request_id=request.id,
        notify=request.notify_url is not None,
        notify_events=request.notify_events,
    )
    submit_requests(connection, [request])
    for conflict in reconcile(connection, [replace(event, actor=operator.actor)]):
        owners = find_requests(connection, [conflict.owner_id])
        if tracked.client in {owner.client for owner in owners}:
            raise AlreadyTracked(conflict.job_id)
        raise StateConflict("The job with this reference belongs to another request. Check the reference.")
    [job] = list_jobs(connection, JobFilter(request_id=request.id)).items
    if tracked.deadline is not None:
        set_job_deadline(connection, job.id, tracked.deadline)
    return job.id
