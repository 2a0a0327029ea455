"""Tells clients that their requests are over: turns notices into notifications, which are sent as requests are.

Whatever may have ended a request left a notice in its own transaction. Here the request is looked at once more, behind
its lock: if it is over, and its end is not what was told last, a notification is queued in the transaction that takes
the notice. Of two jobs that end at once, whoever commits last leaves a notice under which both are seen.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import structlog
from uuid_utils.compat import uuid7

from receiver.providers.webhook import DEADLINE, DELIVER, EVENT, NAME
from receiver.schemas.api.requests import MOST_JOBS_TOLD, FinishedRequestSchema
from receiver.store.actions import find_actions
from receiver.store.database import Connection, Database
from receiver.store.jobs import find_request_jobs
from receiver.store.notifications import PendingNotification, find_pending_notifications, save_notified, take_outbox
from receiver.store.requests import NewRequest, find_attempts, find_requests, submit_requests

_AT_ONCE = 100
_IDLE = 0.2

_FINISHED = FinishedRequestSchema()
_log = structlog.get_logger(__name__)


def queue_notifications(database: Database) -> float:
    """Queue what is to be told; gives the seconds until the next look."""
    with database.transaction() as connection:
        taken = take_outbox(connection, _AT_ONCE)
        if not taken:
            return _IDLE
        pending = find_pending_notifications(connection, taken)
        if pending:
            submit_requests(connection, [_notification(connection, one) for one in pending])
            save_notified(connection, pending)
    if pending:
        _log.info("notifications.queued", count=len(pending))
    return 0.0 if len(taken) == _AT_ONCE else _IDLE


def _notification(connection: Connection, pending: PendingNotification) -> NewRequest:
    return NewRequest(
        id=uuid7(),
        provider=NAME,
        operation=DELIVER,
        payload={"url": pending.notify_url, "body": _body(connection, pending)},
        metadata={"request_id": str(pending.id)},
        due_at=None,
        deadline_at=None,
        deadline_after=DEADLINE,
    )


def _body(connection: Connection, pending: PendingNotification) -> Mapping[str, Any]:
    [request] = find_requests(connection, [pending.id])
    detail = {one.name: getattr(request, one.name) for one in fields(request)} | {
        "attempts": find_attempts(connection, pending.id),
        "jobs": find_request_jobs(connection, pending.id, MOST_JOBS_TOLD),
        "jobs_total": pending.jobs,
        "actions": find_actions(connection, pending.id),
    }
    timestamp = pending.read_at.isoformat().replace("+00:00", "Z")
    return {"type": EVENT, "timestamp": timestamp, "data": _FINISHED.dump(detail)}
