"""The changes since a position, in the order of commits: requests, callbacks and events of jobs.

A poll reads in one snapshot. What is after a position is decided by transactions and not by times: a transaction that
began earlier and is committed later is after it. Times only limit which rows are read. This holds for transactions
without savepoints, as all of the service are: snapshots do not list the ids that rows get within one.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from receiver.domain.sending import RequestStatus
from receiver.domain.tail import TailCursor, merge_cursors, narrow_xid, widen_xid
from receiver.store.callbacks import Verdict
from receiver.store.connections import Connection, row_factory
from receiver.store.database import Database
from receiver.store.statements import load_statement

MAX_CHANGES = 10_000
"""The most changes of each kind that a poll returns."""
MAX_AGE = timedelta(minutes=10)
"""How far back a poll reads, whatever the position is and however long a transaction was open."""
_COMMIT_MARGIN = timedelta(seconds=15)
"""Longer than the service takes from the receipt of a callback or status to the begin of its transaction."""
_LARGE_BODY_BYTES = 64 << 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_BEGIN = b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a request, a callback or a job.

    Args:
        kind: `request`, `callback` or `job`.
        at: when it happened or was received, UTC.
        started_at: when the transaction began that changed a request, UTC.
        xid: the id of the transaction that changed a callback or a job.
        client: the client of the request, if there is one.
        id: the id of the request, callback or job.
        status: the status that the request now has, the verdict of the callback, or the status that the event reports.
        source, provider_status, code, detail: of the event.
        errors: of the callback, why it was refused or is invalid.
        job_status: the status that the job has.
    """

    kind: str
    at: datetime
    started_at: datetime | None
    xid: int | None
    provider: str
    client: str | None
    id: UUID
    request_id: UUID | None
    callback_id: UUID | None
    reference: str | None
    status: str | None
    source: str | None
    operation: str | None
    provider_status: str | None
    code: str | None
    detail: str | None
    errors: Mapping[str, Any] | None
    job_status: str | None

    def is_after(self, cursor: TailCursor) -> bool:
        """Return whether the change was committed after a position."""
        if self.xid is not None:
            return not cursor.sees_xid(self.xid)
        return self.started_at is None or not cursor.sees_time(self.started_at)


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes after some positions, in order of time, up to a new position.

    `since`: changes before this time (UTC) were not read; `is_cut`: there are more than `MAX_CHANGES` of one kind.
    """

    items: Sequence[Change]
    cursor: TailCursor
    since: datetime
    is_cut: bool


def read_changes(database: Database, cursors: Collection[TailCursor]) -> Changes:
    """Return all changes that are after any of the positions; none without positions.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    with database.connection() as connection:
        time, transactions = _read_running(connection)
        connection.execute(_BEGIN, prepare=False)
        try:
            next_xid, running = _fetch_one(connection, "read_tail_snapshot")
            started = frozenset(started_at for started_at, _ in transactions)
            cursor = TailCursor(time, next_xid, frozenset(running), started)
            if not cursors:
                return Changes((), cursor, time, is_cut=False)
            # A transaction that ended between the two reads is not running in the snapshot.
            open_times = {
                started_at for started_at, xid in transactions if xid is None or xid >= next_xid or xid in running
            }
            position = merge_cursors(cursors)
            since = time - MAX_AGE
            ended = [started_at for started_at in position.started if started_at not in open_times]
            read_from = max(min([position.time, *ended]), since) - _COMMIT_MARGIN
            return _read(connection, position, cursor, read_from, since)
        finally:
            connection.rollback()


def _read(
    connection: Connection, position: TailCursor, cursor: TailCursor, received_from: datetime, since: datetime
) -> Changes:
    params: dict[str, Any] = {
        "time": max(position.time, since),
        "started": sorted(position.started),
        "received_from": received_from,
        "next_xid": str(narrow_xid(position.next_xid)),
        "running": [str(narrow_xid(xid)) for xid in position.running],
        "statuses": list(RequestStatus),
        "verdicts": list(Verdict),
        "min_bytes": _LARGE_BODY_BYTES,
        "limit": MAX_CHANGES,
    }
    params["replayed"] = _fetch_ids(connection, "find_replayed_callbacks", params)
    callbacks = _fetch_changes(connection, "read_changed_callbacks", params, cursor.next_xid)
    params["callback_ids"] = [callback.id for callback in callbacks]
    events = _fetch_changes(connection, "read_changed_events", params, cursor.next_xid)
    requests = _fetch_changes(connection, "read_changed_requests", params, cursor.next_xid)
    is_cut = any(len(changes) >= MAX_CHANGES for changes in (requests, callbacks, events))
    items = sorted((*requests, *callbacks, *events), key=lambda change: change.at)
    return Changes(items, cursor, since, is_cut)


def _read_running(connection: Connection) -> tuple[datetime, list[tuple[datetime, int | None]]]:
    """Return the time, and when each running transaction had begun, with its id if it has one."""
    time, running = _fetch_one(connection, "read_running_transactions")
    rows = json.loads(running)
    return time, [(_EPOCH + timedelta(microseconds=start), int(xid) if xid else None) for start, xid in rows]


def _fetch_changes(connection: Connection, statement: str, params: dict[str, Any], next_xid: int) -> list[Change]:
    # No statement of this module is prepared: a plan for many rows would be used for few.
    widen: Callable[[int], int] = lambda xid: widen_xid(xid, next_xid)  # noqa: E731  # a converter
    cursor = connection.cursor(row_factory=row_factory(Change, xid=widen))
    return cursor.execute(load_statement(statement), params, prepare=False).fetchall()


def _fetch_ids(connection: Connection, statement: str, params: dict[str, Any]) -> list[UUID]:
    rows = connection.execute(load_statement(statement), params, prepare=False)
    return [row_id for (row_id,) in rows]


def _fetch_one(connection: Connection, statement: str) -> tuple[Any, ...]:
    row = connection.execute(load_statement(statement), prepare=False).fetchone()
    if row is None:
        raise AssertionError(f"{statement} returns a row")
    return row
