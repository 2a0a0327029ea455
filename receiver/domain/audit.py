"""What is wrong with what is stored, and what proves it: the judgement of `receiver audit`, pure.

A job's state is the fold of its events, so its events prove every column of it. A request's state is proven only in
part: by its attempts, and by the events that name it. What nothing proves is told and left alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from receiver.domain.jobs import (
    EventSource,
    JobEvent,
    JobState,
    JobStatus,
    Precedence,
    compute_precedence,
    derive_job_id,
    fold_events,
)
from receiver.domain.sending import REFERENCE_CONFLICT_DETAIL, RequestStatus


class FindingKind(StrEnum):
    """What can be wrong; each name is that of the column or the rule that does not hold."""

    STATUS = "status"
    PRECEDENCE = "precedence"
    DISPUTED = "disputed"
    DECIDED = "decided"
    ACCEPTED_AT = "accepted_at"
    FINISHED_AT = "finished_at"
    REQUEST = "request"
    IDENTITY = "identity"
    NO_EVENT = "no_event"
    EVENT_PRECEDENCE = "event_precedence"
    POLLED = "polled"
    TAKEN = "taken"
    NO_JOB = "no_job"
    ATTEMPTS = "attempts"
    LEASE = "lease"
    LOST_CALLBACK = "lost_callback"


class Subject(StrEnum):
    """What a finding is about."""

    JOB = "job"
    REQUEST = "request"
    CALLBACK = "callback"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something stored that does not hold.

    `stored` and `proven` are for people. `mendable` says that `proven` may be stored in place of `stored`; where it is
    False nothing proves what is right, or it cannot be changed.
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
    """A job with every column that its events determine; times are UTC."""

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


class ProvenJob(NamedTuple):
    """What a job's events prove of it. `request_id` is the stored one where that may stand."""

    state: JobState
    request_id: UUID | None


@dataclass(frozen=True, slots=True)
class AuditedRequest:
    """A request with what there is to judge it by.

    `rows` counts its attempts and `newest` is the highest of their numbers. `begun_at`, `response_status` and
    `lease_over` are those of the newest attempt and its lease; `lease_absurd` that the lease is longer than any that
    is given. `jobs` is 0 only if no job is tied to it, `answered` whether an answer named one of them, `taken_at` when
    the last word came that names the request and says that the provider took it. `retried_at` is when an operator last
    had it sent again, `settled` whether one said otherwise how it stands.
    """

    id: UUID
    provider: str
    status: RequestStatus
    detail: str | None
    attempts: int
    rows: int
    newest: int
    begun_at: datetime | None
    response_status: int | None
    lease_over: bool
    lease_absurd: bool
    jobs: int
    answered: bool
    taken_at: datetime | None
    retried_at: datetime | None
    settled: bool


def audit_job(job: AuditedJob, events: Sequence[JobEvent]) -> list[Finding]:
    """Give what does not hold of a job and its events."""
    findings = [*_identity(job), *_polled(job)]
    if not events:
        return [*findings, _of(job, FindingKind.NO_EVENT, job.status, None)]
    findings += [finding for event in events for finding in audit_event(event)]
    proven = prove_job(job, events)
    if proven is None:
        return findings
    state = proven.state
    stored_decision, proven_decision = _decision(job), _decision(state)
    for kind, is_stored, ought in (
        (FindingKind.STATUS, job.status, state.status),
        (FindingKind.PRECEDENCE, job.precedence, state.precedence),
        (FindingKind.DISPUTED, job.disputed, state.disputed),
        (FindingKind.DECIDED, stored_decision, proven_decision),
        (FindingKind.ACCEPTED_AT, job.accepted_at, state.accepted_at),
        (FindingKind.FINISHED_AT, job.finished_at, state.finished_at),
    ):
        if is_stored != ought:
            findings.append(_of(job, kind, is_stored, _text(ought), mendable=True))
    return [*findings, *_tie(job, events, proven.request_id)]


def audit_event(event: JobEvent) -> list[Finding]:
    """Give what does not hold of an event by itself: its weight follows from its status and its source."""
    if _weighs_right(event):
        return []
    said = f"{event.source} {event.status or 'not understood'} weighs {_text(event.precedence)}"
    weights = _weights(event)
    ought = f"weighs {' or '.join(map(_text, weights))}"
    return [
        Finding(FindingKind.EVENT_PRECEDENCE, Subject.JOB, event.job_id, event.provider, said, ought, len(weights) == 1)
    ]


def prove_job(job: AuditedJob, events: Sequence[JobEvent]) -> ProvenJob | None:
    """Give what a job's events prove; None where there is none, or the weight of one cannot be told."""
    mended = [repair_event(event) for event in events]
    known = [event for event in mended if event is not None]
    if not known or len(known) < len(mended):
        return None
    named = sorted((event.received_at, event.key, event.request_id) for event in events if event.request_id)
    owners = [owner for _, _, owner in named]
    # Whose answer was committed first keeps the job, so that any request that is named may own it.
    stands = job.request_id in owners or not owners
    return ProvenJob(fold_events(known)[job.id], job.request_id if stands else owners[0])


def repair_event(event: JobEvent) -> JobEvent | None:
    """Give an event with the weight that follows from its status and source; None where that is not one alone."""
    if _weighs_right(event):
        return event
    weights = _weights(event)
    return replace(event, precedence=weights[0]) if len(weights) == 1 else None


def audit_request(request: AuditedRequest) -> list[Finding]:
    """Give what does not hold of a request."""
    findings = []
    if request.status is RequestStatus.SENDING and not (request.rows and request.newest == request.attempts):
        # Claimed by the statement that begins the attempt: without it no sweep will ever find the request.
        lost = "unknown: no attempt is kept"
        findings.append(_about(request, FindingKind.LEASE, request.status, lost, mendable=request.lease_over))
    else:
        findings += _attempts(request)
    if request.lease_absurd:
        findings.append(_about(request, FindingKind.LEASE, "leased for more than a day", "over now", mendable=True))
    if was_taken(request):
        findings.append(_about(request, FindingKind.TAKEN, request.status, RequestStatus.ACCEPTED, mendable=True))
    if request.status is RequestStatus.ACCEPTED and not request.jobs and not _explained(request):
        findings.append(_about(request, FindingKind.NO_JOB, request.status, None, mendable=False))
    return findings


def was_taken(request: AuditedRequest) -> bool:
    """Whether a request stands as `unknown` or waits to be sent again although it is proven that it was taken.

    Nothing is proven by words from before an operator had it sent again or the newest attempt began: the request was
    sent in spite of them. Nor is it where the newest attempt's answer named jobs: that answer was weighed whole, and
    what it left in doubt is in doubt.
    """
    if request.taken_at is None or (request.retried_at and request.taken_at <= request.retried_at):
        return False
    if request.begun_at and request.taken_at < request.begun_at:
        return False
    if request.answered and request.response_status is not None and _names_jobs(request.response_status):
        return False
    if request.status is RequestStatus.QUEUED:
        return request.begun_at is not None and not (request.retried_at and request.begun_at <= request.retried_at)
    return request.status is RequestStatus.UNKNOWN


def _names_jobs(response_status: int) -> bool:
    """Whether an answer of this status is read for the jobs in it."""
    return response_status < 300 or response_status == 409


def _explained(request: AuditedRequest) -> bool:
    return request.settled or REFERENCE_CONFLICT_DETAIL in (request.detail or "")


def _attempts(request: AuditedRequest) -> list[Finding]:
    if request.attempts == request.rows == request.newest:
        return []
    proven = str(request.rows) if request.rows == request.newest else None
    return [_about(request, FindingKind.ATTEMPTS, request.attempts, proven, mendable=proven is not None)]


def _identity(job: AuditedJob) -> list[Finding]:
    ought = derive_job_id(job.provider, job.reference)
    return (
        [] if job.id == ought else [_of(job, FindingKind.IDENTITY, job.reference, f"its reference has the id {ought}")]
    )


def _polled(job: AuditedJob) -> list[Finding]:
    if job.poll_at is None or not job.status.is_final:
        return []
    return [_of(job, FindingKind.POLLED, job.poll_at, "never", mendable=True)]


def _tie(job: AuditedJob, events: Sequence[JobEvent], proven: UUID | None) -> list[Finding]:
    if job.request_id != proven:
        return [_of(job, FindingKind.REQUEST, job.request_id, _text(proven), mendable=True)]
    if proven is not None and not any(event.request_id for event in events):
        return [_of(job, FindingKind.REQUEST, job.request_id, None)]
    return []


def _weighs_right(event: JobEvent) -> bool:
    return event.precedence in _weights(event)


def _weights(event: JobEvent) -> list[Precedence]:
    """Give what an event may weigh: a final word of the provider's may be a superseding one or not."""
    plain = compute_precedence(event.status, event.source)
    superseding = compute_precedence(event.status, EventSource(event.source), superseding=True)
    return list(dict.fromkeys([plain, superseding]))


def _decision(decided: AuditedJob | JobState) -> str:
    return f"{_text(decided.decided_at)} by {decided.decided_by}"


def _of(job: AuditedJob, kind: FindingKind, stored: object, proven: str | None, *, mendable: bool = False) -> Finding:
    return Finding(kind, Subject.JOB, job.id, job.provider, _text(stored), proven, mendable)


def _about(
    request: AuditedRequest, kind: FindingKind, stored: object, proven: str | None, *, mendable: bool
) -> Finding:
    return Finding(kind, Subject.REQUEST, request.id, request.provider, _text(stored), proven, mendable)


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value.value if isinstance(value, Precedence) else value)
