"""What is known of providers at run time: whether they are paused, and why."""

from dataclasses import dataclass
from datetime import datetime

from receiver.store.database import Connection
from receiver.store.rows import row_of
from receiver.store.statements import statement


@dataclass(frozen=True, slots=True)
class Pause:
    """Sending to a provider is stopped until someone resumes it."""

    name: str
    paused_at: datetime
    pause_reason: str


def pause_provider(connection: Connection, name: str, reason: str) -> None:
    """Stop sending to a provider."""
    connection.execute(statement("pause_provider"), {"name": name, "reason": reason})


def resume_provider(connection: Connection, name: str) -> None:
    """Send to a provider again."""
    connection.execute(statement("resume_provider"), {"name": name})


def paused_providers(connection: Connection) -> list[Pause]:
    """Give the pauses that stand."""
    cursor = connection.cursor(row_factory=row_of(Pause))
    return cursor.execute(statement("paused_providers")).fetchall()
