"""Callbacks as they are kept: raw, with a verdict; and when the secrets that let them in last matched.

`reconcile` writes those that were taken.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation

from receiver.domain.paging import Cursor, Page
from receiver.store.database import Connection, StoreConflict
from receiver.store.jsonb import as_jsonb
from receiver.store.paging import build_page_parameters
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement


class Verdict(StrEnum):
    """What became of a delivery."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    UNMAPPED = "unmapped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StoredCallback:
    """One delivery. `identity` is equal for all deliveries of one callback, `received_at` is UTC, `body` is raw.

    `errors` maps fields to messages when the verdict is `INVALID`, and the part of the signature that failed to a
    message when it is `REFUSED`.
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

    def row(self) -> dict[str, Any]:
        """Give the row for `reconcile.sql`, the body in base64."""
        return {
            "id": self.id,
            "identity": self.identity,
            "provider": self.provider,
            "received_at": self.received_at,
            "verdict": self.verdict,
            "method": self.method,
            "target": self.target,
            "headers": self.headers,
            "body": b64encode(self.body).decode(),
            "errors": self.errors,
        }


@dataclass(frozen=True, slots=True)
class CallbackSummary:
    """A callback in a list."""

    id: UUID
    provider: str
    received_at: datetime
    verdict: Verdict
    method: str
    errors: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class SecretUse:
    """When a provider's secret, known by its fingerprint, last matched; UTC."""

    provider: str
    fingerprint: str
    last_used_at: datetime


def find_callback(connection: Connection, callback_id: UUID) -> StoredCallback | None:
    """Give one callback, a duplicate with the body of the first delivery."""
    cursor = connection.cursor(row_factory=row_factory(StoredCallback, verdict=Verdict))
    return cursor.execute(load_statement("find_callback"), {"id": callback_id}).fetchone()


def list_callbacks(
    connection: Connection,
    *,
    providers: Sequence[str] | None = None,
    verdict: Verdict | None = None,
    received_from: datetime | None = None,
    received_to: datetime | None = None,
    cursor: Cursor | None = None,
    limit: int = 50,
) -> Page[CallbackSummary]:
    """Give callbacks, the newest first; `received_from` is inclusive, `received_to` is not."""
    given = {
        "providers": None if providers is None else list(providers),
        "verdicts": list(Verdict) if verdict is None else [verdict],
        "received_from": received_from,
        "received_to": received_to,
        **build_page_parameters(cursor, limit),
    }
    rows = connection.cursor(row_factory=row_factory(CallbackSummary, verdict=Verdict))
    found = rows.execute(load_statement("list_callbacks"), given, prepare=False).fetchall()
    return Page.of(found, limit, lambda callback: Cursor(callback.received_at, callback.id))


def find_first_delivery(connection: Connection, duplicate_id: UUID) -> UUID | None:
    """Give the delivery that a duplicate repeats."""
    row = connection.execute(load_statement("find_first_delivery"), {"id": duplicate_id}).fetchone()
    return row[0] if row else None


def update_callback(connection: Connection, callback: StoredCallback) -> None:
    """Give a callback that was read again its new identity, verdict and errors.

    Raises:
        StoreConflict: another delivery of it is being stored at this moment.
    """
    given = {
        "id": callback.id,
        "identity": callback.identity,
        "verdict": callback.verdict,
        "errors": None if callback.errors is None else as_jsonb(callback.errors),
    }
    try:
        connection.execute(load_statement("update_callback"), given)
    except UniqueViolation as error:
        raise StoreConflict(str(error)) from error


def save_refused(connection: Connection, callbacks: Sequence[StoredCallback], *, most: int) -> None:
    """Keep refused callbacks, of each provider no more than the newest `most`."""
    rows = as_jsonb([callback.row() for callback in callbacks])
    connection.execute(load_statement("save_refused"), {"callbacks": rows, "most": most})


def save_secret_uses(connection: Connection, uses: Sequence[SecretUse]) -> None:
    """Note when secrets matched."""
    connection.execute(load_statement("save_secret_uses"), {"uses": as_jsonb(uses)})


def list_secret_uses(connection: Connection) -> list[SecretUse]:
    """Give when each secret last matched, by provider, the latest first."""
    cursor = connection.cursor(row_factory=row_factory(SecretUse))
    return cursor.execute(load_statement("list_secret_uses")).fetchall()
