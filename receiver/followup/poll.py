"""Asks providers about silent jobs: one by one, or many in one exchange where the provider answers for many."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from receiver.domain.backoff import compute_poll_interval, parse_retry_after
from receiver.domain.jobs import EventSource, JobEvent, StatusReport, build_unresolved_event, derive_id
from receiver.domain.sending import RETRY_UNSENT_AFTER_S, NoResponse, Response
from receiver.exchange.channels import Channels
from receiver.followup.loop import FollowUpLoop, FollowUpTask
from receiver.providers.base import OutgoingRequest, PollPolicy, Provider
from receiver.reconcile import reconcile
from receiver.store.clock import Clock
from receiver.store.database import Connection, Database
from receiver.store.jobs import NextPoll, SilentJob, claim_polls, schedule_polls
from receiver.store.limits import ProviderCapacity, find_due_polls


@dataclass(frozen=True, slots=True)
class PollBatch:
    """Jobs of one provider that one exchange asks about."""

    provider: str
    jobs: Sequence[SilentJob]


@dataclass(frozen=True, slots=True)
class PollOutcome:
    """A poll that is over: what it says, and when to ask again about each job."""

    next_polls: Sequence[NextPoll]
    events: Sequence[JobEvent] = ()


def build_poll_loop(database: Database, channels: Channels, clock: Clock) -> FollowUpLoop[PollBatch, PollOutcome]:
    """Give the loop that polls all providers that can be polled."""
    batches = {name: channel.provider.poll_batch for name, channel in channels.items()}
    claim = partial(_claim, batches)
    inquiry = FollowUpTask("poll", _can_poll, find_due_polls, claim, _compose, interpret_poll, _postpone, _record)
    return FollowUpLoop(inquiry, database, channels, clock)


def _can_poll(provider: Provider) -> bool:
    return provider.can_poll


def _claim(
    batches: Mapping[str, int], connection: Connection, capacities: Sequence[ProviderCapacity], lease: float
) -> Sequence[PollBatch]:
    """Claim jobs and put them into exchanges: those with a URL of their own alone, the others together."""
    alone: list[PollBatch] = []
    together: dict[str, list[SilentJob]] = {}
    for job in claim_polls(connection, capacities, batches, lease):
        if job.location or batches[job.provider] == 1:
            alone.append(PollBatch(job.provider, [job]))
        else:
            together.setdefault(job.provider, []).append(job)
    return [*alone, *(poll for name, jobs in together.items() for poll in _split(name, jobs, batches[name]))]


def _split(provider: str, jobs: Sequence[SilentJob], most: int) -> Iterator[PollBatch]:
    for start in range(0, len(jobs), most):
        yield PollBatch(provider, jobs[start : start + most])


def _compose(provider: Provider, poll: PollBatch) -> OutgoingRequest:
    first = poll.jobs[0]
    if first.location or provider.poll_batch == 1:
        return provider.compose_poll(first.reference, first.location)
    return provider.compose_batch([job.reference for job in poll.jobs])


def interpret_poll(
    provider: Provider, poll: PollBatch, outcome: Response | NoResponse, now: datetime, jitter: float
) -> PollOutcome:
    """Tell what a poll says of its jobs and when to ask again; pure.

    Silence until `give_up_after` ends the asking and leaves a job unresolved.
    """
    response = outcome if isinstance(outcome, Response) else None
    references = [job.reference for job in poll.jobs]
    reports = provider.interpret_batch(references, response) if response else {}
    others = provider.others_in_poll(references, response) if response else ()
    asked = parse_retry_after(response.headers.get("retry-after"), now) if response else None
    events = [provider.event(one, EventSource.POLL, _origin(one), now) for one in (*reports.values(), *others)]
    next_polls: list[NextPoll] = []
    for job in poll.jobs:
        given_up_at = job.accepted_at + timedelta(seconds=provider.poll_policy.give_up_after)
        over = _is_final(reports.get(job.reference))
        if not over and now >= given_up_at:
            over = True
            events.append(_given_up(provider.poll_policy, job, given_up_at))
        interval = compute_poll_interval(
            provider.poll_policy.first_after, provider.poll_policy.max_interval, job.polls, jitter
        )
        next_in = min(max(interval, asked or 0.0), (given_up_at - now).total_seconds())
        next_polls.append(NextPoll(job.id, None if over else next_in))
    return PollOutcome(next_polls, events)


def _postpone(poll: PollBatch) -> PollOutcome:
    return PollOutcome([NextPoll(job.id, RETRY_UNSENT_AFTER_S) for job in poll.jobs])


def _is_final(report: StatusReport | None) -> bool:
    return bool(report and report.status and report.status.is_final)


def _given_up(poll_policy: PollPolicy, job: SilentJob, at: datetime) -> JobEvent:
    why = f"given up asking after {poll_policy.give_up_after:g} s"
    return build_unresolved_event(job.id, job.provider, job.reference, at, why)


def _origin(report: StatusReport) -> UUID:
    """Identify what was said, so that a provider that repeats itself is recorded once."""
    return derive_id(repr((report.provider_status, report.code, report.detail, report.occurred_at)).encode())


def _record(connection: Connection, batch: Sequence[PollOutcome]) -> None:
    events = [event for polled in batch for event in polled.events]
    next_polls = [next_poll for polled in batch for next_poll in polled.next_polls]
    schedule_polls(connection, next_polls, {event.job_id for event in events})
    reconcile(connection, events)
