"""The group commit of submissions: the requests and idempotency keys of many calls, stored in one transaction.

A call waits for another transaction that is reserving the same idempotency key. In a group commit, it would wait only
briefly, as all other calls wait with it; then it leaves the group commit, and waits on a connection of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from receiver.domain.accounts import split_account
from receiver.domain.paging import Page
from receiver.domain.records import record
from receiver.schemas.api.common import list_of
from receiver.schemas.api.requests import RequestSchema, RequestSummarySchema
from receiver.store.connections import Connection, timed_transaction
from receiver.store.database import Database
from receiver.store.errors import LockTimedOut, StoreConflict
from receiver.store.group_commit import GroupCommit
from receiver.store.keys import IdempotentResponse, find_idempotent_response
from receiver.store.requests import (
    IdempotentCall,
    NewRequest,
    find_request_details,
    submit_requests,
)

_MAX_BATCH_BYTES = 1 << 20
_LOCK_LIMIT_S = 0.1
_REQUEST = RequestSchema()
_LIST = list_of(RequestSummarySchema)()


@record(frozen=True, slots=True)
class SubmittedCall:
    """A call of a client that submits requests: all of them or none.

    Args:
        requests: at least one. If the call has an idempotency key, they have it too.
        is_batch: whether the response is a list.
        size: the size of the call's body in bytes.
        fingerprint: identifies the call among those with its idempotency key.
        location: the URL of what was created, which is stored with the idempotency key.
    """

    requests: Sequence[NewRequest]
    is_batch: bool
    size: int
    fingerprint: bytes
    location: str | None = None

    @property
    def key(self) -> tuple[str | None, str | UUID]:
        """The client and the idempotency key; of a call without one, what no other call has."""
        first = self.requests[0]
        return first.client, first.idempotency_key or first.id

    @property
    def has_idempotency_key(self) -> bool:
        return self.requests[0].idempotency_key is not None


class SubmissionBatcher(GroupCommit[SubmittedCall, bytes | IdempotentResponse | None]):
    """Commits calls; see `GroupCommit` for what `commit` raises."""

    def __init__(self, database: Database, *, max_waiting: int = 2_000) -> None:
        super().__init__(
            database,
            _submit_calls,
            max_waiting=max_waiting,
            get_size=lambda call: call.size,
            max_batch_bytes=_MAX_BATCH_BYTES,
            decides_health=False,  # callbacks can be committed while requests are locked
        )

    def commit(self, item: SubmittedCall, *, timeout: float | None = None) -> bytes | IdempotentResponse:
        """Return the body of the response, or the stored response if the idempotency key was used before."""
        result = super().commit(item, timeout=timeout)
        if result is not None:
            return result
        with self._database.connection() as connection:
            return _submit_together(connection, [item])[0]


def _submit_calls(connection: Connection, calls: Sequence[SubmittedCall]) -> list[bytes | IdempotentResponse | None]:
    """Submit calls; if a lock is not free, only those without an idempotency key. The result of the others is None."""
    if not any(call.has_idempotency_key for call in calls):
        return [*_submit_together(connection, calls)]
    try:
        return [*_submit_together(connection, calls, lock_limit_s=_LOCK_LIMIT_S)]
    except LockTimedOut:
        results = iter(_submit_together(connection, [call for call in calls if not call.has_idempotency_key]))
        return [None if call.has_idempotency_key else next(results) for call in calls]


def _submit_together(
    connection: Connection, calls: Sequence[SubmittedCall], *, lock_limit_s: float | None = None
) -> list[bytes | IdempotentResponse]:
    first_calls = {call.key: call for call in reversed(calls)}.values()  # of each idempotency key
    with timed_transaction(connection, lock_limit_s=lock_limit_s) as now:
        documents = {call.key: [_build_document(request, now) for request in call.requests] for call in first_calls}
        idempotent_calls = [
            _build_idempotent_call(call, key, documents[call.key])
            for call in first_calls
            if (key := call.requests[0].idempotency_key) is not None
        ]
        requests = [request for call in first_calls for request in call.requests]
        inserted = submit_requests(connection, requests, idempotent_calls)
        return [_build_result(connection, call, documents[call.key], inserted) for call in calls]


def _build_result(
    connection: Connection,
    call: SubmittedCall,
    documents: Sequence[dict[str, Any]],
    inserted: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> bytes | IdempotentResponse:
    request = call.requests[0]
    if str(request.id) in inserted:
        for document in documents:
            document["payload"], document["metadata"] = inserted[document["id"]]
        return _serialize(call, documents)
    if request.idempotency_key is None:
        return _serialize_stored(connection, call)
    stored = find_idempotent_response(connection, str(request.client), request.idempotency_key)
    if stored is None:
        raise StoreConflict("the idempotency key was removed meanwhile")
    return stored


def _build_idempotent_call(call: SubmittedCall, key: str, documents: Sequence[Mapping[str, Any]]) -> IdempotentCall:
    return IdempotentCall(
        str(call.requests[0].client), key, call.fingerprint, _serialize(call, documents), call.location
    )


def _build_document(request: NewRequest, now: datetime) -> dict[str, Any]:
    """Build the document of a request that is queued at the time `now`, without its payload and metadata.

    It is that of `RequestSummarySchema`, which takes several times as long.
    """
    reference = split_account(request.provider)
    due_at = max(request.due_at or now, now)
    return {
        "id": str(request.id),
        "provider": reference.provider,
        "account": reference.account,
        "operation": request.operation,
        "payload": None,
        "metadata": None,
        "status": request.status,
        "detail": None,
        "created_at": now,
        "due_at": due_at,
        "deadline_at": request.deadline_at or due_at + timedelta(seconds=request.deadline_after),
        "finished_at": None,
        "notify_url": request.notify_url,
        "notify_events": request.notify_events,
        "erased_at": None,
        "priority": request.priority,
        "reference_conflict": False,
    }


def _serialize(call: SubmittedCall, documents: Sequence[Mapping[str, Any]]) -> bytes:
    if call.is_batch:
        return orjson.dumps({"items": documents, "next_cursor": None})
    return orjson.dumps({**documents[0], "attempts": [], "jobs": [], "actions": []})


def _serialize_stored(connection: Connection, call: SubmittedCall) -> bytes:
    """Return the response of a call without an idempotency key whose first commit was done, but lost its reply."""
    details = find_request_details(connection, [request.id for request in call.requests])
    return orjson.dumps(_LIST.dump(Page(details)) if call.is_batch else _REQUEST.dump(details[0]))
