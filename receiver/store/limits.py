"""What all workers agree on about providers: their limits, and each worker's share of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.limits import ProviderLimits
from receiver.store.database import Connection
from receiver.store.jsonb import as_jsonb
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class ProviderCapacity:
    """How many more exchanges a provider may be given now, by one who has credentials of this fingerprint."""

    provider: str
    free: int
    credentials: str = ""


@dataclass(frozen=True, slots=True)
class ConcurrencyShare:
    """How many of a provider's exchanges a worker may have under way."""

    provider: str
    slots: int


@dataclass(frozen=True, slots=True)
class OtherWorkerShares:
    """How many other workers there are for a provider, and how many exchanges they may have under way together."""

    provider: str
    workers: int
    slots: int


def insert_providers(connection: Connection, names: Sequence[str]) -> None:
    """Have limits for each provider."""
    connection.execute(load_statement("insert_providers"), {"names": list(names)})


def find_limits(connection: Connection, names: Sequence[str]) -> list[tuple[ProviderLimits, datetime]]:
    """Give the limits of providers, and with each what time (UTC) it is."""
    return _limits(connection, "find_limits", names)


def lock_limits(connection: Connection, names: Sequence[str]) -> list[tuple[ProviderLimits, datetime]]:
    """As `find_limits`; within a transaction, which keeps them locked."""
    return _limits(connection, "lock_limits", names)


def _limits(connection: Connection, name: str, providers: Sequence[str]) -> list[tuple[ProviderLimits, datetime]]:
    def limits_and_now(*, now: datetime, **columns: object) -> tuple[ProviderLimits, datetime]:
        return ProviderLimits(**columns), now  # type: ignore[arg-type]  # the columns are its fields

    cursor = connection.cursor(row_factory=row_factory(limits_and_now))
    return cursor.execute(load_statement(name), {"names": list(providers)}).fetchall()


def save_limits(connection: Connection, limits: Iterable[ProviderLimits]) -> None:
    """Keep limits that are locked."""
    rows = list(limits)
    if rows:
        connection.execute(load_statement("save_limits"), {"limits": as_jsonb(rows)})


def renew_shares(connection: Connection, worker_id: UUID, shares: Sequence[ConcurrencyShare], lease: float) -> None:
    """Keep a worker's shares for `lease` seconds."""
    given = {"worker_id": worker_id, "shares": as_jsonb(shares), "lease": lease}
    connection.execute(load_statement("renew_shares"), given)


def find_other_shares(connection: Connection, worker_id: UUID, names: Sequence[str]) -> Mapping[str, OtherWorkerShares]:
    """Give what the other workers use of providers; those that nobody else works for are left out."""
    cursor = connection.cursor(row_factory=row_factory(OtherWorkerShares))
    given = {"worker_id": worker_id, "names": list(names)}
    return {one.provider: one for one in cursor.execute(load_statement("find_other_shares"), given)}


def delete_shares(connection: Connection, worker_id: UUID) -> None:
    """Give up all shares of a worker."""
    connection.execute(load_statement("delete_shares"), {"worker_id": worker_id})


def find_due_requests(connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
    """Give the providers that a request is due for and may begin by now, and whether it must take a slot."""
    return _ready(connection, "find_due_requests", capacities)


def find_due_polls(connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
    """Give the providers that a poll is due for and may begin by now, and whether it must take a slot."""
    return _ready(connection, "find_due_polls", capacities)


def find_due_lookups(connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
    """Give the providers that a lookup is due for and may begin by now, and whether it must take a slot."""
    return _ready(connection, "find_due_lookups", capacities)


def _ready(connection: Connection, name: str, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
    return dict(connection.execute(load_statement(name), {"capacities": as_jsonb(capacities)}).fetchall())
