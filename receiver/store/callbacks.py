"""Stored callbacks, raw and with a verdict, and when each signing secret last matched.

`reconcile` inserts the callbacks that are not refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation

from receiver.domain.addresses import group_address
from receiver.domain.filters import ALL_CALLBACKS, CallbackFilter
from receiver.domain.paging import FIRST_PAGE, Cursor, Page, PageRequest
from receiver.domain.records import record
from receiver.domain.samples import Sample, choose_surplus
from receiver.store.connections import Connection, as_jsonb, row_factory
from receiver.store.errors import StoreConflict
from receiver.store.statements import build_page_parameters, load_statement

_MAX_CALLERS_PER_HOUR = 50
_MAX_LISTED_REFUSALS = 20


class Verdict(StrEnum):
    """The result of receiving a callback."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    UNMAPPED = "unmapped"
    REFUSED = "refused"


@record(frozen=True, slots=True)
class StoredCallback:
    """One delivery of a callback.

    `identity` is the same for every delivery of a callback, `received_at` is UTC, and `body` holds the raw bytes.
    `errors` maps fields to messages if the verdict is `INVALID`, and the part of the signature that failed to a message
    if the verdict is `REFUSED`; with any other verdict, it has the fields that could not be read and were left out.
    `verified` is the result of authentication, and `secret_fingerprint` identifies the secret that matched. Target,
    headers and body contain no configured secret. `erased_at` (UTC) is when they were erased; of a
    duplicate, when those of the first delivery were. The other fields are the columns that `reconcile` and
    `save_refused` store.
    """

    id: UUID
    identity: UUID
    provider: str
    received_at: datetime
    verdict: Verdict
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    errors: Mapping[str, Any] | None = None
    verified: bool = True
    secret_fingerprint: str | None = None
    caller_address: str | None = None
    erased_at: datetime | None = None


@record(frozen=True, slots=True)
class RefusedCallback(StoredCallback):
    """A callback in the sample of refused callbacks; see `receiver.domain.samples` for what decides that it stays."""

    is_plausible: bool = False
    form: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """How many callbacks of a provider were refused for a reason, and when the last one was (UTC).

    `caller_address` is the caller's address or its network of IPv6; "" for many callers together.
    """

    provider: str
    reason: str
    caller_address: str
    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class CallbackSummary:
    """A callback in a list; `received_at` is UTC."""

    id: UUID
    provider: str
    received_at: datetime
    verdict: Verdict
    method: str
    errors: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Deliveries:
    """The deliveries of one callback. Its events belong to the delivery that stored them first."""

    provider: str
    ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a callback; `received_at` is UTC."""

    id: UUID
    received_at: datetime
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class SecretUse:
    """When a provider's secret, identified by its fingerprint, last matched; UTC."""

    provider: str
    fingerprint: str
    last_used_at: datetime


def find_callback(connection: Connection, callback_id: UUID) -> StoredCallback | None:
    """Return the callback with this id, or None. A duplicate has the body of the first delivery."""
    cursor = connection.cursor(row_factory=row_factory(StoredCallback, verdict=Verdict))
    return cursor.execute(load_statement("find_callback"), {"id": callback_id}).fetchone()


def list_callbacks(
    connection: Connection, callback_filter: CallbackFilter = ALL_CALLBACKS, page: PageRequest[Cursor] = FIRST_PAGE
) -> Page[CallbackSummary]:
    """Return a page of the callbacks that match a filter, newest first."""
    params = {
        **asdict(callback_filter),
        "verdicts": list(Verdict) if callback_filter.verdict is None else [callback_filter.verdict],
        **build_page_parameters(page),
    }
    cursor = connection.cursor(row_factory=row_factory(CallbackSummary, verdict=Verdict))
    callbacks = cursor.execute(load_statement("list_callbacks"), params, prepare=False).fetchall()
    return Page.from_rows(callbacks, page.limit, lambda callback: Cursor(callback.received_at, callback.id))


def find_first_delivery(connection: Connection, duplicate_id: UUID) -> UUID | None:
    """Return the id of the delivery that a duplicate repeats, or None if the callback is not a duplicate."""
    row = connection.execute(load_statement("find_first_delivery"), {"id": duplicate_id}).fetchone()
    return row[0] if row else None


def find_deliveries(connection: Connection, callback_id: UUID) -> Deliveries | None:
    """Return all deliveries of the callback with this id, or None."""
    cursor = connection.cursor(row_factory=row_factory(Deliveries))
    return cursor.execute(load_statement("find_deliveries"), {"id": callback_id}).fetchone()


def list_deliveries(connection: Connection, ids: Sequence[UUID], limit: int) -> list[Delivery]:
    """Return the deliveries with these ids, first to last, at most `limit`."""
    cursor = connection.cursor(row_factory=row_factory(Delivery, verdict=Verdict))
    return cursor.execute(load_statement("list_deliveries"), {"ids": list(ids), "limit": limit}).fetchall()


def update_callback(connection: Connection, callback: StoredCallback) -> None:
    """Store the new identity, verdict and errors of a callback that was verified and parsed again.

    Raises:
        StoreConflict: another delivery of the same callback is being stored at the same time.
    """
    params = {
        "id": callback.id,
        "identity": callback.identity,
        "verdict": callback.verdict,
        "errors": None if callback.errors is None else as_jsonb(callback.errors),
        "secret_fingerprint": callback.secret_fingerprint,
    }
    try:
        connection.execute(load_statement("update_callback"), params)
    except UniqueViolation as error:
        raise StoreConflict(str(error)) from error


def save_refused(connection: Connection, callbacks: Sequence[StoredCallback], *, max_per_provider: int) -> None:
    """Store refused callbacks, and delete those of each provider that are surplus, see `choose_surplus`."""
    connection.execute(load_statement("save_refused"), {"callbacks": as_jsonb(callbacks)})
    for provider in {callback.provider for callback in callbacks}:
        cursor = connection.cursor(row_factory=row_factory(Sample, caller=group_address))
        samples = cursor.execute(load_statement("find_samples"), {"provider": provider}).fetchall()
        surplus: list[UUID] = choose_surplus(samples, max_per_provider)
        if surplus:
            connection.execute(load_statement("delete_samples"), {"ids": surplus})


def save_refusals(connection: Connection, refusals: Sequence[Refusal]) -> None:
    """Add to the counts of refused callbacks."""
    params = {"refusals": as_jsonb(refusals), "max_callers": _MAX_CALLERS_PER_HOUR}
    connection.execute(load_statement("save_refusals"), params)


def withdraw_refusal(connection: Connection, refusal: Refusal) -> None:
    """Take one refused callback that was accepted since out of the counts; `last_at` is when it was received."""
    params = {name: getattr(refusal, name) for name in ("provider", "reason", "caller_address", "last_at")}
    connection.execute(load_statement("withdraw_refusal"), params)


def list_refusals(connection: Connection, names: Sequence[str]) -> list[Refusal]:
    """Return who was refused in the last day and why, by provider, without what was accepted since by a replay."""
    cursor = connection.cursor(row_factory=row_factory(Refusal))
    params = {"names": list(names), "limit": _MAX_LISTED_REFUSALS}
    return cursor.execute(load_statement("list_refusals"), params).fetchall()


def save_secret_uses(connection: Connection, uses: Sequence[SecretUse]) -> None:
    """Store when secrets matched."""
    connection.execute(load_statement("save_secret_uses"), {"uses": as_jsonb(uses)})


def list_secret_uses(connection: Connection) -> list[SecretUse]:
    """Return when each secret last matched, by provider, latest first."""
    cursor = connection.cursor(row_factory=row_factory(SecretUse))
    return cursor.execute(load_statement("list_secret_uses")).fetchall()
