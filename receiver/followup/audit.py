"""Audit of everything stored: compares rows with what their events and attempts prove, and repairs them if asked to.

This is the work of `receiver audit`; what is wrong is judged by `receiver.domain.audit`. The audit reads in batches,
each in a snapshot of its own, so that concurrent changes cause no false findings and nothing is blocked. Before a
repair, the rows are locked and judged again.
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
    build_count_finding,
    prove_job,
    repair_event,
)
from receiver.domain.jobs import JobEvent
from receiver.domain.plurals import format_count
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
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import StoreConflict
from receiver.store.generations import find_assigned_events
from receiver.store.jobs import schedule_polls_now
from receiver.store.row_counts import count_all_rows, find_wrong_counts

T = TypeVar("T")

_BATCH_SIZE = 1_000
_CALLBACK_BATCH_SIZE = 100
_REPAIR_BATCH_SIZE = 50
_MAX_CONFLICTS = 5


class CallbackReader(Protocol):
    """Parses and replays stored callbacks by the current settings."""

    def parse_events(self, callback: StoredCallback) -> Sequence[JobEvent] | None:
        """Return the events of a callback; None if its provider is not configured or cannot parse it now."""

    def replay(self, connection: Connection, callback: StoredCallback) -> None:
        """Record the events of a callback, within the transaction of `connection`."""

    def has_poller(self, provider: str) -> bool:
        """Return whether a provider can be polled."""


class Audit:
    """One audit of a whole database, or of one provider's part of it.

    Args:
        database: the database to audit.
        callback_reader: parses callbacks whose events are missing.
        provider: audit only rows of this provider.
        fix: repair what is proven.
        report_progress: called with a line of text after each batch.
    """

    def __init__(
        self,
        database: Database,
        callback_reader: CallbackReader,
        *,
        provider: str | None = None,
        fix: bool = False,
        report_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._callback_reader = callback_reader
        self._provider = provider
        self._fix = fix
        self._report_progress = report_progress
        self.counts: Counter[Subject] = Counter()
        """The numbers of rows checked so far. Of callbacks, only those that no event refers to are checked."""

    def run(self) -> Iterator[list[Finding]]:
        """Audit everything; yield findings batch by batch, repaired ones as `fixed`.

        Callbacks are audited first, as their missing events may explain what is wrong with jobs and requests.

        Raises:
            StoreError: a statement failed. Repairs that were made before remain.
        """
        with open_snapshot_connection(self._database) as connection:
            for audit_part in (self._audit_callbacks, self._audit_jobs, self._audit_requests, self._audit_counts):
                yield from filter(None, audit_part(connection))

    def _audit_jobs(self, connection: Connection) -> Iterator[list[Finding]]:
        after = FIRST_ID
        while True:
            with connection.transaction():
                jobs = find_audited_jobs(connection, after, self._provider, _BATCH_SIZE)
                events = find_audited_events(connection, [job.id for job in jobs])
            findings = [finding for job in jobs for finding in audit_job(job, events[job.id])]
            yield self._repair(findings, self._repair_jobs)
            self._count(Subject.JOB, len(jobs))
            if len(jobs) < _BATCH_SIZE:
                return
            after = jobs[-1].id

    def _audit_requests(self, connection: Connection) -> Iterator[list[Finding]]:
        after = FIRST_ID
        while True:
            with connection.transaction():
                requests = find_audited_requests(connection, after=after, provider=self._provider, limit=_BATCH_SIZE)
            findings = [finding for request in requests for finding in audit_request(request)]
            yield self._repair(findings, self._repair_requests)
            self._count(Subject.REQUEST, len(requests))
            if len(requests) < _BATCH_SIZE:
                return
            after = requests[-1].id

    def _audit_counts(self, connection: Connection) -> Iterator[list[Finding]]:
        with connection.transaction():
            findings = [build_count_finding(count) for count in find_wrong_counts(connection, self._provider)]
        if findings and self._fix:
            with self._database.transaction() as own_connection:
                count_all_rows(own_connection)
            findings = [replace(finding, fixed=True) for finding in findings]
        yield findings

    def _audit_callbacks(self, connection: Connection) -> Iterator[list[Finding]]:
        after = FIRST_ID
        while True:
            with connection.transaction():
                callbacks = find_unlinked_callbacks(connection, after, self._provider, _CALLBACK_BATCH_SIZE)
                findings = [finding for callback in callbacks for finding in self._audit_callback(connection, callback)]
            callbacks_by_id = {callback.id: callback for callback in callbacks}
            yield [self._repair_callback(finding, callbacks_by_id[finding.id]) for finding in findings]
            self._count(Subject.CALLBACK, len(callbacks))
            if len(callbacks) < _CALLBACK_BATCH_SIZE:
                return
            after = callbacks[-1].id

    def _audit_callback(self, connection: Connection, callback: StoredCallback) -> list[Finding]:
        """Return a finding if events of a callback are missing.

        They are not if another delivery of the callback created the same events.
        """
        events = self._callback_reader.parse_events(callback)
        if events is None:
            return [_build_lost_callback_finding(callback, None)]
        events = find_assigned_events(connection, events)
        missing = {(event.job_id, event.key) for event in events} - find_stored_events(connection, events)
        if not missing:
            return []
        proven = f"contains {format_count(len(missing), 'event')} not stored"
        return [_build_lost_callback_finding(callback, proven)]

    def _repair_callback(self, finding: Finding, callback: StoredCallback) -> Finding:
        if not self._fix or not finding.mendable:
            return finding
        _retry_on_conflict(lambda: self._replay(callback))
        return replace(finding, fixed=True)

    def _replay(self, callback: StoredCallback) -> None:
        with self._database.transaction() as connection:
            self._callback_reader.replay(connection, callback)

    def _repair(self, findings: list[Finding], repair: Callable[[Sequence[UUID]], list[Finding]]) -> list[Finding]:
        """Repair the rows of repairable findings, in the order of their ids.

        Args:
            findings: the findings of a snapshot.
            repair: repairs the rows with these ids under a lock, and returns the findings made under the lock.

        Returns:
            The findings under the lock for rows that were to be repaired, the given findings for all others.
        """
        repairable_ids = {finding.id for finding in findings if finding.mendable} if self._fix else set()
        reviewed = [finding for finding in findings if finding.id not in repairable_ids]
        ids = sorted(repairable_ids)
        for start in range(0, len(ids), _REPAIR_BATCH_SIZE):
            reviewed += _retry_on_conflict(partial(repair, ids[start : start + _REPAIR_BATCH_SIZE]))
        return [replace(finding, fixed=finding.mendable and self._fix) for finding in reviewed]

    def _repair_jobs(self, job_ids: Sequence[UUID]) -> list[Finding]:
        event_findings = self._repair_event_precedences(job_ids)
        with self._database.transaction() as connection:
            # A concurrent `reconcile` waits for these locks, then merges its events into the state repaired here.
            jobs = lock_audited_jobs(connection, job_ids)
            events = find_audited_events(connection, job_ids)
            findings = [finding for job in jobs for finding in audit_job(job, events[job.id])]
            differing_ids = {
                finding.id for finding in findings if finding.mendable and finding.kind is not FindingKind.POLLED
            }
            repairs = [
                (job, proven)
                for job in jobs
                if job.id in differing_ids and (proven := prove_job(job, events[job.id])) is not None
            ]
            repair_jobs(connection, [(job.id, proven) for job, proven in repairs])
            stop_polls(connection, job_ids)
            schedule_polls_now(connection, [job.id for job, proven in repairs if self._must_poll(job, proven)])
        return event_findings + findings

    def _repair_event_precedences(self, job_ids: Sequence[UUID]) -> list[Finding]:
        """Repair the precedences of jobs' events.

        This takes a transaction of its own: `reconcile` locks events before jobs, and the opposite order could
        deadlock.
        """
        with self._database.transaction() as connection:
            stored = [event for events in find_audited_events(connection, job_ids).values() for event in events]
            repairs = [(event, repaired) for event in stored if (repaired := repair_event(event)) not in (event, None)]
            repair_events(connection, [repaired for _, repaired in repairs if repaired is not None])
        return [finding for event, _ in repairs for finding in audit_event(event)]

    def _must_poll(self, job: AuditedJob, proven: ProvenJob) -> bool:
        """Return whether a job that was stored as final is open, so that its polls must start again."""
        is_reopened = job.status.is_final and not proven.state.status.is_final
        return is_reopened and self._callback_reader.has_poller(job.provider)

    def _repair_requests(self, request_ids: Sequence[UUID]) -> list[Finding]:
        with self._database.transaction() as connection:
            lock_audited_requests(connection, request_ids)
            requests = find_audited_requests(connection, ids=request_ids, limit=len(request_ids))
            findings_by_id = {request.id: audit_request(request) for request in requests}
            rows = [_build_repair_row(request, findings_by_id[request.id]) for request in requests]
            repair_requests(connection, [row for row in rows if len(row) > 1])
        return [finding for findings in findings_by_id.values() for finding in findings]

    def _count(self, subject: Subject, number: int) -> None:
        self.counts[subject] += number
        summary = ", ".join(f"{count:,} {name}s" for name, count in self.counts.items())
        self._report_progress(f"{summary} checked")


def _retry_on_conflict(repair: Callable[[], T]) -> T:
    """Run a repair, again after each conflict with a concurrent transaction; the last conflict is raised."""
    for _ in range(_MAX_CONFLICTS):
        with suppress(StoreConflict):
            return repair()
    return repair()


def _build_repair_row(request: AuditedRequest, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the id of a request and its columns to repair."""
    row: dict[str, Any] = {"id": request.id}
    for finding in findings:
        if not finding.mendable:
            continue
        match finding.kind:
            case FindingKind.KNOWN_ACCEPTED:
                row |= {"status": RequestStatus.ACCEPTED, "detail": "accepted, as its jobs prove"}
            case FindingKind.ATTEMPTS:
                row |= {"attempts": request.attempt_rows}
            case FindingKind.NO_JOB:
                row |= {"reference_conflict": True}
            case FindingKind.LEASE if request.lease_too_long:
                row |= {"lease_ends": True}
            case FindingKind.LEASE:
                detail = "its attempt is not stored; the provider may have acted on it"
                row |= {"status": RequestStatus.UNKNOWN, "detail": detail, "attempts": request.newest_attempt}
    return row


def _build_lost_callback_finding(callback: StoredCallback, proven: str | None) -> Finding:
    stored = f"{callback.verdict}, no event refers to it"
    return Finding(
        FindingKind.LOST_CALLBACK, Subject.CALLBACK, callback.id, callback.provider, stored, proven, proven is not None
    )
