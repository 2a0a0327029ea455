"""The actions of operators: what was done, by whom and why. Append-only."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from receiver.store.connections import Connection, row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class RecordedAction:
    """An action of an operator. `actor` is the name of the API key, `created_at` is UTC."""

    created_at: datetime
    actor: str
    action: str
    reason: str | None


def record_action(connection: Connection, subject: UUID | str, action: str, actor: str, reason: str | None) -> None:
    """Store an action on a subject: the id of a request, callback or key, or the name of a provider."""
    record_actions(connection, [subject], action, actor, reason)


def record_actions(
    connection: Connection, subjects: Collection[UUID | str], action: str, actor: str, reason: str | None
) -> None:
    """Store the same action on several subjects."""
    params = {
        "ids": [uuid7() for _ in subjects],
        "subjects": list(map(str, subjects)),
        "action": action,
        "actor": actor,
        "reason": reason,
    }
    connection.execute(load_statement("record_actions"), params)


def find_actions(connection: Connection, subject: UUID | str) -> list[RecordedAction]:
    """Return the actions on a subject, oldest first."""
    cursor = connection.cursor(row_factory=row_factory(RecordedAction))
    return cursor.execute(load_statement("find_actions"), {"subject": str(subject)}).fetchall()
