"""What all workers agree on about providers: their limits, and each worker's share of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.limits import Limits
from receiver.store.database import Connection
from receiver.store.jsonb import as_jsonb
from receiver.store.rows import row_of
from receiver.store.statements import statement


@dataclass(frozen=True, slots=True)
class Lane:
    """How many more exchanges a provider may be given now, by one who has credentials of this fingerprint."""

    provider: str
    capacity: int
    credentials: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """How many of a provider's exchanges a worker may have under way."""

    provider: str
    slots: int


@dataclass(frozen=True, slots=True)
class OtherShares:
    """How many other workers there are for a provider, and how many exchanges they may have under way together."""

    provider: str
    workers: int
    slots: int


def know_providers(connection: Connection, names: Sequence[str]) -> None:
    """Have limits for each provider."""
    connection.execute(statement("know_providers"), {"names": list(names)})


def find_limits(connection: Connection, names: Sequence[str]) -> list[tuple[Limits, datetime]]:
    """Give the limits of providers, and with each what time (UTC) it is."""
    return _limits(connection, "find_limits", names)


def lock_limits(connection: Connection, names: Sequence[str]) -> list[tuple[Limits, datetime]]:
    """As `find_limits`; within a transaction, which keeps them locked."""
    return _limits(connection, "lock_limits", names)


def _limits(connection: Connection, name: str, providers: Sequence[str]) -> list[tuple[Limits, datetime]]:
    def limits_and_now(*, now: datetime, **columns: object) -> tuple[Limits, datetime]:
        return Limits(**columns), now  # type: ignore[arg-type]  # the columns are its fields

    cursor = connection.cursor(row_factory=row_of(limits_and_now))
    return cursor.execute(statement(name), {"names": list(providers)}).fetchall()


def keep_limits(connection: Connection, limits: Iterable[Limits]) -> None:
    """Keep limits that are locked."""
    rows = list(limits)
    if rows:
        connection.execute(statement("keep_limits"), {"limits": as_jsonb(rows)})


def renew_shares(connection: Connection, worker_id: UUID, shares: Sequence[Share], lease: float) -> None:
    """Keep a worker's shares for `lease` seconds."""
    given = {"worker_id": worker_id, "shares": as_jsonb(shares), "lease": lease}
    connection.execute(statement("renew_shares"), given)


def shares_of_others(connection: Connection, worker_id: UUID, names: Sequence[str]) -> Mapping[str, OtherShares]:
    """Give what the other workers use of providers; those that nobody else works for are left out."""
    cursor = connection.cursor(row_factory=row_of(OtherShares))
    given = {"worker_id": worker_id, "names": list(names)}
    return {one.provider: one for one in cursor.execute(statement("shares_of_others"), given)}


def give_up_shares(connection: Connection, worker_id: UUID) -> None:
    """Give up all shares of a worker."""
    connection.execute(statement("give_up_shares"), {"worker_id": worker_id})


def lanes_with_requests(connection: Connection, lanes: Sequence[Lane]) -> Mapping[str, bool]:
    """Give the providers that a request is due for and may begin by now, and whether it must take a slot."""
    return _ready(connection, "lanes_with_requests", lanes)


def lanes_with_polls(connection: Connection, lanes: Sequence[Lane]) -> Mapping[str, bool]:
    """Give the providers that a poll is due for and may begin by now, and whether it must take a slot."""
    return _ready(connection, "lanes_with_polls", lanes)


def lanes_with_lookups(connection: Connection, lanes: Sequence[Lane]) -> Mapping[str, bool]:
    """Give the providers that a lookup is due for and may begin by now, and whether it must take a slot."""
    return _ready(connection, "lanes_with_lookups", lanes)


def _ready(connection: Connection, name: str, lanes: Sequence[Lane]) -> Mapping[str, bool]:
    return dict(connection.execute(statement(name), {"lanes": as_jsonb(lanes)}).fetchall())
