"""Generations of a reference: the jobs that a provider names by one reference, one after another.

Some providers use a reference again, long after the job that it named has ended. The response to another request opens
a new generation then, with a job of its own. A callback belongs to the newest generation that was opened when the
callback was received, so that the order in which callbacks are stored does not matter. Whatever is known to be about
one job, such as a poll of it or an operator's action, belongs to that job.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from receiver.domain.jobs import EventSource, JobEvent, JobState, JobStatus


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation of a reference, but not the first one.

    `first_job_id` is the id of the job of the first generation, whose number is 1. What was received since `opened_at`
    (UTC) belongs to this generation or to a later one.
    """

    first_job_id: UUID
    number: int
    job_id: UUID
    opened_at: datetime


def derive_generation_job_id(first_job_id: UUID, number: int) -> UUID:
    """Derive the id of a generation's job from the id of the first generation's job."""
    return first_job_id if number == 1 else uuid5(first_job_id, str(number))


def assign_generations(events: Iterable[JobEvent], generations: Iterable[Generation]) -> list[JobEvent]:
    """Return the events with the ids of the jobs that their references name.

    Args:
        events: events with the id of the first generation's job, or of the job that they are known to be about.
        generations: all generations of these references.
    """
    by_reference: dict[UUID, list[Generation]] = {}
    for generation in sorted(generations, key=lambda generation: generation.number):
        by_reference.setdefault(generation.first_job_id, []).append(generation)
    return [_assign(event, by_reference) for event in events]


def belongs_to_newest(event: JobEvent) -> bool:
    """Return whether an event belongs to the newest generation, whenever it was received.

    The response to a request does: the provider has just used the reference.
    """
    return event.request_id is not None and event.source is not EventSource.CALLBACK


def is_reuse(state: JobState, opened_at: datetime, reuse_after: float) -> bool:
    """Return whether a job had ended more than `reuse_after` seconds before a request was first sent at `opened_at`.

    A job has ended with its final status, or as `unresolved` at its deadline.
    """
    has_ended = state.status.is_final or state.status is JobStatus.UNRESOLVED
    return has_ended and state.decided_at < opened_at - timedelta(seconds=reuse_after)


def split_events(events: Sequence[JobEvent], opened_at: datetime) -> tuple[list[JobEvent], list[JobEvent]]:
    """Split a job's events into those that stay, and those of the generation that is opened at `opened_at`."""
    staying: list[JobEvent] = []
    moved: list[JobEvent] = []
    for event in events:
        is_named = event.source in {EventSource.CALLBACK, EventSource.RESPONSE}
        (moved if is_named and event.received_at >= opened_at else staying).append(event)
    return staying, moved


def _assign(event: JobEvent, by_reference: Mapping[UUID, Sequence[Generation]]) -> JobEvent:
    generations = by_reference.get(event.job_id)
    if not generations or event.names_job:
        return event
    is_newest = belongs_to_newest(event)
    for generation in reversed(generations):
        if is_newest or generation.opened_at <= event.received_at:
            return replace(event, job_id=generation.job_id)
    return event
