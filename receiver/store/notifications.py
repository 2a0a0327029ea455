"""Who is to be told that a request is over: notices, and what was told last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.store.database import Connection
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class PendingNotification:
    """A request that is over, `at` (UTC), in a way that was not told yet; it has so many `jobs`."""

    id: UUID
    notify_url: str
    jobs: int
    digest: bytes
    at: datetime


def take_outbox(connection: Connection, limit: int) -> list[UUID]:
    """Take the oldest notices and give the requests they are of, which are locked; call within a transaction."""
    # None of these is prepared: a plan from when the tables were small goes on to read them whole as they grow.
    taken = connection.execute(load_statement("take_outbox"), {"limit": limit}, prepare=False)
    return [request_id for (request_id,) in taken]


def find_pending_notifications(connection: Connection, request_ids: Sequence[UUID]) -> list[PendingNotification]:
    """Give those requests that are over and were not told of as they are now; call after `take_outbox`."""
    cursor = connection.cursor(row_factory=row_factory(PendingNotification))
    return cursor.execute(
        load_statement("find_pending_notifications"), {"ids": list(request_ids)}, prepare=False
    ).fetchall()


def save_notified(connection: Connection, told: Sequence[PendingNotification]) -> None:
    """Keep that these ends were told."""
    given = {"ids": [one.id for one in told], "digests": [one.digest for one in told]}
    connection.execute(load_statement("save_notified"), given, prepare=False)
