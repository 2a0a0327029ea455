"""Requests of which it is unknown whether the provider accepted them: looked up, matched by evidence, or resolved."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.jobs import RequestHint
from receiver.domain.sending import RequestStatus
from receiver.domain.unknown_requests import UnknownRequest
from receiver.store.connections import Connection, as_jsonb, row_factory
from receiver.store.limits import ProviderCapacity
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class LookupUpdate:
    """The new status of an unknown request after a lookup; see `LookupResult`.

    `lookup_count` and `unknown_since` are those of the claimed request: they show whether it has changed since.
    """

    id: UUID
    lookup_count: int
    unknown_since: datetime
    status: RequestStatus
    detail: str | None
    next_in: float | None
    absent: bool


def find_due_lookups(connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
    """Return the providers for which a lookup is due and may begin now, and whether the lookup takes a slot."""
    params = {"capacities": as_jsonb(capacities)}
    return dict(connection.execute(load_statement("find_due_lookups"), params).fetchall())


def claim_lookups(
    connection: Connection, capacities: Sequence[ProviderCapacity], leases: Mapping[str, float]
) -> list[UnknownRequest]:
    """Lease unknown requests that are due for a lookup, for the seconds in `leases` by provider."""
    cursor = connection.cursor(row_factory=row_factory(UnknownRequest))
    params = {"capacities": as_jsonb(capacities), "leases": as_jsonb(leases)}
    return cursor.execute(load_statement("claim_lookups"), params).fetchall()


def resume_lookups(connection: Connection, lookup_delays: Mapping[str, float]) -> int:
    """Schedule lookups of unknown requests that were never looked up, and return their number.

    Args:
        connection: any connection.
        lookup_delays: for each provider that supports lookups, the seconds until the first one.
    """
    return connection.execute(
        load_statement("resume_lookups"), {"lookup_delays": as_jsonb(lookup_delays)}, prepare=False
    ).rowcount


def record_lookup_results(connection: Connection, updates: Sequence[LookupUpdate]) -> set[UUID]:
    """Record the results of lookups and return the requests that were updated.

    A request that has changed since it was claimed is not updated. All the requests are locked afterwards.
    """
    params = {"results": as_jsonb(updates)}
    rows = connection.execute(load_statement("record_lookup_results"), params, prepare=False)
    return {request_id for (request_id,) in rows}


@dataclass(frozen=True, slots=True)
class ResolvedHint:
    """The request that a hint names, and what its client is to be notified of."""

    request_id: UUID
    notify: bool
    notify_events: Sequence[str] | None


def resolve_hints(
    connection: Connection, hints: Iterable[tuple[str, RequestHint]]
) -> Mapping[tuple[str, RequestHint], ResolvedHint]:
    """Return the requests that hints name, by provider and hint; hints that name no request are left out."""
    rows = [
        {"provider": provider, "request_id": hint.request_id, "attempt_id": hint.attempt_id}
        for provider, hint in set(hints)
    ]
    resolved = connection.execute(load_statement("resolve_hints"), {"hints": as_jsonb(rows)}, prepare=False)
    return {
        (provider, RequestHint(hinted_request_id, attempt_id)): ResolvedHint(request_id, notify, notify_events)
        for provider, hinted_request_id, attempt_id, request_id, notify, notify_events in resolved
    }


def lock_undecided_requests(connection: Connection, request_ids: Collection[UUID]) -> set[UUID]:
    """Lock those of the requests that are not decided yet, and return their ids.

    Call before locking events or jobs: all transactions lock requests first.
    """
    rows = connection.execute(load_statement("lock_undecided_requests"), {"ids": list(request_ids)})
    return {request_id for (request_id,) in rows}


def accept_known_requests(connection: Connection, request_ids: Collection[UUID]) -> None:
    """Accept requests of which a job is known; call in the transaction that locked them."""
    connection.execute(load_statement("accept_known_requests"), {"ids": list(request_ids)})


def resolve_requests(
    connection: Connection, request_ids: Collection[UUID], status: RequestStatus, detail: str
) -> list[UUID]:
    """Set the status of those of the requests that are unknown or have a reference conflict, and return their ids."""
    params = {"ids": list(request_ids), "status": status, "detail": detail}
    # Not prepared: a plan made while the tables are small would go on to read them whole.
    return [resolved for (resolved,) in connection.execute(load_statement("resolve_requests"), params, prepare=False)]
