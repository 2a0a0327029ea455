"""A few thousand rows of every list, and a plain Python implementation of the filters."""

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
from receiver.store.connections import Connection, as_jsonb, connect
from receiver.store.jobs import Job
from receiver.store.keys import ApiKey
from receiver.store.requests import NewRequest, Request, submit_requests
from tests.support.factories import NOON

Item = TypeVar("Item", Job, Request, CallbackSummary, ApiKey)

PROVIDER_NAMES = ("acme", "globex", "long-gone", "sandbox")
OPERATIONS = ("render", "send")
ROW_COUNT = 3_000
TIMES = [NOON + timedelta(seconds=number // 3, microseconds=number % 3) for number in range(90)]
"""So few times that many rows share one; some are a microsecond apart."""
REQUEST_IDS = [UUID(int=number) for number in range(1, 50)]

LONG_VALUE, LONG_KEY = "v" * 501, "k" * 101
METADATA_VALUES: Mapping[str, Sequence[Any]] = {
    "order": [1, 2, 3, 2**53, -7, "1", "2"],
    "rate": [1.5, 2.0, 1e21, "1.5", 0],
    "vip": [True, False, "true", None],
    "note": ["", "v" * 500, LONG_VALUE, "ñ 🚚", "a\\b\"c'", " "],
    "tags": [["a"], {"a": 1}, '["a"]', "a"],
    "a.b": ["dotted"],
    "": ["of no name"],
    LONG_KEY: ["under a long key"],
}


@dataclass(frozen=True)
class Rows:
    """All rows of the database."""

    connection: Connection
    jobs: Sequence[Job]
    requests: Sequence[Request]
    callbacks: Sequence[CallbackSummary]


@contextmanager
def store_rows(dsn: str) -> Iterator[Rows]:
    """Fill an empty database and yield its rows, with a connection to it."""
    rng = random.Random(20_261_123)
    with closing(connect(dsn)) as connection:
        yield Rows(
            connection,
            store_jobs(connection, rng),
            store_requests(connection, rng),
            store_callbacks(connection, rng),
        )


def store_jobs(connection: Connection, rng: random.Random) -> list[Job]:
    """Insert jobs; several providers may use the same reference."""
    jobs = []
    for number in range(ROW_COUNT):
        provider, reference = rng.choice(PROVIDER_NAMES), f"ref-{number // 3}"
        status, accepted_at = rng.choice([*JobStatus]), rng.choice(TIMES)
        finished_at = max(accepted_at, rng.choice(TIMES)) if status.is_final else None
        request_id = rng.choice(REQUEST_IDS) if rng.random() < 0.8 else None
        jobs.append(
            Job(
                id=derive_job_id(provider, reference),
                provider=provider,
                reference=reference,
                request_id=request_id,
                status=status,
                disputed=rng.random() < 0.2,
                accepted_at=accepted_at,
                finished_at=finished_at,
                deadline_at=accepted_at,
                unmatched=request_id is None,
            )
        )
    jobs = list({job.id: job for job in jobs}.values())
    precedences = {"accepted": 10, "in_progress": 20, "unresolved": 30, "succeeded": 40, "failed": 40}
    copy_rows(
        connection,
        b"""COPY jobs (id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at,
        precedence, decided_at, decided_by) FROM STDIN""",
        [
            (
                *(job.id, job.provider, job.reference, job.request_id, job.status, job.disputed, job.accepted_at),
                *(job.finished_at, job.deadline_at, precedences[job.status], job.accepted_at, job.id),
            )
            for job in jobs
        ],
    )
    return jobs


def store_callbacks(connection: Connection, rng: random.Random) -> list[CallbackSummary]:
    callbacks = [
        CallbackSummary(
            UUID(int=rng.getrandbits(128)),
            rng.choice(PROVIDER_NAMES),
            rng.choice(TIMES),
            verdict,
            "POST",
            {"id": ["is missing"]} if verdict is Verdict.INVALID else None,
        )
        for verdict in (rng.choice([*Verdict]) for _ in range(ROW_COUNT))
    ]
    copy_rows(
        connection,
        b"COPY callbacks (id, identity, provider, received_at, verdict, method, errors, target, headers, body)"
        b" FROM STDIN",
        [
            (
                *(callback.id, callback.id, callback.provider, callback.received_at, callback.verdict, callback.method),
                *(callback.errors and as_jsonb(callback.errors), "/", "{}"),
                None if callback.verdict is Verdict.DUPLICATE else b"{}",
            )
            for callback in callbacks
        ],
    )
    return callbacks


def store_requests(connection: Connection, rng: random.Random) -> list[Request]:
    """Submit requests, which stores the metadata they are found by, and then set the time and status of each."""
    requests = []
    for _ in range(ROW_COUNT):
        status, created_at = rng.choice([*RequestStatus]), rng.choice(TIMES)
        metadata = {key: rng.choice(values) for key, values in METADATA_VALUES.items() if rng.random() < 0.5}
        finished = status in {"completed", "rejected", "failed", "cancelled"}
        reference_conflict = status is RequestStatus.ACCEPTED and rng.random() < 0.2
        requests.append(
            Request(
                id=UUID(int=rng.getrandbits(128)),
                provider=rng.choice(PROVIDER_NAMES),
                operation=rng.choice(OPERATIONS),
                payload={},
                metadata=metadata,
                status=status,
                detail=None,
                created_at=created_at,
                due_at=created_at if status is RequestStatus.QUEUED else None,
                deadline_at=created_at,
                finished_at=created_at if finished else None,
                reference_conflict=reference_conflict,
            )
        )
    submit_requests(
        connection,
        [
            NewRequest(request.id, request.provider, request.operation, {}, request.metadata, None, NOON, 0.0)
            for request in requests
        ],
    )
    connection.execute(
        b"""CREATE TEMP TABLE target (
            id uuid PRIMARY KEY, status text, at timestamptz, finished boolean, conflict boolean)"""
    )
    copy_rows(
        connection,
        b"COPY target FROM STDIN",
        [
            (
                *(request.id, request.status, request.created_at),
                *(request.finished_at is not None, request.reference_conflict),
            )
            for request in requests
        ],
    )
    connection.execute(
        b"""UPDATE requests SET status = target.status, created_at = at, deadline_at = at,
        due_at = CASE WHEN target.status = 'queued' THEN at END,
        leased_until = CASE WHEN target.status = 'sending' THEN at END, finished_at = CASE WHEN finished THEN at END,
        conflict_deadline_at = CASE WHEN conflict THEN at END
        FROM target WHERE target.id = requests.id"""
    )
    connection.execute(b"UPDATE request_metadata SET created_at = at FROM target WHERE target.id = request_id")
    return requests


def copy_rows(connection: Connection, statement: bytes, rows: Sequence[Sequence[Any]]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def is_within(time: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    """Return whether `since <= time < until`. Without a time, that is true only if there are no bounds."""
    if since is None and until is None:
        return True
    return time is not None and (since is None or since <= time) and (until is None or time < until)


def matches(value: object, expected: object) -> bool:
    return expected is None or value == expected


def has_provider(name: str, providers: Sequence[str] | None) -> bool:
    return providers is None or name in providers


def format_metadata_value(value: object) -> str | None:
    """Return the text by which a metadata value is found, as written in JSON, or None if it cannot be found."""
    if isinstance(value, str):
        return value if len(value) <= 500 else None
    if isinstance(value, bool | int):
        return json.dumps(value)
    return {1.5: "1.5", 2.0: "2.0", 1e21: "1" + 21 * "0"}[value] if isinstance(value, float) else None


def has_metadata(metadata: Mapping[str, Any], expected: Mapping[str, str] | None) -> bool:
    texts = {key: format_metadata_value(value) for key, value in metadata.items() if len(key) <= 100}
    return all(texts.get(key) == value for key, value in (expected or {}).items())


def job_matches(job: Job, filters: Mapping[str, Any]) -> bool:
    return (
        all(
            matches(getattr(job, name), filters.get(name)) for name in ("status", "reference", "request_id", "disputed")
        )
        and matches(job.unmatched, filters.get("unmatched"))
        and has_provider(job.provider, filters.get("providers"))
        and is_within(job.accepted_at, filters.get("accepted_from"), filters.get("accepted_to"))
        and is_within(job.finished_at, filters.get("finished_from"), filters.get("finished_to"))
    )


def request_matches(request: Request, filters: Mapping[str, Any]) -> bool:
    return (
        matches(request.status, filters.get("status"))
        and matches(request.operation, filters.get("operation"))
        and matches(request.reference_conflict, filters.get("reference_conflict"))
        and has_provider(request.provider, filters.get("providers"))
        and is_within(request.created_at, filters.get("created_from"), filters.get("created_to"))
        and has_metadata(request.metadata, filters.get("metadata"))
    )


def callback_matches(callback: CallbackSummary, filters: Mapping[str, Any]) -> bool:
    return (
        matches(callback.verdict, filters.get("verdict"))
        and has_provider(callback.provider, filters.get("providers"))
        and is_within(callback.received_at, filters.get("received_from"), filters.get("received_to"))
    )


def sort_newest_first(items: Sequence[Item], get_time: Callable[[Item], Any]) -> list[Item]:
    return sorted(items, key=lambda item: (get_time(item), item.id), reverse=True)
