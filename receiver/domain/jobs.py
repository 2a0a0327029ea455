"""Jobs and their events.

A job's status is a *fold* over its events. Every event has a precedence; the highest wins. On equal precedence the
event received first wins: by receive time, then by position within its callback or response, then by key. Operators
are the exception: the latest operator's event wins, so that a person can correct a mistake. All of these are properties
of the events themselves, so any order of arrival, any duplication and any split into batches leads to the same state.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from functools import reduce
from hashlib import sha256
from uuid import UUID

from uuid_utils.compat import uuid5

from receiver.domain.access import OperatorAction
from receiver.domain.records import record

JOB_NAMESPACE = UUID("6f1f6f5e-3c0c-5b52-9d0c-2f1e7a0c9b11")


class JobStatus(StrEnum):
    """The status of a job. `UNRESOLVED`: its deadline passed without a final status."""

    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"
    UNRESOLVED = "unresolved"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED})


class EventSource(StrEnum):
    """Where an event comes from."""

    RESPONSE = "response"
    CALLBACK = "callback"
    POLL = "poll"
    OPERATOR = "operator"
    DEADLINE = "deadline"


class Effect(StrEnum):
    """What an event changed, with events applied in the order of receipt."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    DISPUTED = "disputed"


class Precedence(IntEnum):
    """The rank of an event; the event with the highest precedence decides a job's status."""

    NONE = 0
    ACCEPTED = 10
    IN_PROGRESS = 20
    UNRESOLVED = 30
    FINAL = 40
    SUPERSEDING = 50
    OPERATOR = 60


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PRECEDENCE_BY_STATUS = {
    JobStatus.ACCEPTED: Precedence.ACCEPTED,
    JobStatus.IN_PROGRESS: Precedence.IN_PROGRESS,
    JobStatus.UNRESOLVED: Precedence.UNRESOLVED,
    JobStatus.SUCCEEDED: Precedence.FINAL,
    JobStatus.FAILED: Precedence.FINAL,
}


def derive_job_id(provider: str, reference: str) -> UUID:
    """Derive a job's id from its provider and reference.

    A response and a callback that overtook it therefore create the same row, whichever is committed first.
    """
    return uuid5(JOB_NAMESPACE, f"{provider}\0{reference}")


def derive_id(*parts: bytes) -> UUID:
    """Derive a 128-bit id from `parts`; each part is hashed with its length, so that boundaries matter."""
    content = b""
    for part in parts:
        content += b"%d:%b" % (len(part), part)
    return UUID(int=int.from_bytes(sha256(content).digest()[:16]))


@dataclass(frozen=True, slots=True)
class RequestHint:
    """An id of ours that the provider sent back, which identifies the request of a job.

    `attempt_id` was sent to the provider only, so that it takes precedence over `request_id` if both are present.
    """

    request_id: UUID | None = None
    attempt_id: UUID | None = None


@record(frozen=True, slots=True)
class StatusReport:
    """What a provider reports about one job in a response, a callback or a poll, in the receiver's terms.

    `status` is None if the provider's status is not mapped: such a report is stored and changes nothing. `superseding`
    marks a final status that may overrule an earlier one, such as a reversal. `needs_poll` requests an immediate poll
    of the job, at the URL `location` if the job has its own. `request_id` is our id of the request, if the provider
    sent it back. `occurred_at` is UTC. `errors` are those of values that the report goes without, field → messages.
    """

    reference: str
    status: JobStatus | None
    provider_status: str | None = None
    code: str | None = None
    detail: str | None = None
    occurred_at: datetime | None = None
    superseding: bool = False
    needs_poll: bool = False
    location: str | None = None
    request_id: UUID | None = None
    errors: Mapping[str, Sequence[str]] | None = None


@record(frozen=True, slots=True)
class JobEvent:
    """One event of one job; append-only. `key` identifies the event within its job, all times are UTC.

    `deadline_at` and `poll_at` are the deadline and the first poll of the job if this event creates it; `location` is
    the path of the job's status at the provider. `callback_id` and `request_id` name the callback that contained the
    event, or the request whose response did; `actor` names the operator. `notify`: the client of this request wants
    notifications, by default of its end, else of the `notify_events`. `request_hint` identifies the request by an id in
    the callback until the store has resolved it.

    `names_job`: the event is about this job, whichever job its reference names by now, see `domain.generations`.
    `reuse_after`: if the job had ended so many seconds before the event's request was sent, the provider has used the
    reference again; None if it never does.
    """

    job_id: UUID
    key: UUID
    provider: str
    reference: str
    source: EventSource
    status: JobStatus | None
    precedence: Precedence
    received_at: datetime
    deadline_at: datetime
    position: int = 0
    poll_at: datetime | None = None
    location: str | None = None
    provider_status: str | None = None
    code: str | None = None
    detail: str | None = None
    occurred_at: datetime | None = None
    callback_id: UUID | None = None
    request_id: UUID | None = None
    actor: str | None = None
    notify: bool = False
    notify_events: Sequence[str] | None = None
    request_hint: RequestHint | None = None
    names_job: bool = False
    reuse_after: float | None = None

    @property
    def superseding(self) -> bool:
        """Whether the event is a final status that may overrule another one."""
        return self.precedence == Precedence.SUPERSEDING


def compute_precedence(status: JobStatus | None, source: EventSource, *, superseding: bool = False) -> Precedence:
    """Return an event's precedence: operators above all, a superseding final status above a final one."""
    if status is None:
        return Precedence.NONE
    if source is EventSource.OPERATOR:
        return Precedence.OPERATOR
    if superseding and status.is_final:
        return Precedence.SUPERSEDING
    return _PRECEDENCE_BY_STATUS[status]


def derive_event_key(
    source: EventSource, origin: UUID, index: int, status: JobStatus | None, *, superseding: bool = False
) -> UUID:
    """Derive the key of the event at `index` of `origin`.

    A replay that parses another status creates another event, and so does a replay that parses a final status as
    superseding: an event's precedence never changes.
    """
    suffix = "+" if superseding and status is not None and status.is_final else ""
    return derive_id(origin.bytes, f"{source}:{index}:{status or ''}{suffix}".encode())


def build_operator_event(
    job_id: UUID,
    provider: str,
    reference: str,
    operator: OperatorAction,
    *,
    key: UUID,
    deadline_at: datetime,
    status: JobStatus | None = None,
    detail: str | None = None,
) -> JobEvent:
    """Build the event of what an operator does to a job, which need not set its status.

    The event stays with this job, also if the job's reference names another one by now.
    """
    return JobEvent(
        job_id=job_id,
        key=key,
        provider=provider,
        reference=reference,
        source=EventSource.OPERATOR,
        status=status,
        precedence=compute_precedence(status, EventSource.OPERATOR),
        received_at=operator.created_at,
        deadline_at=deadline_at,
        detail=detail,
        actor=operator.actor,
        names_job=True,
    )


def build_unresolved_event(job_id: UUID, provider: str, reference: str, received_at: datetime, detail: str) -> JobEvent:
    """Build the event of a job without a final status at its deadline; any later final status still wins.

    The key depends only on the job and the detail, so that many workers create the event once.
    """
    return JobEvent(
        job_id=job_id,
        key=derive_id(job_id.bytes, detail.encode()),
        provider=provider,
        reference=reference,
        source=EventSource.DEADLINE,
        status=JobStatus.UNRESOLVED,
        precedence=Precedence.UNRESOLVED,
        received_at=received_at,
        deadline_at=received_at,
        detail=detail,
        names_job=True,
    )


@record(frozen=True, slots=True)
class JobState:
    """The state of a job that a set of its events leads to.

    `decided_at`, `decided_position` and `decided_by` are the receive time (UTC), position and key of the event that
    decides the status. A job without any mapped status is `accepted`, the lowest status.
    """

    status: JobStatus
    precedence: Precedence
    decided_at: datetime
    decided_position: int
    decided_by: UUID
    accepted_at: datetime
    disputed: bool = False

    @property
    def finished_at(self) -> datetime | None:
        """When the deciding final status was received; None without a final status."""
        return self.decided_at if self.status.is_final else None

    def to_dict(self) -> dict[str, object]:
        """Return the state's fields and `finished_at` by name."""
        return {
            "status": self.status,
            "precedence": self.precedence,
            "disputed": self.disputed,
            "decided_at": self.decided_at,
            "decided_position": self.decided_position,
            "decided_by": self.decided_by,
            "accepted_at": self.accepted_at,
            "finished_at": self.finished_at,
        }

    @classmethod
    def from_event(cls, event: JobEvent) -> "JobState":
        """Return the state of a job with `event` as its only event."""
        return cls(
            status=event.status or JobStatus.ACCEPTED,
            precedence=event.precedence,
            decided_at=event.received_at,
            decided_position=event.position,
            decided_by=event.key,
            accepted_at=event.received_at,
        )

    def merge(self, other: "JobState") -> "JobState":
        """Merge two states of one job; associative, commutative and idempotent (`reconcile.sql` does the same).

        Different statuses of the same precedence make the job disputed, except between operators: the later event
        corrects the earlier one.
        """
        winner = min(self, other, key=JobState._rank)
        disputed = winner.disputed
        if self.precedence == other.precedence != Precedence.OPERATOR:
            disputed = self.disputed or other.disputed or self.status != other.status
        return replace(winner, accepted_at=min(self.accepted_at, other.accepted_at), disputed=disputed)

    def _rank(self) -> tuple[int, timedelta, int, UUID]:
        age = self.decided_at - _EPOCH
        latest_first = self.precedence == Precedence.OPERATOR
        return (-self.precedence, -age if latest_first else age, self.decided_position, self.decided_by)


def deduplicate_events(events: Iterable[JobEvent]) -> list[JobEvent]:
    """Return the first received copy of each event, sorted by job and key: the order in which rows are locked.

    If that copy has no request but another copy has one, it gets the request of the other copy: a provider may send the
    same callback once to the URL of an attempt and once to a URL without a token.
    """
    # By integers: hashing and comparing UUIDs takes several times as long, and a callback may have thousands of items.
    first_copies: dict[tuple[int, int], JobEvent] = {}
    for event in events:
        identity = (event.job_id.int, event.key.int)
        existing = first_copies.get(identity)
        first_copies[identity] = event if existing is None else _merge_copies(existing, event)
    return [first_copies[identity] for identity in sorted(first_copies)]


def _merge_copies(existing: JobEvent, event: JobEvent) -> JobEvent:
    first, second = (event, existing) if event.received_at < existing.received_at else (existing, event)
    if first.request_id is not None or second.request_id is None:
        return first
    return replace(first, request_id=second.request_id, notify=second.notify, notify_events=second.notify_events)


def fold_job(events: Iterable[JobEvent]) -> JobState:
    """Return the state that the events of one job lead to, independent of order and repetition; at least one event."""
    return reduce(JobState.merge, map(JobState.from_event, events))


def fold_events(events: Iterable[JobEvent]) -> dict[UUID, JobState]:
    """Return the state of every job in `events`, independent of order and repetition."""
    events_by_job: dict[UUID, list[JobEvent]] = {}
    for event in events:
        events_by_job.setdefault(event.job_id, []).append(event)
    return {job_id: fold_job(own_events) for job_id, own_events in events_by_job.items()}


def compute_effects(
    events: Iterable[JobEvent], preceding: JobEvent | None = None
) -> list[tuple[JobEvent, Effect | None]]:
    """Return the events of one job in the order of receipt, each with its effect; None for an unmapped status.

    Args:
        events: the events, or the newest of them.
        preceding: of the events received before these, the one that decides the status; None if these are all events.
    """
    effects: list[tuple[JobEvent, Effect | None]] = []
    state = None if preceding is None else JobState.from_event(preceding)
    for event in sorted(events, key=lambda event: (event.received_at, event.position, event.key)):
        effects.append((event, _compute_effect(state, event)))
        event_state = JobState.from_event(event)
        state = event_state if state is None else state.merge(event_state)
    return effects


def _compute_effect(state: JobState | None, event: JobEvent) -> Effect | None:
    if event.status is None:
        return None
    if state is None or event.precedence > state.precedence:
        return Effect.APPLIED
    if event.precedence == state.precedence == Precedence.OPERATOR and event.received_at > state.decided_at:
        return Effect.APPLIED
    if event.status == state.status:
        return Effect.DUPLICATE
    if event.precedence == state.precedence != Precedence.OPERATOR and event.status.is_final:
        return Effect.DISPUTED
    return Effect.STALE
