"""The outbox of webhook notifications: which requests may have ended, and which end was last notified."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.store.connections import Connection, row_factory
from receiver.store.statements import load_statement


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
