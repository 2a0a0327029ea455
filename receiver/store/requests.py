"""Requests and their attempts: queued, claimed by lease, ended."""

from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.domain.paging import Cursor, Page
from receiver.domain.sending import Attempt, Decision, NoResponse, NotSent, RequestStatus, Response
from receiver.schemas.api.requests import LONGEST_KEY, LONGEST_VALUE
from receiver.store.database import Connection
from receiver.store.jsonb import as_jsonb
from receiver.store.limits import ProviderCapacity
from receiver.store.paging import build_page_parameters
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement

_RARE_ENOUGH = 10_000


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request to queue. Without `deadline_at` it must be taken within `deadline_after` seconds of becoming due.

    Once it is over `notify_url`, where there is one, is told.
    """

    id: UUID
    provider: str
    operation: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any]
    due_at: datetime | None
    deadline_at: datetime | None
    deadline_after: float
    notify_url: str | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is stored; times are UTC."""

    id: UUID
    provider: str
    operation: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any]
    status: RequestStatus
    detail: str | None
    created_at: datetime
    due_at: datetime | None
    deadline_at: datetime
    finished_at: datetime | None
    notify_url: str | None = None


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """One attempt of a request; without `finished_at` it is under way, or its worker died."""

    number: int
    started_at: datetime
    finished_at: datetime | None
    response_status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """An attempt that is over, and what was decided about its request.

    If the request becomes unknown, its provider is asked about it after `first_lookup_after` seconds; None for never.
    """

    attempt: Attempt
    outcome: Response | NoResponse | NotSent
    decision: Decision
    first_lookup_after: float | None = None


def submit_requests(connection: Connection, requests: Sequence[NewRequest]) -> None:
    """Queue requests, all or none."""
    longest = {"longest_key": LONGEST_KEY, "longest_value": LONGEST_VALUE}
    connection.execute(load_statement("submit_requests"), {"requests": as_jsonb(requests), **longest})


def claim_requests(connection: Connection, capacities: Sequence[ProviderCapacity], lease: float) -> list[Attempt]:
    """Lease due requests for `lease` seconds and begin their attempts."""
    cursor = connection.cursor(row_factory=row_factory(Attempt))
    given = {"capacities": as_jsonb(capacities), "lease": lease}
    return cursor.execute(load_statement("claim_requests"), given, binary=True).fetchall()


def lock_lost_attempts(connection: Connection, limit: int) -> list[Attempt]:
    """Take attempts whose lease ran out; call within a transaction, which keeps them locked."""
    cursor = connection.cursor(row_factory=row_factory(Attempt))
    return cursor.execute(load_statement("lock_lost_attempts"), {"limit": limit}, binary=True).fetchall()


def record_outcomes(connection: Connection, ended: Iterable[AttemptOutcome]) -> bool:
    """End attempts and move their requests on.

    Gives whether each moved its request: one that was repeated meanwhile does not.
    """
    rows = [_outcome_row(one) for one in ended]
    # Not prepared: a plan that was cached while the tables were small goes on to read them whole as they grow.
    told = connection.execute(load_statement("record_outcomes"), {"outcomes": as_jsonb(rows)}, prepare=False)
    return told.fetchone() == (len(rows),)


def flag_reference_conflict(connection: Connection, request_id: UUID, detail: str) -> None:
    """Add to a request's detail that its reference belongs to another."""
    connection.execute(load_statement("flag_reference_conflict"), {"request_id": request_id, "detail": detail})


def expire_requests(connection: Connection, limit: int, lookup_delays: Mapping[str, float]) -> int:
    """End queued requests whose deadline passed and give their number.

    `lookup_delays` says in how many seconds each provider that can be asked is asked about those that are unknown then.
    """
    return connection.execute(
        load_statement("expire_requests"), {"limit": limit, "lookup_delays": as_jsonb(lookup_delays)}
    ).rowcount


def find_requests(connection: Connection, request_ids: Collection[UUID]) -> list[Request]:
    """Give requests in the order of their submission."""
    cursor = connection.cursor(row_factory=row_factory(Request, status=RequestStatus))
    return cursor.execute(load_statement("find_requests"), {"ids": list(request_ids)}).fetchall()


def list_requests(
    connection: Connection,
    *,
    status: RequestStatus | None = None,
    providers: Sequence[str] | None = None,
    operation: str | None = None,
    created_from: datetime | None = None,
    created_to: datetime | None = None,
    metadata: Mapping[str, str] | None = None,
    cursor: Cursor | None = None,
    limit: int = 50,
) -> Page[Request]:
    """Give requests, the newest first.

    Each argument leaves the requests that it fits: `created_from` is inclusive, `created_to` is not, `metadata` maps
    keys to the texts of their values.
    """
    given = {
        "statuses": list(RequestStatus) if status is None else [status],
        "providers": None if providers is None else list(providers),
        "operation": operation,
        "created_from": created_from,
        "created_to": created_to,
        **build_page_parameters(cursor, limit),
    }
    name = "list_requests"
    if metadata:
        name = "list_requests_by_metadata"
        key = _rarest(connection, metadata)
        others = {other: value for other, value in metadata.items() if other != key}
        given |= {"key": key, "value": metadata[key], "others": as_jsonb(others) if others else None}
    rows = connection.cursor(row_factory=row_factory(Request, status=RequestStatus))
    found = rows.execute(load_statement(name), given, prepare=False).fetchall()
    return Page.of(found, limit, lambda request: Cursor(request.created_at, request.id))


def _rarest(connection: Connection, metadata: Mapping[str, str]) -> str:
    """Give the key by which to look for requests that have all these values."""
    if len(metadata) == 1:
        return next(iter(metadata))
    given = {"metadata": as_jsonb(metadata), "most": _RARE_ENOUGH}
    rarest = connection.execute(load_statement("find_rarest_metadata"), given).fetchone()
    if rarest is None:
        raise AssertionError("rarest_metadata gives a row")
    return str(rarest[0])


def cancel_request(connection: Connection, request_id: UUID, first_lookup_after: float | None) -> bool:
    """Take a request out of the queue; False if it is not in it.

    If the request becomes unknown, its provider is asked about it after `first_lookup_after` seconds; None for never.
    """
    return (
        connection.execute(
            load_statement("cancel_request"), {"id": request_id, "first_lookup_after": first_lookup_after}
        ).rowcount
        == 1
    )


def retry_request(connection: Connection, request_id: UUID, deadline_after: float) -> bool:
    """Queue a request again that ended without being taken; False if it is in another state.

    If its deadline passed it gets a new one in `deadline_after` seconds.
    """
    given = {"id": request_id, "deadline_after": deadline_after}
    return connection.execute(load_statement("retry_request"), given).rowcount == 1


def find_attempts(connection: Connection, request_id: UUID) -> list[StoredAttempt]:
    """Give a request's attempts in order."""
    cursor = connection.cursor(row_factory=row_factory(StoredAttempt))
    return cursor.execute(load_statement("find_attempts"), {"id": request_id}).fetchall()


def _outcome_row(ended: AttemptOutcome) -> dict[str, Any]:
    outcome, decision = ended.outcome, ended.decision
    row: dict[str, Any] = {
        "attempt_id": ended.attempt.id,
        "status": decision.status,
        "detail": decision.detail,
        "retry_in": decision.retry_in,
        "counts_as_attempt": decision.counts_as_attempt,
        "ambiguous": decision.ambiguous,
        "first_lookup_after": ended.first_lookup_after,
    }
    if not isinstance(outcome, Response):
        return row | {"error": outcome.error}
    return row | {
        "response_status": outcome.status,
        "response_headers": outcome.headers,
        "response_body": b64encode(outcome.body).decode(),
    }
