"""The traces of the requests of jobs."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from receiver.domain.jobs import JobStatus
from receiver.store.connections import Connection, row_factory
from receiver.store.statements import load_statement


@dataclass(frozen=True, slots=True)
class TracedJob:
    """A job of a callback, of a request, or with the id `origin_id`; times are UTC.

    `decided_at` is when its status was received. `request_id` is None as long as the job has no request; `traceparent`
    is that of its request.
    """

    origin_id: UUID
    id: UUID
    provider: str
    status: JobStatus
    accepted_at: datetime
    finished_at: datetime | None
    decided_at: datetime
    request_id: UUID | None
    traceparent: str | None


def find_traced_jobs(connection: Connection, ids: Collection[UUID]) -> list[TracedJob]:
    """Return the jobs of callbacks, the jobs of requests, and the jobs with these ids.

    Jobs whose request has no trace are left out.
    """
    cursor = connection.cursor(row_factory=row_factory(TracedJob, status=JobStatus))
    # Not prepared: a plan made while the tables are small would go on to read them whole.
    return cursor.execute(load_statement("find_traced_jobs"), {"ids": list(ids)}, prepare=False).fetchall()
