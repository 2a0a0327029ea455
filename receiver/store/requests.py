"""Requests and their attempts: submitted, claimed with a lease, and completed."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson

from receiver.domain.filters import ALL_REQUESTS, RequestFilter
from receiver.domain.jobs import JobStatus
from receiver.domain.notifications import NotifyEvent
from receiver.domain.paging import FIRST_PAGE, Cursor, Page, PageRequest
from receiver.domain.records import record
from receiver.domain.sending import (
    DEFAULT_PRIORITY,
    MAX_RESPONSE_BYTES,
    Attempt,
    Decision,
    NoResponse,
    NotSent,
    RequestStatus,
    Response,
)
from receiver.schemas.api.requests import MAX_METADATA_KEY_LENGTH, MAX_METADATA_VALUE_LENGTH
from receiver.store.actions import RecordedAction
from receiver.store.connections import Connection, as_jsonb, row_factory
from receiver.store.jobs import Job
from receiver.store.limits import ProviderCapacity
from receiver.store.statements import build_page_parameters, load_statement

_MAX_METADATA_COUNT = 10_000
_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "status": RequestStatus,
    "notify_events": lambda names: [NotifyEvent(name) for name in names],
}


@record(frozen=True, slots=True)
class NewRequest:
    """A request to store, by default to queue; times are UTC.

    Without `deadline_at`, the deadline is `deadline_after` seconds after the request becomes due. `notify_url` is the
    URL that is notified of the `notify_events`, by default when the request is finished. A request with an
    `idempotency_key` is only stored if its client's key is stored with it. `traceparent` is the trace context of the
    call, see `receiver.domain.tracing`.
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
    notify_events: Sequence[str] | None = None
    client: str | None = None
    priority: int = DEFAULT_PRIORITY
    status: RequestStatus = RequestStatus.QUEUED
    idempotency_key: str | None = None
    traceparent: str | None = None


@record(frozen=True, slots=True)
class IdempotentCall:
    """A call of a client that is executed once per idempotency key.

    `fingerprint` identifies the call, `response` is stored for repetitions of it.
    """

    client: str
    key: str
    fingerprint: bytes
    response: bytes
    location: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """A stored request; times are UTC. `client` submitted it; None for a request of the service itself.

    `payload` is None if it was erased, and `erased_at` is when data of the request was. `notify_url` is notified of the
    `notify_events`, see `NotifyEvent`; None in a row of an earlier release means the end of the request only.
    `reference_conflict`: the provider gave it the reference of a job that belongs to another request, and no operator
    has resolved that yet. `traceparent` is not read for lists.
    """

    id: UUID
    provider: str
    operation: str
    payload: Mapping[str, Any] | None
    metadata: Mapping[str, Any]
    status: RequestStatus
    detail: str | None
    created_at: datetime
    due_at: datetime | None
    deadline_at: datetime
    finished_at: datetime | None
    notify_url: str | None = None
    notify_events: Sequence[NotifyEvent] | None = None
    client: str | None = None
    erased_at: datetime | None = None
    priority: int = DEFAULT_PRIORITY
    reference_conflict: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """One attempt of a request; times are UTC. Without `finished_at`, it is in progress or its worker died.

    The headers and the body of the response are those that were stored, without credentials; None if they were not
    read from the database.
    """

    number: int
    started_at: datetime
    finished_at: datetime | None
    response_status: int | None
    error: str | None
    response_headers: Mapping[str, str] | None = None
    raw_response_body: bytes | None = None

    @property
    def response_body(self) -> str | None:
        """The body as text, in which bytes that are not UTF-8 are escaped."""
        return None if self.raw_response_body is None else self.raw_response_body.decode("utf-8", "backslashreplace")

    @property
    def response_truncated(self) -> bool | None:
        """Whether only the beginning of the body is stored."""
        return None if self.raw_response_body is None else len(self.raw_response_body) >= MAX_RESPONSE_BYTES


@dataclass(frozen=True, slots=True)
class RequestDetail(Request):
    """A stored request with its attempts, its jobs, and the actions of operators on it."""

    attempts: Sequence[StoredAttempt] = ()
    jobs: Sequence[Job] = ()
    actions: Sequence[RecordedAction] = ()


@record(frozen=True, slots=True)
class AttemptOutcome:
    """The outcome of an attempt, and the decision about its request.

    If the request becomes unknown, it is looked up after `first_lookup_after` seconds; None means never.
    """

    attempt: Attempt
    outcome: Response | NoResponse | NotSent
    decision: Decision
    first_lookup_after: float | None = None


def submit_requests(
    connection: Connection, requests: Sequence[NewRequest], calls: Sequence[IdempotentCall] = ()
) -> Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Store requests with the calls that submitted them; all of them or none.

    Args:
        connection: any connection.
        requests: the requests. A request whose id exists is left as it is.
        calls: the calls of those requests that have an idempotency key, each key once. If a call's key was used before,
            neither the call nor its requests are stored.

    Returns:
        The payload and metadata of each request that was stored now, by its id as text. They are as Postgres stored
        them, which may order the names of an object in another way.
    """
    params = {
        "requests": as_jsonb(requests),
        "max_key_length": MAX_METADATA_KEY_LENGTH,
        "max_value_length": MAX_METADATA_VALUE_LENGTH,
        "clients": [call.client for call in calls],
        "keys": [call.key for call in calls],
        "fingerprints": [call.fingerprint for call in calls],
        "responses": [call.response for call in calls],
        "locations": [call.location for call in calls],
    }
    row = connection.execute(load_statement("submit_requests"), params).fetchone()
    if row is None:
        raise AssertionError("submit_requests returns a row")
    inserted: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = orjson.loads(row[0])
    return inserted


def find_due_requests(connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
    """Return the providers for which a request is due and may be sent now, and whether sending takes a slot.

    Those of which work is likely due are returned in any case, unless nothing may be sent.
    """
    likely_due = [capacity.provider for capacity in capacities if capacity.likely_due]
    params = {"capacities": as_jsonb(capacities), "likely_due": likely_due}
    return dict(connection.execute(load_statement("find_due_requests"), params).fetchall())


def claim_requests(
    connection: Connection,
    capacities: Sequence[ProviderCapacity],
    leases: Mapping[str, float],
    claim_id: UUID | None = None,
) -> list[Attempt]:
    """Lease due requests, for the seconds in `leases` by provider, and start an attempt of each.

    `claim_id` is random and identifies this call, see `find_claimed_attempts`; by default a new id.
    """
    cursor = connection.cursor(row_factory=row_factory(Attempt))
    params = {"capacities": as_jsonb(capacities), "leases": as_jsonb(leases), "claim_id": claim_id or uuid4()}
    return cursor.execute(load_statement("claim_requests"), params, binary=True).fetchall()


def find_claimed_attempts(connection: Connection, claim_ids: Collection[UUID]) -> list[Attempt]:
    """Return the attempts that were started by these calls of `claim_requests` and have no outcome."""
    cursor = connection.cursor(row_factory=row_factory(Attempt))
    params = {"claim_ids": list(claim_ids)}
    return cursor.execute(load_statement("find_claimed_attempts"), params, binary=True, prepare=False).fetchall()


def lock_lost_attempts(connection: Connection, limit: int) -> list[Attempt]:
    """Return attempts whose lease has expired; call within a transaction, which keeps the requests locked."""
    cursor = connection.cursor(row_factory=row_factory(Attempt))
    return cursor.execute(load_statement("lock_lost_attempts"), {"limit": limit}, binary=True).fetchall()


def record_outcomes(connection: Connection, outcomes: Iterable[AttemptOutcome]) -> bool:
    """Record the outcomes of attempts and update their requests.

    Returns:
        Whether every request was updated. A request that has a newer attempt by now is not.
    """
    rows = [_build_outcome_row(outcome) for outcome in outcomes]
    updated = connection.execute(load_statement("record_outcomes"), {"outcomes": as_jsonb(rows)})
    return updated.fetchone() == (len(rows),)


def expire_requests(connection: Connection, limit: int, lookup_delays: Mapping[str, float]) -> int:
    """End queued requests whose deadline has passed and return their number.

    Args:
        connection: any connection.
        limit: the maximum number of requests to end.
        lookup_delays: for each provider that supports lookups, the seconds until a request that becomes unknown is
            looked up.
    """
    return connection.execute(
        load_statement("expire_requests"), {"limit": limit, "lookup_delays": as_jsonb(lookup_delays)}
    ).rowcount


def find_requests(connection: Connection, request_ids: Collection[UUID]) -> list[Request]:
    """Return the requests with these ids in order of submission."""
    cursor = connection.cursor(row_factory=row_factory(Request, **_CONVERTERS))
    return cursor.execute(load_statement("find_requests"), {"ids": list(request_ids)}).fetchall()


def find_request_details(
    connection: Connection, ids: Collection[UUID], max_jobs: int | None = None, *, with_responses: bool = False
) -> list[RequestDetail]:
    """Return requests in order of submission with all that belongs to them.

    Args:
        connection: any connection.
        ids: the ids of the requests.
        max_jobs: the maximum number of jobs of each request; None for all.
        with_responses: whether the headers and bodies of responses are read.
    """
    build_detail = row_factory(
        RequestDetail,
        **_CONVERTERS,
        attempts=lambda rows: [StoredAttempt(*row) for row in rows],
        jobs=lambda rows: [Job(*(*row[:4], JobStatus(row[4]), *row[5:])) for row in rows],
        actions=lambda rows: [RecordedAction(*row) for row in rows],
    )
    cursor = connection.cursor(row_factory=build_detail)
    # Binary, because only then rows within a row come with their types.
    params = {"ids": list(ids), "max_jobs": max_jobs, "with_responses": with_responses}
    return cursor.execute(load_statement("find_request_details"), params, binary=True).fetchall()


def list_requests(
    connection: Connection,
    request_filter: RequestFilter = ALL_REQUESTS,
    page: PageRequest[Cursor] = FIRST_PAGE,
    *,
    client: str | None = None,
) -> Page[Request]:
    """Return a page of the requests that match a filter, newest first.

    With `client`, only those that this client submitted: not the notifications about them.
    """
    params = {
        **asdict(request_filter),
        "client": client,
        "statuses": list(RequestStatus) if request_filter.status is None else [request_filter.status],
        **build_page_parameters(page),
    }
    statement = "list_requests"
    if request_filter.metadata:
        statement = "list_requests_by_metadata"
        params |= build_metadata_parameters(connection, request_filter.metadata)
    cursor = connection.cursor(row_factory=row_factory(Request, **_CONVERTERS))
    requests = cursor.execute(load_statement(statement), params, prepare=False).fetchall()
    return Page.from_rows(requests, page.limit, lambda request: Cursor(request.created_at, request.id))


def build_metadata_parameters(connection: Connection, metadata: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the parameters of a filter by metadata: the rarest pair, by which requests are found, and the others."""
    key = _find_rarest_key(connection, metadata)
    other_metadata = {other: value for other, value in metadata.items() if other != key}
    return {
        "key": key,
        "value": metadata[key],
        "other_metadata": as_jsonb(other_metadata) if other_metadata else None,
    }


def _find_rarest_key(connection: Connection, metadata: Mapping[str, str]) -> str:
    """Return the key with whose value the fewest requests are found."""
    if len(metadata) == 1:
        return next(iter(metadata))
    params = {"metadata": as_jsonb(metadata), "max_count": _MAX_METADATA_COUNT}
    row = connection.execute(load_statement("find_rarest_metadata"), params).fetchone()
    if row is None:
        raise AssertionError("find_rarest_metadata returns a row")
    return str(row[0])


def cancel_requests(
    connection: Connection, request_ids: Collection[UUID], lookup_delays: Mapping[str, float]
) -> list[UUID]:
    """Cancel requests and return the ids of those that were queued; the others stay as they are.

    `lookup_delays` holds, for each provider that supports lookups, the seconds until a request that becomes unknown is
    looked up.
    """
    params = {"ids": list(request_ids), "lookup_delays": as_jsonb(lookup_delays)}
    return _change_requests(connection, "cancel_requests", params)


def retry_requests(connection: Connection, request_ids: Collection[UUID], deadlines: Mapping[str, float]) -> list[UUID]:
    """Queue requests again and return their ids.

    Requests whose status does not allow that, or whose payload is erased, stay as they are, as do requests of providers
    that are not in `deadlines`. It holds the seconds from now until the new deadline of a request whose deadline has
    passed, by provider.
    """
    return _change_requests(connection, "retry_requests", {"ids": list(request_ids), "deadlines": as_jsonb(deadlines)})


def send_requests_now(connection: Connection, request_ids: Collection[UUID]) -> list[UUID]:
    """Make requests due now and return the ids of those that are queued; the others stay as they are."""
    return _change_requests(connection, "send_requests_now", {"ids": list(request_ids)})


def _change_requests(connection: Connection, statement: str, params: Mapping[str, Any]) -> list[UUID]:
    # Not prepared: a plan made while the tables are small would go on to read them whole.
    return [request_id for (request_id,) in connection.execute(load_statement(statement), params, prepare=False)]


def _build_outcome_row(attempt_outcome: AttemptOutcome) -> dict[str, Any]:
    outcome, decision = attempt_outcome.outcome, attempt_outcome.decision
    row: dict[str, Any] = {
        "attempt_id": attempt_outcome.attempt.id,
        "request_id": attempt_outcome.attempt.request_id,
        "status": decision.status,
        "detail": decision.detail,
        "retry_in": decision.retry_in,
        "counts_as_attempt": decision.counts_as_attempt,
        "ambiguous": decision.ambiguous,
        "first_lookup_after": attempt_outcome.first_lookup_after,
    }
    if not isinstance(outcome, Response):
        return row | {"error": outcome.error}
    return row | {
        "response_status": outcome.status,
        "response_headers": outcome.headers,
        "response_body": outcome.body,
    }
