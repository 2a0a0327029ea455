"""Proves what is stored afresh, and mends what is proven: the work of `receiver audit`.

It reads in batches, each in a snapshot of its own, so that what goes on meanwhile makes no false findings, and blocks
nothing. What it mends it judges again under a lock.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

from receiver.domain.audit import (
    AuditedJob,
    AuditedRequest,
    Finding,
    FindingKind,
    ProvenJob,
    Subject,
    audit_event,
    audit_job,
    audit_request,
    prove_job,
    repair_event,
)
from receiver.domain.jobs import JobEvent
from receiver.domain.sending import RequestStatus
from receiver.store.audit import (
    FIRST_ID,
    find_audited_events,
    find_audited_jobs,
    find_audited_requests,
    find_stored_events,
    find_unlinked_callbacks,
    lock_audited_jobs,
    lock_audited_requests,
    open_snapshot_connection,
    repair_events,
    repair_jobs,
    repair_requests,
    stop_polls,
)
from receiver.store.callbacks import StoredCallback
from receiver.store.database import Connection, Database, StoreConflict
from receiver.store.jobs import schedule_polls_now

T = TypeVar("T")

_BATCH, _MENDED_AT_ONCE, _BODIES = 1_000, 50, 100
_CONFLICTS_ENDURED = 5


class CallbackReader(Protocol):
    """Reads kept callbacks again, by the settings of now."""

    def statements(self, callback: StoredCallback) -> Sequence[JobEvent] | None:
        """Give the events that a callback makes; None if its provider is not configured, or cannot read it now."""

    def replay(self, connection: Connection, callback: StoredCallback) -> None:
        """Record what a callback says; within the transaction of `connection`."""

    def can_poll(self, provider: str) -> bool:
        """Whether a provider can be asked about its jobs."""


class Audit:
    """One audit of a whole database, or of one provider's part of it.

    Args:
        database: what is audited.
        rereader: reads callbacks whose word is lost.
        provider: only what is of this one.
        fix: store what is proven.
        tell: is told how far it is.
    """

    def __init__(
        self,
        database: Database,
        rereader: CallbackReader,
        *,
        provider: str | None = None,
        fix: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._rereader = rereader
        self._provider = provider
        self._fix = fix
        self._tell = tell
        self.seen: Counter[Subject] = Counter()
        """How many of each were looked at; of callbacks, those that no event names."""

    def run(self) -> Iterator[list[Finding]]:
        """Audit everything; gives findings as they are made, those that were mended as `fixed`.

        Callbacks come first: what they say may be what jobs and requests lack.

        Raises:
            StoreError: as Postgres says. What was mended until then stays so.
        """
        with open_snapshot_connection(self._database.dsn) as connection:
            for part in (self._callbacks, self._jobs, self._requests):
                yield from filter(None, part(connection))

    def _jobs(self, connection: Connection) -> Iterator[list[Finding]]:
        after = FIRST_ID
        while True:
            with connection.transaction():
                jobs = find_audited_jobs(connection, after, self._provider, _BATCH)
                events = find_audited_events(connection, [job.id for job in jobs])
            findings = [finding for job in jobs for finding in audit_job(job, events[job.id])]
            yield self._mended(findings, self._mend_jobs)
            self._count(Subject.JOB, len(jobs))
            if len(jobs) < _BATCH:
                return
            after = jobs[-1].id

    def _requests(self, connection: Connection) -> Iterator[list[Finding]]:
        after = FIRST_ID
        while True:
            with connection.transaction():
                requests = find_audited_requests(connection, after=after, provider=self._provider, limit=_BATCH)
            findings = [finding for request in requests for finding in audit_request(request)]
            yield self._mended(findings, self._mend_requests)
            self._count(Subject.REQUEST, len(requests))
            if len(requests) < _BATCH:
                return
            after = requests[-1].id

    def _callbacks(self, connection: Connection) -> Iterator[list[Finding]]:
        after = FIRST_ID
        while True:
            with connection.transaction():
                callbacks = find_unlinked_callbacks(connection, after, self._provider, _BODIES)
                findings = [found for callback in callbacks for found in self._lost(connection, callback)]
            by_id = {callback.id: callback for callback in callbacks}
            yield [self._reread(finding, by_id[finding.id]) for finding in findings]
            self._count(Subject.CALLBACK, len(callbacks))
            if len(callbacks) < _BODIES:
                return
            after = callbacks[-1].id

    def _lost(self, connection: Connection, callback: StoredCallback) -> list[Finding]:
        """Give what of a callback's words is lost; nothing where another delivery of it said the same."""
        said = self._rereader.statements(callback)
        if said is None:
            return [_lost_callback(callback, None)]
        lost = {(event.job_id, event.key) for event in said} - find_stored_events(connection, said)
        return [_lost_callback(callback, f"says {len(lost)} things that are not kept")] if lost else []

    def _reread(self, finding: Finding, callback: StoredCallback) -> Finding:
        if not self._fix or not finding.mendable:
            return finding
        self._endured(lambda: self._replay(callback))
        return replace(finding, fixed=True)

    def _replay(self, callback: StoredCallback) -> None:
        with self._database.transaction() as connection:
            self._rereader.replay(connection, callback)

    def _endured(self, mend: Callable[[], T]) -> T:
        """Mend, and again after a conflict with what goes on meanwhile."""
        for _ in range(_CONFLICTS_ENDURED):
            with suppress(StoreConflict):
                return mend()
        return mend()

    def _mended(self, findings: list[Finding], mend: Callable[[Sequence[UUID]], list[Finding]]) -> list[Finding]:
        """Mend what can be, in the order of the ids; gives the findings as they were under the lock."""
        wrong = {finding.id for finding in findings if finding.mendable} if self._fix else set()
        found = [finding for finding in findings if finding.id not in wrong]
        ids = sorted(wrong)
        for start in range(0, len(ids), _MENDED_AT_ONCE):
            found += self._endured(partial(mend, ids[start : start + _MENDED_AT_ONCE]))
        return [replace(finding, fixed=finding.mendable and self._fix) for finding in found]

    def _mend_jobs(self, job_ids: Sequence[UUID]) -> list[Finding]:
        weights = self._mend_weights(job_ids)
        with self._database.transaction() as connection:
            # Who has something to say of these jobs waits for their locks, and joins it into what is stored here.
            jobs = lock_audited_jobs(connection, job_ids)
            events = find_audited_events(connection, job_ids)
            findings = [finding for job in jobs for finding in audit_job(job, events[job.id])]
            wrong = {finding.id for finding in findings if finding.mendable and finding.kind is not FindingKind.POLLED}
            proven = [
                (job, one) for job in jobs if job.id in wrong and (one := prove_job(job, events[job.id])) is not None
            ]
            repair_jobs(connection, [(job.id, one) for job, one in proven])
            stop_polls(connection, job_ids)
            schedule_polls_now(connection, [job.id for job, one in proven if self._is_reopened(job, one)])
        return weights + findings

    def _mend_weights(self, job_ids: Sequence[UUID]) -> list[Finding]:
        """Mend the weights of jobs' events; in a transaction of its own, as events are locked before jobs."""
        with self._database.transaction() as connection:
            weighed = [event for events in find_audited_events(connection, job_ids).values() for event in events]
            wrong = [(event, right) for event in weighed if (right := repair_event(event)) not in (event, None)]
            repair_events(connection, [right for _, right in wrong if right is not None])
        return [finding for event, _ in wrong for finding in audit_event(event)]

    def _is_reopened(self, job: AuditedJob, proven: ProvenJob) -> bool:
        open_again = job.status.is_final and not proven.state.status.is_final
        return open_again and self._rereader.can_poll(job.provider)

    def _mend_requests(self, request_ids: Sequence[UUID]) -> list[Finding]:
        with self._database.transaction() as connection:
            lock_audited_requests(connection, request_ids)
            requests = find_audited_requests(connection, ids=request_ids, limit=len(request_ids))
            findings = {request.id: audit_request(request) for request in requests}
            rows = [_mend(request, findings[request.id]) for request in requests]
            repair_requests(connection, [row for row in rows if len(row) > 1])
        return [finding for found in findings.values() for finding in found]

    def _count(self, subject: Subject, number: int) -> None:
        self.seen[subject] += number
        self._tell(", ".join(f"{count} {what}s" for what, count in self.seen.items()) + " looked at")


def _mend(request: AuditedRequest, findings: Sequence[Finding]) -> dict[str, Any]:
    """Give what of a request is to be stored anew."""
    row: dict[str, Any] = {"id": request.id}
    for finding in findings:
        if not finding.mendable:
            continue
        match finding.kind:
            case FindingKind.TAKEN:
                row |= {"status": RequestStatus.ACCEPTED, "detail": "it was taken, as its jobs prove"}
            case FindingKind.ATTEMPTS:
                row |= {"attempts": request.rows}
            case FindingKind.LEASE if request.lease_absurd:
                row |= {"lease_ends": True}
            case FindingKind.LEASE:
                detail = "its attempt is not kept; it may have been acted on"
                row |= {"status": RequestStatus.UNKNOWN, "detail": detail, "attempts": request.newest}
    return row


def _lost_callback(callback: StoredCallback, proven: str | None) -> Finding:
    stored = f"{callback.verdict}, named by no event"
    return Finding(
        FindingKind.LOST_CALLBACK, Subject.CALLBACK, callback.id, callback.provider, stored, proven, proven is not None
    )
