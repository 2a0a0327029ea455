"""Who is to be told that a request is over: notices, and what was told last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.store.database import Connection
from receiver.store.rows import row_of
from receiver.store.statements import statement


@dataclass(frozen=True, slots=True)
class Untold:
    """A request that is over, `at` (UTC), in a way that was not told yet; it has so many `jobs`."""

    id: UUID
    notify_url: str
    jobs: int
    digest: bytes
    at: datetime


def take_notices(connection: Connection, limit: int) -> list[UUID]:
    """Take the oldest notices and give the requests they are of, which are locked; call within a transaction."""
    # None of these is prepared: a plan from when the tables were small goes on to read them whole as they grow.
    taken = connection.execute(statement("take_notices"), {"limit": limit}, prepare=False)
    return [request_id for (request_id,) in taken]


def untold_requests(connection: Connection, request_ids: Sequence[UUID]) -> list[Untold]:
    """Give those requests that are over and were not told of as they are now; call after `take_notices`."""
    cursor = connection.cursor(row_factory=row_of(Untold))
    return cursor.execute(statement("untold_requests"), {"ids": list(request_ids)}, prepare=False).fetchall()


def note_told(connection: Connection, told: Sequence[Untold]) -> None:
    """Keep that these ends were told."""
    given = {"ids": [one.id for one in told], "digests": [one.digest for one in told]}
    connection.execute(statement("note_told"), given, prepare=False)
