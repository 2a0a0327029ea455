"""The providers that have due work, however many are configured: most accounts of a provider are idle."""

from receiver.store.connections import Connection
from receiver.store.statements import load_statement


def list_providers_with_due_requests(connection: Connection) -> list[str]:
    """Return the names of the providers for which a request is due."""
    return _list_names(connection, "list_providers_with_due_requests")


def list_providers_with_due_polls(connection: Connection) -> list[str]:
    """Return the names of the providers for which a poll is due."""
    return _list_names(connection, "list_providers_with_due_polls")


def list_providers_with_due_lookups(connection: Connection) -> list[str]:
    """Return the names of the providers for which a lookup of an unknown request is due."""
    return _list_names(connection, "list_providers_with_due_lookups")


def _list_names(connection: Connection, statement: str) -> list[str]:
    return [name for (name,) in connection.execute(load_statement(statement), prepare=False)]
