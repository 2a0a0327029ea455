"""Personal data, erased from rows that stay: statuses, events and actions without what they say about a person."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.erasure import strip_answer
from receiver.domain.sending import REFERENCE_CONFLICT_DETAIL
from receiver.store.callbacks import Verdict
from receiver.store.connections import Connection, as_jsonb
from receiver.store.statements import load_statement

_UUID = "[0-9a-f-]{36}"
_KEPT_DETAIL = f"{re.escape(REFERENCE_CONFLICT_DETAIL)} {_UUID} of request {_UUID}"
_SEARCH_PAGE_SIZE = 20


@dataclass(frozen=True, slots=True)
class ErasedRequests:
    """How many requests and attempts were changed."""

    requests: int = 0
    attempts: int = 0


def erase_payloads(connection: Connection, request_ids: Sequence[UUID]) -> int:
    """Erase the payloads of those of the requests that are not sent again; return how many were erased."""
    return _erase(connection, "erase_payloads", request_ids)


def erase_responses(connection: Connection, request_ids: Sequence[UUID]) -> int:
    """Erase the stored responses to the attempts of requests; return the number of attempts."""
    return _erase(connection, "erase_responses", request_ids)


def erase_callbacks(connection: Connection, callback_ids: Sequence[UUID]) -> int:
    """Erase the raw data of callbacks; return how many were erased."""
    return _erase(connection, "erase_callbacks", callback_ids)


def erase_requests(connection: Connection, request_ids: Sequence[UUID], actor: str, reason: str) -> ErasedRequests:
    """Erase what requests contain of a person, except for those that may be sent again; record an action of each."""
    params = {"ids": list(request_ids), "actor": actor, "reason": reason, "kept_detail": _KEPT_DETAIL}
    row = connection.execute(load_statement("erase_requests"), params, prepare=False).fetchone()
    return ErasedRequests(*row) if row else ErasedRequests()


def erase_jobs(connection: Connection, job_ids: Sequence[UUID]) -> int:
    """Erase the URLs of those of the jobs that are final; return how many were erased."""
    return _erase(connection, "erase_jobs", job_ids)


def erase_events(connection: Connection, job_ids: Sequence[UUID], actor: str) -> int:
    """Erase the details of jobs' events, except for those of `actor`; return how many were erased."""
    return _erase(connection, "erase_events", job_ids, actor=actor)


def erase_actions(connection: Connection, callback_ids: Sequence[UUID]) -> int:
    """Erase the reasons of the actions on callbacks; return how many were erased."""
    return _erase(connection, "erase_actions", callback_ids)


def erase_answers(
    connection: Connection, clients: Collection[str], times: Sequence[datetime], locations: Sequence[str]
) -> None:
    """Erase what the stored answers to clients' calls contain of a person.

    Args:
        connection: any connection, within a transaction.
        clients: the names of the clients.
        times: when the calls created requests, UTC.
        locations: the paths of jobs that calls have tracked.
    """
    params = {"clients": list(clients), "times": list(times), "locations": list(locations)}
    rows = connection.execute(load_statement("find_answers"), params, prepare=False).fetchall()
    for client, key, response in rows:
        stripped = strip_answer(response)
        if stripped != response:
            connection.execute(
                load_statement("replace_answer"), {"client": client, "key": key, "response": stripped}, prepare=False
            )


def find_requests_by_metadata(
    connection: Connection, metadata: Mapping[str, str], provider: str | None, limit: int
) -> Iterator[UUID]:
    """Yield the ids of the requests that have all the metadata, in order of creation, read in pages of `limit`."""
    (key, value), *others = metadata.items()
    params = {"key": key, "value": value, "other_metadata": as_jsonb(dict(others)), "provider": provider}
    for rows in _iterate_pages(connection, "find_requests_by_metadata", params, limit):
        yield from (request_id for _, request_id in rows)


def find_notifications(connection: Connection, request_ids: Sequence[UUID]) -> list[UUID]:
    """Return the ids of the notifications about requests."""
    return _find(connection, "find_notifications", request_ids)


def find_resendable_requests(connection: Connection, request_ids: Sequence[UUID]) -> list[UUID]:
    """Return the ids of those of the requests that may be sent again."""
    return _find(connection, "find_resendable_requests", request_ids)


def find_callbacks_of_jobs(connection: Connection, job_ids: Sequence[UUID]) -> list[UUID]:
    """Return the ids of all deliveries of the callbacks about jobs that are not erased."""
    return _find(connection, "find_callbacks_of_jobs", job_ids)


def iterate_callbacks(
    connection: Connection, provider: str, verdicts: Collection[Verdict]
) -> Iterator[tuple[UUID, IncomingCallback]]:
    """Yield the callbacks of a provider with these verdicts that are not erased, each with its id."""
    for verdict in verdicts:
        params = {"provider": provider, "verdict": verdict}
        for rows in _iterate_pages(connection, "find_searchable_callbacks", params, _SEARCH_PAGE_SIZE):
            for received_at, callback_id, method, target, headers, body in rows:
                yield callback_id, IncomingCallback(method, target, headers, bytes(body or b""), received_at)


def read_snapshot(connection: Connection) -> tuple[int, int]:
    """Return the number of the oldest running transaction, and the number of the next one to begin."""
    row = connection.execute(load_statement("read_snapshot")).fetchone()
    if row is None:
        raise AssertionError("read_snapshot returns a row")
    oldest, following = row
    return oldest, following


def _erase(connection: Connection, statement: str, ids: Sequence[UUID], **params: object) -> int:
    # No statement of this module is prepared: a plan made for few rows would be reused for many.
    if not ids:
        return 0
    return connection.execute(load_statement(statement), {"ids": list(ids), **params}, prepare=False).rowcount


def _find(connection: Connection, statement: str, ids: Sequence[UUID]) -> list[UUID]:
    rows = connection.execute(load_statement(statement), {"ids": list(ids)}, prepare=False)
    return [row_id for (row_id,) in rows]


def _iterate_pages(
    connection: Connection, statement: str, params: Mapping[str, Any], limit: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield a statement's rows in pages, each of which starts after the time and id of the row before."""
    after: datetime | str = "-infinity"
    after_id = UUID(int=0)
    while True:
        page_params = {**params, "after": after, "after_id": after_id, "limit": limit}
        rows = connection.execute(load_statement(statement), page_params, prepare=False).fetchall()
        yield rows
        if len(rows) < limit:
            return
        after, after_id = rows[-1][:2]
