"""The stored numbers of requests, jobs and callbacks by provider and status.

Triggers insert the changes of every statement. `receiver.store.stats` reads the counts together with the changes that
have not been moved to them yet, so that they are exact at any time.
"""

from receiver.domain.audit import WrongCount
from receiver.store.connections import Connection, row_factory
from receiver.store.statements import load_statement


def move_row_count_changes(connection: Connection, limit: int) -> int:
    """Add at most `limit` changes to the counts, and return how many there were."""
    return int(connection.execute(load_statement("move_row_count_changes"), {"limit": limit}).fetchall()[0][0])


def find_wrong_counts(connection: Connection, provider: str | None = None) -> list[WrongCount]:
    """Return the counts that differ from the number of rows; read whole tables."""
    cursor = connection.cursor(row_factory=row_factory(WrongCount))
    return cursor.execute(load_statement("find_wrong_counts"), {"provider": provider}, prepare=False).fetchall()


def count_all_rows(connection: Connection) -> None:
    """Set all counts to the number of rows; read whole tables, while statements go on changing rows."""
    connection.execute(load_statement("count_all_rows"), prepare=False)
