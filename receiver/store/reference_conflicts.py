"""Requests to which a provider gave the reference of a job that belongs to another request.

Such a request has no job of its own for that reference. An operator resolves it, or it ends at its deadline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.store.connections import Connection, as_jsonb
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class FlaggedConflict:
    """A reference conflict of a request: what to add to its detail, and until when (UTC) it waits for an operator."""

    request_id: UUID
    detail: str
    deadline_at: datetime


def flag_reference_conflicts(connection: Connection, conflicts: Sequence[FlaggedConflict]) -> None:
    """Store the reference conflicts of requests; call in the transaction that locked the requests."""
    connection.execute(load_statement("flag_reference_conflicts"), {"conflicts": as_jsonb(conflicts)})


def expire_reference_conflicts(connection: Connection, limit: int) -> int:
    """End at most `limit` reference conflicts whose deadline has passed, and return their number."""
    return connection.execute(load_statement("expire_reference_conflicts"), {"limit": limit}).rowcount
