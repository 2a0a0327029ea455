"""Erasure of one person's data, for `receiver erase`: statuses stay, with the events that prove them.

Each statement is a transaction of its own, so that no lock is held while another is waited for. What is committed
meanwhile, such as a callback, is found by another pass once all transactions have ended that were running during the
last one. Erasure can be interrupted at any time and started again.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar
from uuid import UUID, uuid4

from receiver.domain.access import OperatorAction
from receiver.domain.erasure import mentions
from receiver.domain.errors import ReceiverError
from receiver.domain.filters import JobFilter
from receiver.domain.jobs import build_operator_event
from receiver.domain.paging import Cursor, PageRequest
from receiver.domain.plurals import format_count
from receiver.reconcile import reconcile
from receiver.store.callbacks import Verdict
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.erase import (
    erase_actions,
    erase_answers,
    erase_callbacks,
    erase_events,
    erase_jobs,
    erase_requests,
    find_callbacks_of_jobs,
    find_notifications,
    find_requests_by_metadata,
    find_resendable_requests,
    iterate_callbacks,
    read_snapshot,
)
from receiver.store.jobs import Job, list_jobs
from receiver.store.prune import compute_cutoff
from receiver.store.requests import find_requests

T = TypeVar("T")

_ACTOR = "receiver erase"
_BATCH_SIZE = 100
_PAGE_SIZE = 500
_MAX_PASSES = 10
_SETTLE_TIMEOUT_S = 10.0
_SETTLE_INTERVAL_S = 0.05
_SEARCHED_VERDICTS = (Verdict.REFUSED, Verdict.INVALID)
"""The verdicts of callbacks that may belong to no job, so that they are searched."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose data is erased: requests by id, the jobs with a provider's reference, or requests by metadata.

    `provider` is a name, that of a provider with its accounts.
    """

    request_ids: Sequence[UUID] = ()
    provider: str | None = None
    reference: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErasedCounts:
    """How many rows of each kind were changed; `requests` includes notifications about them."""

    requests: int = 0
    attempts: int = 0
    jobs: int = 0
    events: int = 0
    callbacks: int = 0

    def __add__(self, other: "ErasedCounts") -> "ErasedCounts":
        names = [each.name for each in fields(self)]
        return ErasedCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class Erasure:
    """The result of an erasure.

    Args:
        counts: what was changed.
        selected: how many requests and jobs the selection found.
        open_requests: the requests and notifications that may be sent again, which were left alone, and the requests
            with jobs that are not final, about which callbacks will come.
        is_settled: whether all transactions that ran meanwhile have ended.
    """

    counts: ErasedCounts
    selected: int
    open_requests: Sequence[UUID]
    is_settled: bool


@dataclass(frozen=True, slots=True)
class _Subjects:
    """The requests and jobs whose data is erased. Without `jobs`, these are all jobs of the requests."""

    request_ids: Sequence[UUID]
    jobs: Sequence[Job] | None = None


def erase(
    database: Database,
    selection: Selection,
    reason: str,
    *,
    dry_run: bool = False,
    report_progress: Callable[[str], None] = lambda _: None,
) -> Erasure:
    """Erase what is stored of a person, and record an action or an event of each request and job without a request.

    Args:
        database: the database.
        selection: whose data is erased.
        reason: why; stored, so it must not name the person.
        dry_run: only count; roll back each statement.
        report_progress: called with a line of text after each batch.

    Raises:
        AmbiguousReference: the reference names jobs of several accounts.
        StoreError: a statement failed. What was erased before remains erased.
    """
    with database.connection() as reader, database.connection() as writer:
        eraser = _Eraser(reader, writer, selection, reason, dry_run=dry_run, report_progress=report_progress)
        subjects = eraser.find_subjects()
        counts, is_settled = eraser.run(subjects), True
        for _ in range(_MAX_PASSES):
            if dry_run or not is_settled:
                break
            is_settled = _wait_for_transactions(reader)
            repeated = eraser.run(subjects)
            counts += repeated
            if repeated == ErasedCounts():
                break
        selected = len(subjects.request_ids) + len(subjects.jobs or ())
        return Erasure(counts, selected, eraser.find_open(subjects), is_settled)


class AmbiguousReference(ReceiverError):
    """A reference names jobs of several accounts of a provider, which may be those of several persons."""


class _Eraser:
    """One erasure, which reads on one connection and changes on another."""

    def __init__(
        self,
        reader: Connection,
        writer: Connection,
        selection: Selection,
        reason: str,
        *,
        dry_run: bool,
        report_progress: Callable[[str], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._selection = selection
        self._reason = reason
        self._dry_run = dry_run
        self._report_progress = report_progress

    def find_subjects(self) -> _Subjects:
        """Find the requests and jobs of the selection."""
        selection = self._selection
        if selection.reference is not None:
            providers = None if selection.provider is None else [selection.provider]
            jobs = list(self._list_jobs(JobFilter(providers=providers, reference=selection.reference)))
            names = sorted({job.provider for job in jobs})
            if len(names) > 1:
                raise AmbiguousReference(f"Several accounts use this reference: {', '.join(names)}. Add --account.")
            return _Subjects([job.request_id for job in jobs if job.request_id], jobs)
        if selection.metadata:
            found = find_requests_by_metadata(self._reader, selection.metadata, selection.provider, _PAGE_SIZE)
            return _Subjects(list(found))
        return _Subjects([request.id for request in find_requests(self._reader, selection.request_ids)])

    def run(self, subjects: _Subjects) -> ErasedCounts:
        """Erase everything once; return what was changed."""
        counts, terms, providers = ErasedCounts(), set(self._selection.metadata.values()), set()
        for request_ids, jobs in self._iterate_batches(subjects):
            counts += self._erase_batch(request_ids, jobs)
            self._report_progress(
                f"{format_count(counts.requests, 'request')}, {format_count(counts.callbacks, 'callback')}"
            )
            terms |= {str(request_id) for request_id in request_ids} | {request_id.hex for request_id in request_ids}
            terms |= {job.reference for job in jobs}
            providers |= {job.provider for job in jobs}
            providers |= {request.provider for request in find_requests(self._reader, request_ids)}
        return counts + ErasedCounts(callbacks=self._erase_callbacks(set(self._search_callbacks(providers, terms))))

    def find_open(self, subjects: _Subjects) -> Sequence[UUID]:
        """Return the requests that may be sent again, or about whose jobs callbacks may come."""
        notification_ids = find_notifications(self._reader, subjects.request_ids)
        resendable = find_resendable_requests(self._reader, [*subjects.request_ids, *notification_ids])
        open_ids = dict.fromkeys(resendable)
        for request_id in subjects.request_ids:
            jobs = subjects.jobs or self._list_jobs(JobFilter(request_id=request_id))
            if any(not job.status.is_final and job.request_id == request_id for job in jobs):
                open_ids[request_id] = None
        return list(open_ids)

    def _iterate_batches(self, subjects: _Subjects) -> Iterator[tuple[Sequence[UUID], Sequence[Job]]]:
        """Yield the requests in batches, each with its jobs."""
        if subjects.jobs is not None:
            yield subjects.request_ids, subjects.jobs
            return
        for start in range(0, len(subjects.request_ids), _BATCH_SIZE):
            request_ids = subjects.request_ids[start : start + _BATCH_SIZE]
            yield (
                request_ids,
                [job for request_id in request_ids for job in self._list_jobs(JobFilter(request_id=request_id))],
            )

    def _erase_batch(self, request_ids: Sequence[UUID], jobs: Sequence[Job]) -> ErasedCounts:
        job_ids = sorted(job.id for job in jobs)
        notification_ids = find_notifications(self._reader, request_ids)
        self._erase_answers(request_ids, jobs)
        requests = self._change(
            lambda connection: erase_requests(connection, [*request_ids, *notification_ids], _ACTOR, self._reason)
        )
        erased_jobs = self._change(lambda connection: erase_jobs(connection, job_ids))
        events = self._change(lambda connection: erase_events(connection, job_ids, _ACTOR))
        callbacks = self._erase_callbacks(find_callbacks_of_jobs(self._reader, job_ids))
        if events or callbacks:
            unmatched = [job for job in jobs if job.request_id is None]
            self._change(lambda connection: self._record_events(connection, unmatched))
        return ErasedCounts(requests.requests, requests.attempts, erased_jobs, events, callbacks)

    def _erase_answers(self, request_ids: Sequence[UUID], jobs: Sequence[Job]) -> None:
        """Erase what is stored for repetitions of the calls that created requests or tracked jobs."""
        requests = find_requests(self._reader, request_ids)
        times, locations = [request.created_at for request in requests], [f"/v1/jobs/{job.id}" for job in jobs]
        clients = {request.client for request in requests if request.client is not None}
        self._change(lambda connection: erase_answers(connection, clients, times, locations))

    def _erase_callbacks(self, callback_ids: Collection[UUID]) -> int:
        ids = list(callback_ids)
        self._change(lambda connection: erase_actions(connection, ids))
        return self._change(lambda connection: erase_callbacks(connection, ids))

    def _change(self, change: Callable[[Connection], T]) -> T:
        with self._writer.transaction(force_rollback=self._dry_run):
            return change(self._writer)

    def _list_jobs(self, job_filter: JobFilter) -> Iterator[Job]:
        page_request: PageRequest[Cursor] = PageRequest(limit=_PAGE_SIZE)
        while True:
            page = list_jobs(self._reader, job_filter, page_request)
            yield from page.items
            if page.next_cursor is None:
                return
            last = page.items[-1]
            page_request = PageRequest(Cursor(last.accepted_at, last.id), _PAGE_SIZE)

    def _search_callbacks(self, providers: Collection[str], terms: Collection[str]) -> Iterator[UUID]:
        """Yield the callbacks that belong to no job and mention one of the terms."""
        for provider in providers:
            for callback_id, callback in iterate_callbacks(self._reader, provider, _SEARCHED_VERDICTS):
                if mentions(callback, terms):
                    yield callback_id

    def _record_events(self, connection: Connection, jobs: Sequence[Job]) -> None:
        """Record an event of each job without a request: what operators do to a job is an event of it."""
        operator = OperatorAction(_ACTOR, compute_cutoff(connection, 0.0), self._reason)
        reconcile(
            connection,
            [
                build_operator_event(
                    job.id,
                    job.provider,
                    job.reference,
                    operator,
                    key=uuid4(),
                    deadline_at=job.deadline_at,
                    detail=f"erased: {self._reason}",
                )
                for job in jobs
            ],
        )


def _wait_for_transactions(connection: Connection) -> bool:
    """Wait until the transactions have ended that are running now; return False if one goes on for long."""
    _, boundary = read_snapshot(connection)
    give_up_at = time.monotonic() + _SETTLE_TIMEOUT_S
    while read_snapshot(connection)[0] < boundary:
        if time.monotonic() > give_up_at:
            return False
        time.sleep(_SETTLE_INTERVAL_S)
    return True
