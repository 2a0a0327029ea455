"""Everything at a glance: counts by status, and whole lists for small databases."""

from receiver.store.database import Connection
from receiver.store.statements import load_statement


def count_by_status(connection: Connection) -> dict[tuple[str, str], int]:
    """Give how many there are, by (`request` or `job`, status)."""
    return {(what, status): number for what, status, number in connection.execute(load_statement("count_by_status"))}


def list_all_requests(connection: Connection) -> list[tuple[str, str]]:
    """Give every request's client reference and status."""
    return [(reference, status) for reference, status in connection.execute(load_statement("list_all_requests"))]


def list_all_jobs(connection: Connection) -> list[tuple[str, str, bool, bool]]:
    """Give every job's reference, status, whether it is disputed and whether its request is known."""
    return [
        (reference, status, disputed, matched)
        for reference, status, disputed, matched in connection.execute(load_statement("list_all_jobs"))
    ]
