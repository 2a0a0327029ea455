"""Requests of which nobody knows whether they were taken: asked about, claimed by what came in, or settled."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.doubt import UnknownRequest
from receiver.domain.jobs import RequestHint
from receiver.domain.sending import RequestStatus
from receiver.store.database import Connection
from receiver.store.jsonb import as_jsonb
from receiver.store.limits import ProviderCapacity
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class LookupUpdate:
    """A request in doubt that was asked about, as it was claimed, and where it stands; see `domain.doubt.LookupResult`."""

    id: UUID
    asked: int
    doubted_at: datetime
    status: RequestStatus
    detail: str | None
    next_in: float | None
    absent: bool


def claim_lookups(connection: Connection, lanes: Sequence[ProviderCapacity], lease: float) -> list[UnknownRequest]:
    """Lease unknown requests that are due to be asked about, for `lease` seconds."""
    cursor = connection.cursor(row_factory=row_factory(UnknownRequest))
    return cursor.execute(load_statement("claim_lookups"), {"lanes": as_jsonb(lanes), "lease": lease}).fetchall()


def resume_lookups(connection: Connection, asking: Mapping[str, float]) -> int:
    """Have providers asked, in so many seconds, about unknown requests that they were never asked about.

    Gives the number of the requests.
    """
    return connection.execute(load_statement("resume_lookups"), {"asking": as_jsonb(asking)}, prepare=False).rowcount


def record_lookup_results(connection: Connection, verdicts: Sequence[LookupUpdate]) -> set[UUID]:
    """Record what was said of requests in doubt; gives those that it still counted for. All are locked then."""
    given = {"verdicts": as_jsonb(verdicts)}
    return {moved for (moved,) in connection.execute(load_statement("settle_doubts"), given, prepare=False)}


@dataclass(frozen=True, slots=True)
class ResolvedHint:
    """A request that a claim names, and whether its client wants to be told of its end."""

    request_id: UUID
    notify: bool


def resolve_hints(
    connection: Connection, claims: Iterable[tuple[str, RequestHint]]
) -> Mapping[tuple[str, RequestHint], ResolvedHint]:
    """Give the requests that claims name, each claim beside its provider; those that name none are left out."""
    rows = [
        {"provider": provider, "request": claim.request, "attempt": claim.attempt} for provider, claim in set(claims)
    ]
    found = connection.execute(load_statement("find_claimed"), {"claims": as_jsonb(rows)}, prepare=False)
    return {
        (provider, RequestHint(request, attempt)): ResolvedHint(owner, notify)
        for provider, request, attempt, owner, notify in found
    }


def lock_undecided_requests(connection: Connection, request_ids: Collection[UUID]) -> set[UUID]:
    """Lock those of the requests that are not decided yet, and give them; call before events or jobs are touched."""
    return {found for (found,) in connection.execute(load_statement("lock_undecided"), {"ids": list(request_ids)})}


def accept_known_requests(connection: Connection, request_ids: Collection[UUID]) -> None:
    """Accept requests of which a job is known; they must be locked already."""
    connection.execute(load_statement("take_requests"), {"ids": list(request_ids)})


def resolve_request(connection: Connection, request_id: UUID, status: RequestStatus, detail: str) -> bool:
    """Settle an unknown request by an operator's word; False if it is in another state."""
    given = {"id": request_id, "status": status, "detail": detail}
    return connection.execute(load_statement("resolve_request"), given).rowcount == 1
