"""Personal data, erased from rows that stay."""

from collections.abc import Sequence
from uuid import UUID

from receiver.store.connections import Connection
from receiver.store.statements import load_statement


def erase_payloads(connection: Connection, request_ids: Sequence[UUID]) -> int:
    """Erase the payloads of those of the requests that are not sent again; return how many were erased."""
    return _execute(connection, "erase_payloads", request_ids)


def erase_responses(connection: Connection, request_ids: Sequence[UUID]) -> int:
    """Erase the stored responses to the attempts of requests; return the number of attempts."""
    return _execute(connection, "erase_responses", request_ids)


def erase_callbacks(connection: Connection, callback_ids: Sequence[UUID]) -> int:
    """Erase the raw data of callbacks; return how many were erased."""
    return _execute(connection, "erase_callbacks", callback_ids)


def _execute(connection: Connection, statement: str, ids: Sequence[UUID]) -> int:
    if not ids:
        return 0
    return connection.execute(load_statement(statement), {"ids": list(ids)}, prepare=False).rowcount
