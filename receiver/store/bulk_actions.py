"""Previews of actions on many requests: their requests, and how many of these are processed."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.bulk_actions import BulkCall
from receiver.domain.sending import RequestStatus
from receiver.store.connections import Connection, as_jsonb, row_factory
from receiver.store.requests import build_metadata_parameters
from receiver.store.statements import load_statement

LIFETIME_S = 3_600.0
"""Seconds after a preview, or after its action last got further, until the preview is deleted."""
MAX_PREVIEWS = 10
"""How many previews of a client are stored, the newest ones."""
_SAMPLE_SIZE = 10
_NO_METADATA = {"key": None, "value": None, "other_metadata": None}


@dataclass(frozen=True, slots=True)
class BulkAction:
    """A preview of an action, and its progress.

    Attributes:
        id: the token of the preview.
        digest: identifies the action and the filter.
        count: the number of the requests.
        processed: how many of them are processed.
        applied: how many of the processed ones were changed.
        expires_at: when the preview is deleted, UTC.
        sample_ids: the first of the requests.
    """

    id: UUID
    digest: bytes
    count: int
    processed: int
    applied: int
    expires_at: datetime
    sample_ids: Collection[UUID]


def insert_bulk_action(
    connection: Connection,
    token: UUID,
    call: BulkCall,
    *,
    statuses: Collection[RequestStatus],
    providers: Collection[str] | None,
    limit: int,
) -> BulkAction:
    """Store the preview of a call and return it; call within a transaction.

    Args:
        connection: a connection to the primary.
        token: the token of the preview.
        call: the call.
        statuses: the statuses of the requests; of accepted ones, only those with a reference conflict.
        providers: the providers of the requests; None for all.
        limit: the maximum number of requests.
    """
    delete_params = {"client": call.client, "max_previews": MAX_PREVIEWS - 1}
    connection.execute(load_statement("delete_old_bulk_actions"), delete_params, prepare=False)
    metadata = call.request_filter.metadata
    params = {
        **asdict(call.request_filter),
        **(build_metadata_parameters(connection, metadata) if metadata else _NO_METADATA),
        "metadata": as_jsonb(metadata) if metadata else None,
        "id": token,
        "client": call.client,
        "own_client": call.own_client,
        "digest": call.digest,
        "statuses": [status for status in statuses if status is not RequestStatus.ACCEPTED],
        "conflicts": RequestStatus.ACCEPTED in statuses,
        "needs_payload": call.kind.needs_payload,
        "providers": None if providers is None else list(providers),
        "lifetime": LIFETIME_S,
        "limit": limit,
        "sample_size": _SAMPLE_SIZE,
    }
    cursor = connection.cursor(row_factory=row_factory(BulkAction))
    return _require(cursor.execute(load_statement("insert_bulk_action"), params, prepare=False).fetchone())


def lock_bulk_action(connection: Connection, token: UUID, client: str) -> BulkAction | None:
    """Return a client's preview, or None if there is none; call within a transaction, which keeps it locked."""
    cursor = connection.cursor(row_factory=row_factory(BulkAction))
    params = {"id": token, "client": client, "sample_size": _SAMPLE_SIZE}
    return cursor.execute(load_statement("lock_bulk_action"), params).fetchone()


def find_next_bulk_requests(connection: Connection, token: UUID, limit: int) -> list[UUID]:
    """Return the ids of at most `limit` requests of a preview that are not processed yet."""
    row = connection.execute(load_statement("find_next_bulk_requests"), {"id": token, "limit": limit}).fetchone()
    return list(row[0]) if row else []


def save_bulk_progress(connection: Connection, token: UUID, *, processed: int, applied: int) -> BulkAction:
    """Store that so many more requests of a locked preview were processed, and changed; return the preview."""
    cursor = connection.cursor(row_factory=row_factory(BulkAction))
    params = {
        "id": token,
        "processed": processed,
        "applied": applied,
        "lifetime": LIFETIME_S,
        "sample_size": _SAMPLE_SIZE,
    }
    return _require(cursor.execute(load_statement("save_bulk_progress"), params).fetchone())


def _require(action: BulkAction | None) -> BulkAction:
    if action is None:
        raise AssertionError("the statement returns its row")
    return action
