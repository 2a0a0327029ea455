"""Webhook notifications: turns outbox entries into notifications, which are sent like any other request.

Every transaction that may finish a request writes an outbox entry. This module reads the request again, under a lock:
if the request is finished, and its final state is not the one that was notified last, a notification is queued in the
transaction that deletes the entry. If two jobs end at the same time, the transaction that commits last leaves an entry
under which both are visible.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import structlog
from uuid_utils.compat import uuid7

from receiver.domain.notifications import NotificationType
from receiver.providers.webhook import DEADLINE_S, PROVIDER_NAME
from receiver.schemas.api.notifications import MAX_NOTIFIED_JOBS, FinishedRequestSchema
from receiver.store.database import Database
from receiver.store.notifications import PendingNotification, find_pending_notifications, save_notified, take_outbox
from receiver.store.requests import NewRequest, RequestDetail, find_request_details, submit_requests

_BATCH_SIZE = 100
_IDLE_INTERVAL_S = 0.2

_SCHEMA = FinishedRequestSchema()
_log = structlog.get_logger(__name__)


def queue_notifications(database: Database) -> float:
    """Queue the pending notifications; return the seconds until the next call."""
    with database.transaction() as connection:
        request_ids = take_outbox(connection, _BATCH_SIZE)
        if not request_ids:
            return _IDLE_INTERVAL_S
        pending = find_pending_notifications(connection, request_ids)
        if pending:
            details = find_request_details(connection, [each.id for each in pending], MAX_NOTIFIED_JOBS)
            details_by_id = {detail.id: detail for detail in details}
            submit_requests(connection, [_build_request(each, details_by_id[each.id]) for each in pending])
            save_notified(connection, pending)
    if pending:
        _log.info("notifications.queued", count=len(pending))
    return 0.0 if len(request_ids) == _BATCH_SIZE else _IDLE_INTERVAL_S


def _build_request(notification: PendingNotification, detail: RequestDetail) -> NewRequest:
    return NewRequest(
        id=uuid7(),
        provider=PROVIDER_NAME,
        operation=NotificationType.REQUEST_FINISHED,
        payload={"url": notification.notify_url, "body": _build_body(notification, detail)},
        metadata={"request_id": str(notification.id), "provider": detail.provider},
        due_at=None,
        deadline_at=None,
        deadline_after=DEADLINE_S,
        client=detail.client,
    )


def _build_body(notification: PendingNotification, detail: RequestDetail) -> Mapping[str, Any]:
    values = {field.name: getattr(detail, field.name) for field in fields(detail)}
    data = _SCHEMA.dump(values | {"jobs_total": notification.jobs})
    timestamp = notification.read_at.isoformat().replace("+00:00", "Z")
    return {"type": NotificationType.REQUEST_FINISHED, "timestamp": timestamp, "data": data}
