"""Queries of events: the newest of jobs, and those of a callback. `reconcile` stores events."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from receiver.domain.jobs import EventSource, JobEvent, JobStatus, Precedence
from receiver.domain.paging import Page, PageRequest, PositionCursor, ReceiptCursor
from receiver.store.connections import Connection, row_factory
from receiver.store.statements import load_statement

_CONVERTERS = {"source": EventSource, "status": JobStatus, "precedence": Precedence}


@dataclass(frozen=True, slots=True)
class NewestEvents:
    """The newest events of a job, in the order of receipt.

    `preceding` is the event that decides the job's status among those received before `events`; None if there are none.
    """

    events: Sequence[JobEvent] = ()
    preceding: JobEvent | None = None

    @property
    def next_cursor(self) -> ReceiptCursor | None:
        """The cursor of the events before these; None if these are all."""
        if self.preceding is None:
            return None
        oldest = self.events[0]
        return ReceiptCursor(oldest.received_at, oldest.position, oldest.key)


def find_newest_events(
    connection: Connection, job_ids: Collection[UUID], page: PageRequest[ReceiptCursor]
) -> dict[UUID, NewestEvents]:
    """Return the newest events of each job, by job: those before the cursor of `page`, at most its `limit`."""
    cursor = page.cursor
    params = {
        "ids": list(job_ids),
        "before": cursor and cursor.received_at,
        "before_position": cursor and cursor.position,
        "before_key": cursor and cursor.key,
        "limit": page.limit,
    }
    rows = connection.cursor(row_factory=row_factory(_build_row, **_CONVERTERS))
    events: dict[UUID, list[JobEvent]] = {job_id: [] for job_id in job_ids}
    preceding: dict[UUID, JobEvent] = {}
    for event, is_preceding in rows.execute(load_statement("find_newest_events"), params):
        if is_preceding:
            preceding[event.job_id] = event
        else:
            events[event.job_id].append(event)
    return {job_id: NewestEvents(events[job_id], preceding.get(job_id)) for job_id in events}


def list_callback_events(
    connection: Connection, callback_ids: Collection[UUID], page: PageRequest[PositionCursor]
) -> Page[JobEvent]:
    """Return a page of the events of a callback's deliveries, in the order of their position in the body."""
    cursor = page.cursor
    params = {
        "callback_ids": list(callback_ids),
        "after_position": cursor and cursor.position,
        "after_job_id": cursor and cursor.job_id,
        "after_key": cursor and cursor.key,
        "limit": page.limit + 1,
    }
    rows = connection.cursor(row_factory=row_factory(JobEvent, **_CONVERTERS))
    events = rows.execute(load_statement("list_callback_events"), params, prepare=False).fetchall()
    return Page.from_rows(events, page.limit, lambda event: PositionCursor(event.position, event.job_id, event.key))


def find_callback_jobs(connection: Connection, callback_ids: Collection[UUID], limit: int) -> list[UUID]:
    """Return the jobs of the events of a callback's deliveries, at most `limit`, in the order of the body."""
    params = {"callback_ids": list(callback_ids), "limit": limit}
    return [job_id for (job_id,) in connection.execute(load_statement("find_callback_jobs"), params)]


def _build_row(*, is_preceding: bool, **columns: Any) -> tuple[JobEvent, bool]:
    return JobEvent(**columns), is_preceding
