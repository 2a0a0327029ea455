"""Requests of which nobody knows whether they were taken: asked about, claimed by what came in, or settled."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.jobs import RequestHint
from receiver.domain.sending import RequestStatus
from receiver.domain.unknown_requests import UnknownRequest
from receiver.store.database import Connection
from receiver.store.jsonb import as_jsonb
from receiver.store.limits import ProviderCapacity
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class LookupUpdate:
    """An unknown request as it was claimed for a lookup, and its new status; see `LookupResult`."""

    id: UUID
    lookup_count: int
    unknown_since: datetime
    status: RequestStatus
    detail: str | None
    next_in: float | None
    absent: bool


def claim_lookups(connection: Connection, capacities: Sequence[ProviderCapacity], lease: float) -> list[UnknownRequest]:
    """Lease unknown requests that are due to be asked about, for `lease` seconds."""
    cursor = connection.cursor(row_factory=row_factory(UnknownRequest))
    return cursor.execute(
        load_statement("claim_lookups"), {"capacities": as_jsonb(capacities), "lease": lease}
    ).fetchall()


def resume_lookups(connection: Connection, lookup_delays: Mapping[str, float]) -> int:
    """Have providers asked, in so many seconds, about unknown requests that they were never asked about.

    Gives the number of the requests.
    """
    return connection.execute(
        load_statement("resume_lookups"), {"lookup_delays": as_jsonb(lookup_delays)}, prepare=False
    ).rowcount


def record_lookup_results(connection: Connection, updates: Sequence[LookupUpdate]) -> set[UUID]:
    """Record what was said of requests in doubt; gives those that it still counted for. All are locked then."""
    given = {"results": as_jsonb(updates)}
    return {moved for (moved,) in connection.execute(load_statement("record_lookup_results"), given, prepare=False)}


@dataclass(frozen=True, slots=True)
class ResolvedHint:
    """A request that a claim names, and whether its client wants to be told of its end."""

    request_id: UUID
    notify: bool


def resolve_hints(
    connection: Connection, hints: Iterable[tuple[str, RequestHint]]
) -> Mapping[tuple[str, RequestHint], ResolvedHint]:
    """Give the requests that claims name, each claim beside its provider; those that name none are left out."""
    rows = [
        {"provider": provider, "request_id": hint.request_id, "attempt_id": hint.attempt_id}
        for provider, hint in set(hints)
    ]
    found = connection.execute(load_statement("resolve_hints"), {"hints": as_jsonb(rows)}, prepare=False)
    return {
        (provider, RequestHint(request, attempt)): ResolvedHint(owner, notify)
        for provider, request, attempt, owner, notify in found
    }


def lock_undecided_requests(connection: Connection, request_ids: Collection[UUID]) -> set[UUID]:
    """Lock those of the requests that are not decided yet, and give them; call before events or jobs are touched."""
    return {
        found for (found,) in connection.execute(load_statement("lock_undecided_requests"), {"ids": list(request_ids)})
    }


def accept_known_requests(connection: Connection, request_ids: Collection[UUID]) -> None:
    """Accept requests of which a job is known; they must be locked already."""
    connection.execute(load_statement("accept_known_requests"), {"ids": list(request_ids)})


def resolve_request(connection: Connection, request_id: UUID, status: RequestStatus, detail: str) -> bool:
    """Settle an unknown request by an operator's word; False if it is in another state."""
    given = {"id": request_id, "status": status, "detail": detail}
    return connection.execute(load_statement("resolve_request"), given).rowcount == 1
