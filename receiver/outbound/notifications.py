"""Webhook notifications: turns outbox entries into notifications, which are sent like any other request.

Every transaction that may finish a request, or that changes a job, writes an outbox entry. This module reads the
request or the job again, under a lock of the request: if its state is to be notified, and is not the one that was
notified last, a notification is queued in the transaction that deletes the entry. If two jobs end at the same time, the
transaction that commits last leaves an entry under which both are visible.

The jobs of one request that change at about the same time share a notification.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from itertools import groupby
from typing import Any

import structlog
from uuid_utils.compat import uuid7

from receiver.domain.notifications import NotificationType, NotifyEvent
from receiver.providers.webhook import DEADLINE_S, PROVIDER_NAME
from receiver.schemas.api.notifications import (
    MAX_CHANGED_JOBS,
    MAX_NOTIFIED_JOBS,
    ChangedJobsSchema,
    FinishedRequestSchema,
)
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.notifications import (
    PendingJob,
    PendingNotification,
    find_pending_jobs,
    find_pending_notifications,
    save_notified,
    save_notified_jobs,
    take_job_outbox,
    take_outbox,
)
from receiver.store.requests import (
    NewRequest,
    Request,
    RequestDetail,
    find_request_details,
    find_requests,
    submit_requests,
)

_REQUEST_BATCH_SIZE = 100
_JOB_BATCH_SIZE = 1_000
_IDLE_INTERVAL_S = 0.2
_MAX_LOGGED = 20

_FINISHED_REQUEST = FinishedRequestSchema()
_CHANGED_JOBS = ChangedJobsSchema()
_log = structlog.get_logger(__name__)


def queue_notifications(database: Database) -> float:
    """Queue the pending notifications; return the seconds until the next call."""
    with database.transaction() as connection:
        has_more_requests = _queue_finished_requests(connection)
    with database.transaction() as connection:
        has_more_jobs = _queue_changed_jobs(connection)
    return 0.0 if has_more_requests or has_more_jobs else _IDLE_INTERVAL_S


def _queue_finished_requests(connection: Connection) -> bool:
    """Queue notifications about requests; return whether there may be more."""
    request_ids = take_outbox(connection, _REQUEST_BATCH_SIZE)
    pending = find_pending_notifications(connection, request_ids) if request_ids else []
    if pending:
        details = find_request_details(connection, [each.id for each in pending], MAX_NOTIFIED_JOBS)
        details_by_id = {detail.id: detail for detail in details}
        _submit(connection, [_build_finished_request(each, details_by_id[each.id]) for each in pending])
        save_notified(connection, pending)
    return len(request_ids) == _REQUEST_BATCH_SIZE


def _queue_changed_jobs(connection: Connection) -> bool:
    """Queue notifications about jobs; return whether there may be more."""
    job_ids = take_job_outbox(connection, _JOB_BATCH_SIZE)
    pending = find_pending_jobs(connection, job_ids) if job_ids else []
    if pending:
        requests = {each.id: each for each in find_requests(connection, {job.request_id for job in pending})}
        notifications = [
            _build_changed_jobs(requests[request_id], jobs)
            for request_id, group in groupby(pending, lambda job: job.request_id)
            for jobs in _split(list(group))
        ]
        _submit(connection, notifications)
        save_notified_jobs(connection, pending)
    return len(job_ids) == _JOB_BATCH_SIZE


def _split(jobs: Sequence[PendingJob]) -> Sequence[Sequence[PendingJob]]:
    """Split the jobs of one request into those of each notification."""
    return [jobs[start : start + MAX_CHANGED_JOBS] for start in range(0, len(jobs), MAX_CHANGED_JOBS)]


def _submit(connection: Connection, notifications: Sequence[NewRequest]) -> None:
    submit_requests(connection, notifications)
    request_ids = {notification.metadata["request_id"] for notification in notifications[:_MAX_LOGGED]}
    _log.info("notifications.queued", count=len(notifications), requests=sorted(request_ids))


def _build_finished_request(notification: PendingNotification, detail: RequestDetail) -> NewRequest:
    values = {field.name: getattr(detail, field.name) for field in fields(detail)}
    data = _FINISHED_REQUEST.dump(values | {"jobs_total": notification.jobs})
    return _build_notification(detail, NotificationType.REQUEST_FINISHED, data, notification.read_at)


def _build_changed_jobs(request: Request, jobs: Sequence[PendingJob]) -> NewRequest:
    wants_changes = NotifyEvent.JOB_CHANGE in (request.notify_events or ())
    notification_type = NotificationType.JOBS_CHANGED if wants_changes else NotificationType.JOBS_FINISHED
    values = {name: getattr(request, name) for name in ("provider", "operation", "metadata")}
    data = _CHANGED_JOBS.dump(values | {"request_id": request.id, "jobs": jobs})
    return _build_notification(request, notification_type, data, jobs[0].read_at)


def _build_notification(
    request: Request, notification_type: NotificationType, data: Mapping[str, Any], read_at: datetime
) -> NewRequest:
    """Build the request that sends a notification about a request."""
    timestamp = read_at.isoformat().replace("+00:00", "Z")
    return NewRequest(
        id=uuid7(),
        provider=PROVIDER_NAME,
        operation=notification_type,
        payload={
            "url": request.notify_url,
            "body": {"type": notification_type, "timestamp": timestamp, "data": data},
        },
        metadata={"request_id": str(request.id), "provider": request.provider},
        due_at=None,
        deadline_at=None,
        deadline_after=DEADLINE_S,
        client=request.client,
        traceparent=request.traceparent,
    )
