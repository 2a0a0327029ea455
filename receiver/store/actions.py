"""What operators did, with who and why; append-only."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from receiver.store.database import Connection
from receiver.store.rows import row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class RecordedAction:
    """Something an operator did. `actor` is the name of the key, `at` is UTC."""

    created_at: datetime
    actor: str
    action: str
    reason: str | None


def record_action(connection: Connection, subject: UUID | str, action: str, actor: str, reason: str | None) -> None:
    """Keep that something was done to a subject: a request, callback or key by its id, a provider by its name."""
    given = {"id": uuid7(), "subject": str(subject), "action": action, "actor": actor, "reason": reason}
    connection.execute(load_statement("record_action"), given)


def find_actions(connection: Connection, subject: UUID | str) -> list[RecordedAction]:
    """Give what was done to a subject, in order."""
    cursor = connection.cursor(row_factory=row_factory(RecordedAction))
    return cursor.execute(load_statement("find_actions"), {"subject": str(subject)}).fetchall()
