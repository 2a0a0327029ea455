"""Consistency checks for stored jobs and requests: the rules of `receiver audit`.

A job's state is the fold of its events, so that its events prove every column. A request's state is proven only in
part: by its attempts, and by the events that name it. What nothing proves is reported and not repaired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from receiver.domain.generations import derive_generation_job_id
from receiver.domain.jobs import (
    EventSource,
    JobEvent,
    JobState,
    JobStatus,
    Precedence,
    compute_precedence,
    derive_id,
    derive_job_id,
    fold_events,
)
from receiver.domain.sending import REFERENCE_CONFLICT_DETAIL, RequestStatus


class FindingKind(StrEnum):
    """The kind of an inconsistency, named after the column or rule."""

    STATUS = "status"
    PRECEDENCE = "precedence"
    DISPUTED = "disputed"
    DECIDED = "decided"
    ACCEPTED_AT = "accepted_at"
    FINISHED_AT = "finished_at"
    REQUEST = "request"
    IDENTITY = "identity"
    GENERATION = "generation"
    SUPERSEDED_AT = "superseded_at"
    NO_EVENT = "no_event"
    EVENT_PRECEDENCE = "event_precedence"
    POLLED = "polled"
    KNOWN_ACCEPTED = "known_accepted"
    NO_JOB = "no_job"
    ATTEMPTS = "attempts"
    LEASE = "lease"
    LOST_CALLBACK = "lost_callback"
    COUNT = "count"


class Subject(StrEnum):
    """The kind of object that a finding is about."""

    JOB = "job"
    REQUEST = "request"
    CALLBACK = "callback"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Finding:
    """An inconsistency in the store.

    `stored` and `proven` are texts for people. `mendable`: the proven value may replace the stored value; otherwise
    nothing proves the right value, or it cannot be changed.
    """

    kind: FindingKind
    subject: Subject
    id: UUID
    provider: str
    stored: str
    proven: str | None
    mendable: bool
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class AuditedJob:
    """A job with all columns that its events determine; times are UTC.

    `generation` is that of its reference, opened at `opened_at`; None for the first one. `next_opened_at` is when the
    next generation was opened, if there is one, and `superseded_at` is what the job itself has of that.
    """

    id: UUID
    provider: str
    reference: str
    request_id: UUID | None
    status: JobStatus
    precedence: Precedence
    disputed: bool
    decided_at: datetime
    decided_position: int
    decided_by: UUID
    accepted_at: datetime
    finished_at: datetime | None
    poll_at: datetime | None
    superseded_at: datetime | None = None
    generation: int = 1
    opened_at: datetime | None = None
    next_opened_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WrongCount:
    """A stored count of rows that is not the number of rows; None instead of numbers that are all 0.

    `kind` is the table, and `status` the status or verdict of the counted rows.
    """

    kind: str
    provider: str
    status: str
    stored: Mapping[str, int] | None
    counted: Mapping[str, int] | None


class ProvenJob(NamedTuple):
    """What a job's events and the generations of its reference prove.

    `request_id` is the stored one if the events allow it. The job's reference names another job since `superseded_at`.
    """

    state: JobState
    request_id: UUID | None
    superseded_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditedRequest:
    """A request with the facts that its checks need; times are UTC.

    `attempt_rows` counts the stored attempts, and `newest_attempt` is the highest of their numbers; `started_at` and
    `response_status` are those of the newest attempt. `lease_too_long`: the lease is longer than any lease that the
    worker takes. `jobs` is 0 only if the request has no job; `named_by_response`: a response named one of its jobs.
    `accepted_at` is the receive time of the last event that names the request and shows that the provider accepted it.
    `retried_at` is when an operator last retried the request; `resolved`: an operator resolved it.
    `reference_conflict`: it is flagged, because its provider gave it the reference of a job of another request.
    """

    id: UUID
    provider: str
    status: RequestStatus
    detail: str | None
    attempts: int
    attempt_rows: int
    newest_attempt: int
    started_at: datetime | None
    response_status: int | None
    lease_expired: bool
    lease_too_long: bool
    jobs: int
    named_by_response: bool
    accepted_at: datetime | None
    retried_at: datetime | None
    resolved: bool
    reference_conflict: bool


def audit_job(job: AuditedJob, events: Sequence[JobEvent]) -> list[Finding]:
    """Return the findings for a job and its events."""
    findings = [*_check_identity(job), *_check_poll(job), *_check_generation(job, events)]
    if not events:
        return [*findings, _build_job_finding(job, FindingKind.NO_EVENT, job.status, None)]
    findings += [finding for event in events for finding in audit_event(event)]
    proven = prove_job(job, events)
    if proven is None:
        return findings
    state = proven.state
    for kind, stored_value, proven_value in (
        (FindingKind.STATUS, job.status, state.status),
        (FindingKind.PRECEDENCE, job.precedence, state.precedence),
        (FindingKind.DISPUTED, job.disputed, state.disputed),
        (FindingKind.DECIDED, _format_decision(job), _format_decision(state)),
        (FindingKind.ACCEPTED_AT, job.accepted_at, state.accepted_at),
        (FindingKind.FINISHED_AT, job.finished_at, state.finished_at),
        (FindingKind.SUPERSEDED_AT, job.superseded_at, proven.superseded_at),
    ):
        if stored_value != proven_value:
            findings.append(_build_job_finding(job, kind, stored_value, _format(proven_value), mendable=True))
    return [*findings, *_check_request(job, events, proven.request_id)]


def audit_event(event: JobEvent) -> list[Finding]:
    """Return the finding for an event by itself: its precedence follows from its status and source."""
    if _has_valid_precedence(event):
        return []
    stored = f"{event.source} {event.status or 'without a status'} has precedence {_format(event.precedence)}"
    precedences = _list_valid_precedences(event)
    proven = f"precedence {' or '.join(map(_format, precedences))}"
    return [
        Finding(
            FindingKind.EVENT_PRECEDENCE,
            Subject.JOB,
            event.job_id,
            event.provider,
            stored,
            proven,
            mendable=len(precedences) == 1,
        )
    ]


def prove_job(job: AuditedJob, events: Sequence[JobEvent]) -> ProvenJob | None:
    """Return what a job's events prove; None without events, or if an event's precedence cannot be derived."""
    repaired = [repair_event(event) for event in events]
    usable = [event for event in repaired if event is not None]
    if not usable or len(usable) < len(repaired):
        return None
    named = sorted((event.received_at, event.key, event.request_id) for event in events if event.request_id)
    owners = [request_id for _, _, request_id in named]
    # The request whose response was committed first keeps the job, whatever the receive times: any named one is valid.
    is_valid = job.request_id in owners or not owners
    request_id = job.request_id if is_valid else owners[0]
    return ProvenJob(fold_events(usable)[job.id], request_id, job.next_opened_at)


def repair_event(event: JobEvent) -> JobEvent | None:
    """Return an event with the precedence of its status and source; None if more than one precedence is valid."""
    if _has_valid_precedence(event):
        return event
    precedences = _list_valid_precedences(event)
    return replace(event, precedence=precedences[0]) if len(precedences) == 1 else None


def audit_request(request: AuditedRequest) -> list[Finding]:
    """Return the findings for a request."""
    findings = _check_attempts(request)
    if request.lease_too_long:
        findings.append(
            _build_request_finding(request, FindingKind.LEASE, "leased for more than a day", "over now", mendable=True)
        )
    if _is_proven_accepted(request):
        findings.append(
            _build_request_finding(
                request, FindingKind.KNOWN_ACCEPTED, request.status, RequestStatus.ACCEPTED, mendable=True
            )
        )
    if request.status is RequestStatus.ACCEPTED and not (
        request.jobs or request.resolved or request.reference_conflict
    ):
        # An earlier release only added the conflict to the request's detail.
        conflict = "has a reference conflict" if REFERENCE_CONFLICT_DETAIL in (request.detail or "") else None
        findings.append(
            _build_request_finding(request, FindingKind.NO_JOB, request.status, conflict, mendable=conflict is not None)
        )
    return findings


def _is_proven_accepted(request: AuditedRequest) -> bool:
    """Return whether a request is `unknown` or queued again although the provider provably accepted it.

    Events from before an operator's retry or before the newest attempt prove nothing: the request was sent again in
    spite of them. Nor do events prove anything if the response to the newest attempt named jobs: that response was
    interpreted as a whole, and what it left open is open.
    """
    if request.accepted_at is None or (request.retried_at and request.accepted_at <= request.retried_at):
        return False
    if request.started_at and request.accepted_at < request.started_at:
        return False
    if request.named_by_response and request.response_status is not None and _may_name_jobs(request.response_status):
        return False
    if request.status is RequestStatus.QUEUED:
        return request.started_at is not None and not (request.retried_at and request.started_at <= request.retried_at)
    return request.status is RequestStatus.UNKNOWN


def _may_name_jobs(response_status: int) -> bool:
    """Return whether a response with this status is parsed for jobs."""
    return response_status < 300 or response_status == 409


def _check_attempts(request: AuditedRequest) -> list[Finding]:
    """Return the finding for a number of attempts that is not that of the rows, or for a missing attempt."""
    if request.status is RequestStatus.SENDING and not (
        request.attempt_rows and request.newest_attempt == request.attempts
    ):
        # The statement that claims a request inserts its attempt. Without that row no sweep ever finds the request.
        proven = "unknown: its attempt is missing"
        return [
            _build_request_finding(request, FindingKind.LEASE, request.status, proven, mendable=request.lease_expired)
        ]
    if request.attempts == request.attempt_rows == request.newest_attempt:
        return []
    is_complete = request.attempt_rows == request.newest_attempt
    count = str(request.attempt_rows) if is_complete else None
    return [_build_request_finding(request, FindingKind.ATTEMPTS, request.attempts, count, mendable=is_complete)]


def _check_identity(job: AuditedJob) -> list[Finding]:
    job_id = derive_generation_job_id(derive_job_id(job.provider, job.reference), job.generation)
    if job.id == job_id:
        return []
    return [_build_job_finding(job, FindingKind.IDENTITY, job.reference, f"the id of this reference is {job_id}")]


def _check_generation(job: AuditedJob, events: Sequence[JobEvent]) -> list[Finding]:
    """Return the finding for callbacks that were received while the job's reference named another job."""
    misplaced = [event for event in events if event.source is EventSource.CALLBACK and not _is_current(job, event)]
    if not misplaced:
        return []
    noun = "event of a callback" if len(misplaced) == 1 else "events of callbacks"
    stored = f"{len(misplaced)} {noun}, the first received at {_format(misplaced[0].received_at)}"
    proven = f"its reference named it from {_format(job.opened_at)} until {_format(job.next_opened_at)}"
    return [_build_job_finding(job, FindingKind.GENERATION, stored, proven)]


def _is_current(job: AuditedJob, event: JobEvent) -> bool:
    """Return whether the job's reference named the job when an event was received."""
    return (job.opened_at is None or job.opened_at <= event.received_at) and (
        job.next_opened_at is None or event.received_at < job.next_opened_at
    )


def _check_poll(job: AuditedJob) -> list[Finding]:
    if job.poll_at is None or not job.status.is_final:
        return []
    return [_build_job_finding(job, FindingKind.POLLED, job.poll_at, "never", mendable=True)]


def _check_request(job: AuditedJob, events: Sequence[JobEvent], proven: UUID | None) -> list[Finding]:
    if job.request_id != proven:
        return [_build_job_finding(job, FindingKind.REQUEST, job.request_id, _format(proven), mendable=True)]
    if proven is not None and not any(event.request_id for event in events):
        return [_build_job_finding(job, FindingKind.REQUEST, job.request_id, None)]
    return []


def _has_valid_precedence(event: JobEvent) -> bool:
    return event.precedence in _list_valid_precedences(event)


def _list_valid_precedences(event: JobEvent) -> list[Precedence]:
    """Return the precedences that an event may have: a provider's final status may be superseding or not."""
    plain = compute_precedence(event.status, event.source)
    superseding = compute_precedence(event.status, event.source, superseding=True)
    return list(dict.fromkeys([plain, superseding]))


def _format_decision(state: AuditedJob | JobState) -> str:
    return f"{_format(state.decided_at)} at position {state.decided_position} by {state.decided_by}"


def build_count_finding(count: WrongCount) -> Finding:
    """Return the finding for a count, whose id is derived from what it counts."""
    count_id = derive_id(count.kind.encode(), count.provider.encode(), count.status.encode())
    stored, counted = (
        f"{count.status} {count.kind}: {_format_numbers(numbers or {})}" for numbers in (count.stored, count.counted)
    )
    return Finding(FindingKind.COUNT, Subject.COUNT, count_id, count.provider, stored, counted, mendable=True)


def _format_numbers(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items() if number) or "none"


def _build_job_finding(
    job: AuditedJob, kind: FindingKind, stored: object, proven: str | None, *, mendable: bool = False
) -> Finding:
    return Finding(kind, Subject.JOB, job.id, job.provider, _format(stored), proven, mendable)


def _build_request_finding(
    request: AuditedRequest, kind: FindingKind, stored: object, proven: str | None, *, mendable: bool
) -> Finding:
    return Finding(kind, Subject.REQUEST, request.id, request.provider, _format(stored), proven, mendable)


def _format(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
