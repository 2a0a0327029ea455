"""The lists of the store, called with the fields of filter and page as keywords."""

from typing import Any

from receiver.domain.filters import CallbackFilter, JobFilter, RequestFilter
from receiver.domain.paging import Cursor, Page, PageRequest
from receiver.store import callbacks, jobs, keys, requests
from receiver.store.connections import Connection


def list_jobs(
    connection: Connection,
    *,
    cursor: Cursor | None = None,
    limit: int = 50,
    client: str | None = None,
    **filters: Any,
) -> Page[jobs.Job]:
    return jobs.list_jobs(connection, JobFilter(**filters), PageRequest(cursor, limit), client=client)


def list_requests(
    connection: Connection,
    *,
    cursor: Cursor | None = None,
    limit: int = 50,
    client: str | None = None,
    **filters: Any,
) -> Page[requests.Request]:
    return requests.list_requests(connection, RequestFilter(**filters), PageRequest(cursor, limit), client=client)


def list_callbacks(
    connection: Connection, *, cursor: Cursor | None = None, limit: int = 50, **filters: Any
) -> Page[callbacks.CallbackSummary]:
    return callbacks.list_callbacks(connection, CallbackFilter(**filters), PageRequest(cursor, limit))


def list_keys(connection: Connection, *, cursor: Cursor | None = None, limit: int = 50) -> Page[keys.ApiKey]:
    return keys.list_keys(connection, PageRequest(cursor, limit))
