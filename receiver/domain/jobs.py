"""Jobs and the events that speak of them.

A job's status is a *fold* over its events. Every event carries a precedence; the highest wins. On equal precedence the
event received first stands: by its receive time, then by its position within its callback or response, then by its key.
Operators are the exception: the latest operator's word stands, so that a person can correct a mistake. All of these are
properties of the events themselves, so any order of arrival, any duplication and any split into batches ends in the
same state.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from hashlib import sha256
from uuid import UUID, uuid5

JOB_NAMESPACE = UUID("6f1f6f5e-3c0c-5b52-9d0c-2f1e7a0c9b11")


class JobStatus(StrEnum):
    """What is known of a job. `UNRESOLVED` says that its deadline passed without a final word."""

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
    """Who made a statement about a job."""

    RESPONSE = "response"
    CALLBACK = "callback"
    POLL = "poll"
    OPERATOR = "operator"
    DEADLINE = "deadline"


class Effect(StrEnum):
    """What an event changed when it is read in the order of receipt."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    DISPUTED = "disputed"


class Precedence(IntEnum):
    """How much an event's word weighs against another's."""

    NOTHING = 0
    ACCEPTED = 10
    IN_PROGRESS = 20
    UNRESOLVED = 30
    FINAL = 40
    SUPERSEDING = 50
    OPERATOR = 60


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BY_STATUS = {
    JobStatus.ACCEPTED: Precedence.ACCEPTED,
    JobStatus.IN_PROGRESS: Precedence.IN_PROGRESS,
    JobStatus.UNRESOLVED: Precedence.UNRESOLVED,
    JobStatus.SUCCEEDED: Precedence.FINAL,
    JobStatus.FAILED: Precedence.FINAL,
}


def derive_job_id(provider: str, reference: str) -> UUID:
    """Derive a job's identity, so that whoever speaks first about a reference creates the same row."""
    return uuid5(JOB_NAMESPACE, f"{provider}\0{reference}")


def derive_id(*parts: bytes) -> UUID:
    """Derive a 128-bit identity from `parts`; each part's length is part of it."""
    digest = sha256()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return UUID(bytes=digest.digest()[:16])


@dataclass(frozen=True, slots=True)
class RequestHint:
    """An id of ours that came with a statement and says which request its job is of.

    `attempt` is that of an attempt, which only its provider was told, `request` that of a request; the former counts
    where both are given.
    """

    request_id: UUID | None = None
    attempt_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What a provider says of one job in an answer, a callback or a poll, in our words.

    `status` is None when the provider's word is not in its map: such a report is kept and changes nothing.
    `superseding` marks a final word that may overrule an earlier one, such as a reversal. `needs_poll`
    says that the provider is to be asked about the job at once, `location` at which URL, if it has one of its own.
    `request_id` is our own id of the request, where the provider gives it back.
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


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One statement about one job; append-only. `key` identifies it within its job, all times are UTC.

    `deadline_at` and `poll_at` are when the job is to be given up and first asked about, should this event be the one
    that creates it; `location` is the path of its status at the provider. `callback_id` and `request_id` say by which
    callback, or in answer to which request, the statement came, `actor` which operator made it; `notify` says that the
    client of this request wants to be told of its end. `claim` names the request by what came with the statement, until
    the store has found it.
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
    request_hint: RequestHint | None = None


def compute_precedence(status: JobStatus | None, source: EventSource, *, superseding: bool = False) -> Precedence:
    """Weigh a statement: the operator above everything, a superseding final word above a final one."""
    if status is None:
        return Precedence.NOTHING
    if source is EventSource.OPERATOR:
        return Precedence.OPERATOR
    if superseding and status.is_final:
        return Precedence.SUPERSEDING
    return _BY_STATUS[status]


def derive_event_key(
    source: EventSource, origin: UUID, index: int, status: JobStatus | None, *, superseding: bool = False
) -> UUID:
    """Identify the `index`-th statement of `origin`.

    A replay that reads another status makes another statement, and so does one that reads a final word as superseding:
    a statement's weight never changes.
    """
    weight = "+" if superseding and status is not None and status.is_final else ""
    return derive_id(origin.bytes, f"{source}:{index}:{status or ''}{weight}".encode())


def build_unresolved_event(job_id: UUID, provider: str, reference: str, at: datetime, why: str) -> JobEvent:
    """Give the clock's word that a job got none until `at`: no guess, and any later final word still decides.

    It depends on nothing but the job, so that the clocks of many workers say it once.
    """
    return JobEvent(
        job_id=job_id,
        key=derive_id(job_id.bytes, why.encode()),
        provider=provider,
        reference=reference,
        source=EventSource.DEADLINE,
        status=JobStatus.UNRESOLVED,
        precedence=Precedence.UNRESOLVED,
        received_at=at,
        deadline_at=at,
        detail=why,
    )


@dataclass(frozen=True, slots=True)
class JobState:
    """What a set of events about one job amounts to.

    `decided_at`, `decided_position` and `decided_by` are the receive time (UTC), position and key of the event that
    decides the status. A job whose events all lack a known status is `accepted`, the lowest status.
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
        """When the final word was received, or None while there is none."""
        return self.decided_at if self.status.is_final else None

    @classmethod
    def of(cls, event: JobEvent) -> "JobState":
        """Give the state of a job of which only `event` is known."""
        return cls(
            status=event.status or JobStatus.ACCEPTED,
            precedence=event.precedence,
            decided_at=event.received_at,
            decided_position=event.position,
            decided_by=event.key,
            accepted_at=event.received_at,
        )

    def join(self, other: "JobState") -> "JobState":
        """Combine two states of one job; associative, commutative and idempotent (`reconcile.sql` does the same).

        Contradicting statuses of one precedence make the job disputed, except those of operators: the later corrects
        the earlier.
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
    """Keep of each statement the copy received first, sorted by job and key: the order in which rows are locked.

    It names the request that another copy names, if it names none itself: a provider may send the same callback to the
    URL of an attempt and to one that is not.
    """
    kept: dict[tuple[UUID, UUID], JobEvent] = {}
    for event in events:
        identity = (event.job_id, event.key)
        known = kept.get(identity)
        kept[identity] = event if known is None else _first_of(known, event)
    return [kept[identity] for identity in sorted(kept)]


def _first_of(known: JobEvent, event: JobEvent) -> JobEvent:
    first, second = (event, known) if event.received_at < known.received_at else (known, event)
    if first.request_id is not None or second.request_id is None:
        return first
    return replace(first, request_id=second.request_id, notify=second.notify)


def fold_events(events: Iterable[JobEvent]) -> dict[UUID, JobState]:
    """Give the state of every job that `events` speak of, whatever their order and however often they are repeated."""
    states: dict[UUID, JobState] = {}
    for event in events:
        state = JobState.of(event)
        known = states.get(event.job_id)
        states[event.job_id] = state if known is None else known.join(state)
    return states


def compute_effects(events: Iterable[JobEvent]) -> list[tuple[JobEvent, Effect | None]]:
    """Tell what each event of one job changed, read in the order of receipt; None for one we could not interpret."""
    told: list[tuple[JobEvent, Effect | None]] = []
    state: JobState | None = None
    for event in sorted(events, key=lambda event: (event.received_at, event.position, event.key)):
        told.append((event, _effect(state, event)))
        said = JobState.of(event)
        state = said if state is None else state.join(said)
    return told


def _effect(state: JobState | None, event: JobEvent) -> Effect | None:
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
