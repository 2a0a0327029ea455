"""Webhook notifications: the outbox, which end of each request was last notified, and what was sent.

A notification is a request to the provider `notify`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.filters import NotificationFilter
from receiver.domain.notifications import NotificationStatus, NotificationType, get_status
from receiver.domain.paging import FIRST_PAGE, Cursor, Page, PageRequest
from receiver.domain.sending import RequestStatus
from receiver.store.connections import Connection, row_factory
from receiver.store.statements import build_page_parameters, load_statement


@dataclass(frozen=True, slots=True)
class PendingNotification:
    """A finished request whose client is to be notified.

    `jobs` is the number of its jobs, `digest` identifies its final state, and `read_at` (UTC) is the time when that
    state was read.
    """

    id: UUID
    notify_url: str
    jobs: int
    digest: bytes
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification about a request; times are UTC.

    `provider` and `client` are those of the request, `job_ids` are the first 100 jobs in the notification. It has had
    `attempt_count` attempts, the newest of them at `last_attempt_at`, with `response_status` or an `error`.
    """

    id: UUID
    type: NotificationType
    url: str | None
    provider: str | None
    request_id: UUID
    job_ids: Sequence[str]
    client: str | None
    status: NotificationStatus
    detail: str | None
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    attempt_count: int
    last_attempt_at: datetime | None
    response_status: int | None
    error: str | None


def take_outbox(connection: Connection, limit: int) -> list[UUID]:
    """Delete the oldest rows of the outbox, lock their requests and return the requests' ids.

    Call within a transaction, which keeps the requests locked.
    """
    # No statement of this module is prepared: a plan made while the tables are small would go on to read them whole.
    rows = connection.execute(load_statement("take_outbox"), {"limit": limit}, prepare=False)
    return [request_id for (request_id,) in rows]


def find_pending_notifications(connection: Connection, request_ids: Sequence[UUID]) -> list[PendingNotification]:
    """Return those of the requests that are finished in a way that was not notified yet; call after `take_outbox`."""
    cursor = connection.cursor(row_factory=row_factory(PendingNotification))
    return cursor.execute(
        load_statement("find_pending_notifications"), {"ids": list(request_ids)}, prepare=False
    ).fetchall()


def save_notified(connection: Connection, notifications: Sequence[PendingNotification]) -> None:
    """Store which final state of each request was notified last."""
    params = {
        "ids": [notification.id for notification in notifications],
        "digests": [notification.digest for notification in notifications],
    }
    connection.execute(load_statement("save_notified"), params, prepare=False)


def list_notifications(
    connection: Connection,
    notification_filter: NotificationFilter,
    page: PageRequest[Cursor] = FIRST_PAGE,
    *,
    client: str | None = None,
) -> Page[Notification]:
    """Return a page of the notifications that match a filter, newest first; with `client`, only of this client."""
    ids = notification_filter.ids
    if notification_filter.request_id is not None:
        params = {"request_id": notification_filter.request_id}
        ids = [found for (found,) in connection.execute(load_statement("find_notifications_of_request"), params)]
    statuses = NotificationStatus if notification_filter.status is None else [notification_filter.status]
    cursor = connection.cursor(
        row_factory=row_factory(
            Notification, type=NotificationType, status=lambda status: get_status(RequestStatus(status))
        )
    )
    rows = cursor.execute(
        load_statement("list_notifications"),
        {
            **asdict(notification_filter),
            "ids": ids,
            "client": client,
            "statuses": [request_status for status in statuses for request_status in status.request_statuses],
            **build_page_parameters(page),
        },
        prepare=False,
    ).fetchall()
    return Page.from_rows(rows, page.limit, lambda notification: Cursor(notification.created_at, notification.id))


def resend_notification(connection: Connection, notification_id: UUID, deadline_after: float) -> bool:
    """Make a notification due now, for `deadline_after` seconds at most.

    Returns:
        False if it is being sent, or its body is no longer stored.
    """
    params = {"id": notification_id, "deadline_after": deadline_after}
    return connection.execute(load_statement("resend_notification"), params).rowcount == 1
