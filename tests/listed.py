"""Rows of every list, a few thousand of each, and which of them fit filters, in plain Python."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from receiver.domain.jobs import JobStatus, derive_job_id
from receiver.domain.sending import RequestStatus
from receiver.store.callbacks import CallbackSummary, Verdict
from receiver.store.database import Connection, connect
from receiver.store.jobs import Job
from receiver.store.jsonb import as_jsonb
from receiver.store.keys import ApiKey
from receiver.store.requests import NewRequest, Request, submit_requests
from tests.factories import NOON

Item = TypeVar("Item", Job, Request, CallbackSummary, ApiKey)

NAMES = ("acme", "globex", "long-gone", "sandbox")
OPERATIONS = ("render", "send")
MANY = 3_000
TIMES = [NOON + timedelta(seconds=number // 3, microseconds=number % 3) for number in range(90)]
"""Few enough that many rows share one, some of them a microsecond apart."""
REQUEST_IDS = [UUID(int=number) for number in range(1, 50)]


TOO_LONG, LONG_KEY = "v" * 501, "k" * 101
VALUES: Mapping[str, Sequence[Any]] = {
    "order": [1, 2, 3, 2**53, -7, "1", "2"],
    "rate": [1.5, 2.0, 1e21, "1.5", 0],
    "vip": [True, False, "true", None],
    "note": ["", "v" * 500, TOO_LONG, "ñ 🚚", "a\\b\"c'", " "],
    "tags": [["a"], {"a": 1}, '["a"]', "a"],
    "a.b": ["dotted"],
    "": ["of no name"],
    LONG_KEY: ["under a long key"],
}


@dataclass(frozen=True)
class Rows:
    """All that there is in the database."""

    connection: Connection
    jobs: Sequence[Job]
    requests: Sequence[Request]
    callbacks: Sequence[CallbackSummary]


@contextmanager
def stored_rows(dsn: str) -> Iterator[Rows]:
    """Fill an empty database and look at it within the context."""
    chance = random.Random(20_261_123)
    with closing(connect(dsn)) as connection:
        yield Rows(
            connection,
            stored_jobs(connection, chance),
            stored_requests(connection, chance),
            stored_callbacks(connection, chance),
        )


def stored_jobs(connection: Connection, chance: random.Random) -> list[Job]:
    """Store jobs; a reference may be that of several providers."""
    jobs = []
    for number in range(MANY):
        name, reference = chance.choice(NAMES), f"ref-{number // 3}"
        status, accepted = chance.choice([*JobStatus]), chance.choice(TIMES)
        ended = max(accepted, chance.choice(TIMES)) if status.is_final else None
        request = chance.choice(REQUEST_IDS) if chance.random() < 0.8 else None
        made = derive_job_id(name, reference)
        jobs.append(Job(made, name, reference, request, status, chance.random() < 0.2, accepted, ended, accepted))
    jobs = list({job.id: job for job in jobs}.values())
    weights = {"accepted": 10, "in_progress": 20, "unresolved": 30, "succeeded": 40, "failed": 40}
    copy_in(
        connection,
        b"""COPY jobs (id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at,
        precedence, decided_at, decided_by) FROM STDIN""",
        [
            (
                *(job.id, job.provider, job.reference, job.request_id, job.status, job.disputed, job.accepted_at),
                *(job.finished_at, job.deadline_at, weights[job.status], job.accepted_at, job.id),
            )
            for job in jobs
        ],
    )
    return jobs


def stored_callbacks(connection: Connection, chance: random.Random) -> list[CallbackSummary]:
    callbacks = [
        CallbackSummary(
            UUID(int=chance.getrandbits(128)),
            chance.choice(NAMES),
            chance.choice(TIMES),
            verdict,
            "POST",
            {"id": ["is missing"]} if verdict is Verdict.INVALID else None,
        )
        for verdict in (chance.choice([*Verdict]) for _ in range(MANY))
    ]
    copy_in(
        connection,
        b"COPY callbacks (id, identity, provider, received_at, verdict, method, errors, target, headers, body)"
        b" FROM STDIN",
        [
            (
                *(one.id, one.id, one.provider, one.received_at, one.verdict, one.method),
                *(one.errors and as_jsonb(one.errors), "/", "{}", None if one.verdict is Verdict.DUPLICATE else b"{}"),
            )
            for one in callbacks
        ],
    )
    return callbacks


def stored_requests(connection: Connection, chance: random.Random) -> list[Request]:
    """Submit requests, which decides by what metadata they are found, and then move each to its time and status."""
    requests = []
    for _ in range(MANY):
        status, created = chance.choice([*RequestStatus]), chance.choice(TIMES)
        metadata = {key: chance.choice(values) for key, values in VALUES.items() if chance.random() < 0.5}
        over = status in {"completed", "rejected", "failed", "cancelled"}
        requests.append(
            Request(
                id=UUID(int=chance.getrandbits(128)),
                provider=chance.choice(NAMES),
                operation=chance.choice(OPERATIONS),
                payload={},
                metadata=metadata,
                status=status,
                detail=None,
                created_at=created,
                due_at=created if status is RequestStatus.QUEUED else None,
                deadline_at=created,
                finished_at=created if over else None,
            )
        )
    submit_requests(
        connection,
        [NewRequest(one.id, one.provider, one.operation, {}, one.metadata, None, NOON, 0.0) for one in requests],
    )
    connection.execute(b"CREATE TEMP TABLE meant (id uuid PRIMARY KEY, status text, at timestamptz, over boolean)")
    copy_in(
        connection,
        b"COPY meant FROM STDIN",
        [(one.id, one.status, one.created_at, one.finished_at is not None) for one in requests],
    )
    connection.execute(
        b"""UPDATE requests SET status = meant.status, created_at = at, deadline_at = at,
        due_at = CASE WHEN meant.status = 'queued' THEN at END,
        leased_until = CASE WHEN meant.status = 'sending' THEN at END, finished_at = CASE WHEN over THEN at END
        FROM meant WHERE meant.id = requests.id"""
    )
    connection.execute(b"UPDATE request_metadata SET created_at = at FROM meant WHERE meant.id = request_id")
    return requests


def copy_in(connection: Connection, statement: bytes, rows: Sequence[Sequence[Any]]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def within(time: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    """Whether a time is not before the one and before the other; what has no time is within nothing but all times."""
    if since is None and until is None:
        return True
    return time is not None and (since is None or since <= time) and (until is None or time < until)


def fits(value: object, wanted: object) -> bool:
    return wanted is None or value == wanted


def of_providers(name: str, providers: Sequence[str] | None) -> bool:
    return providers is None or name in providers


def text_of(value: object) -> str | None:
    """Give the text by which a value of metadata is found, as JSON writes it."""
    if isinstance(value, str):
        return value if len(value) <= 500 else None
    if isinstance(value, bool | int):
        return json.dumps(value)
    return {1.5: "1.5", 2.0: "2.0", 1e21: "1" + 21 * "0"}[value] if isinstance(value, float) else None


def having(metadata: Mapping[str, Any], wanted: Mapping[str, str] | None) -> bool:
    found = {key: text_of(value) for key, value in metadata.items() if len(key) <= 100}
    return all(found.get(key) == value for key, value in (wanted or {}).items())


def job_fits(job: Job, of: Mapping[str, Any]) -> bool:
    return (
        all(fits(getattr(job, name), of.get(name)) for name in ("status", "reference", "request_id", "disputed"))
        and fits(job.unmatched, of.get("unmatched"))
        and of_providers(job.provider, of.get("providers"))
        and within(job.accepted_at, of.get("accepted_from"), of.get("accepted_to"))
        and within(job.finished_at, of.get("finished_from"), of.get("finished_to"))
    )


def request_fits(request: Request, of: Mapping[str, Any]) -> bool:
    return (
        fits(request.status, of.get("status"))
        and fits(request.operation, of.get("operation"))
        and of_providers(request.provider, of.get("providers"))
        and within(request.created_at, of.get("created_from"), of.get("created_to"))
        and having(request.metadata, of.get("metadata"))
    )


def callback_fits(callback: CallbackSummary, of: Mapping[str, Any]) -> bool:
    return (
        fits(callback.verdict, of.get("verdict"))
        and of_providers(callback.provider, of.get("providers"))
        and within(callback.received_at, of.get("received_from"), of.get("received_to"))
    )


def newest_first(items: Sequence[Item], time: Callable[[Item], Any]) -> list[Item]:
    return sorted(items, key=lambda item: (time(item), item.id), reverse=True)
