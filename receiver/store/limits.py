"""What all workers share about providers: the limits, and each worker's share of the concurrency."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.limits import ProviderLimits
from receiver.store.connections import Connection, as_jsonb, row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class ProviderCapacity:
    """How many more exchanges a worker may begin with a provider now.

    `credentials` is the fingerprint of the worker's credentials, empty if the provider has none. `likely_due` is true
    after a claim that took as much as it could: as a rule more work is due then, and it is not looked for.
    """

    provider: str
    free: int
    credentials: str = ""
    likely_due: bool = False


@dataclass(frozen=True, slots=True)
class ConcurrencyShare:
    """How many concurrent exchanges with a provider a worker may have."""

    provider: str
    slots: int


@dataclass(frozen=True, slots=True)
class OtherWorkerShares:
    """How many other workers use a provider, and how many concurrent exchanges they may have together."""

    provider: str
    workers: int
    slots: int


def insert_providers(connection: Connection, names: Sequence[str]) -> None:
    """Insert a row of limits for each provider that has none."""
    connection.execute(load_statement("insert_providers"), {"names": list(names)})


def find_limits(connection: Connection, names: Sequence[str]) -> list[tuple[ProviderLimits, datetime]]:
    """Return the limits of providers, each with the current time (UTC)."""
    return _find_limits(connection, "find_limits", names)


def lock_limits(connection: Connection, names: Sequence[str]) -> list[tuple[ProviderLimits, datetime]]:
    """Return what `find_limits` returns; call within a transaction, which keeps the limits locked."""
    return _find_limits(connection, "lock_limits", names)


def _find_limits(connection: Connection, statement: str, names: Sequence[str]) -> list[tuple[ProviderLimits, datetime]]:
    def build_limits(*, now: datetime, **columns: object) -> tuple[ProviderLimits, datetime]:
        return ProviderLimits(**columns), now  # type: ignore[arg-type]  # the columns are its fields

    cursor = connection.cursor(row_factory=row_factory(build_limits))
    return cursor.execute(load_statement(statement), {"names": list(names)}).fetchall()


def save_limits(connection: Connection, limits: Iterable[ProviderLimits]) -> None:
    """Store limits; call in the transaction that locked them."""
    rows = list(limits)
    if rows:
        connection.execute(load_statement("save_limits"), {"limits": as_jsonb(rows)})


def renew_shares(connection: Connection, worker_id: UUID, shares: Sequence[ConcurrencyShare], lease: float) -> None:
    """Renew a worker's shares for `lease` seconds."""
    params = {"worker_id": worker_id, "shares": as_jsonb(shares), "lease": lease}
    connection.execute(load_statement("renew_shares"), params)


def find_other_shares(connection: Connection, worker_id: UUID, names: Sequence[str]) -> Mapping[str, OtherWorkerShares]:
    """Return the shares of other workers by provider; providers that no other worker uses are left out."""
    cursor = connection.cursor(row_factory=row_factory(OtherWorkerShares))
    params = {"worker_id": worker_id, "names": list(names)}
    return {shares.provider: shares for shares in cursor.execute(load_statement("find_other_shares"), params)}


def count_workers(connection: Connection) -> int:
    """Return how many workers are alive: those that renew their shares of the configured providers."""
    ((count,),) = connection.execute(load_statement("count_workers")).fetchall()
    return int(count)


def delete_shares(connection: Connection, worker_id: UUID) -> None:
    """Delete all shares of a worker."""
    connection.execute(load_statement("delete_shares"), {"worker_id": worker_id})
