"""Counts by status, and complete lists for the small database of a demonstration."""

from receiver.store.database import Connection
from receiver.store.statements import load_statement


def count_by_status(connection: Connection) -> dict[tuple[str, str], int]:
    """Count requests and jobs by kind (`request` or `job`) and status."""
    return {(kind, status): count for kind, status, count in connection.execute(load_statement("count_by_status"))}


def list_all_requests(connection: Connection) -> list[tuple[str, str]]:
    """Return the client reference and status of every request."""
    return [(reference, status) for reference, status in connection.execute(load_statement("list_all_requests"))]


def list_all_jobs(connection: Connection) -> list[tuple[str, str, bool, bool]]:
    """Return the reference and status of every job, whether it is disputed, and whether its request is known."""
    return [
        (reference, status, disputed, matched)
        for reference, status, disputed, matched in connection.execute(load_statement("list_all_jobs"))
    ]
