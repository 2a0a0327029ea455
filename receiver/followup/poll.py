"""Polling providers about open jobs: one by one, or many in one exchange where the provider supports batches.

A provider's description composes the request and parses the response; here jobs are put into batches, and a poll's
events and the jobs' next polls are derived.
"""

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
    """Jobs of one provider that are polled in one exchange."""

    provider: str
    jobs: Sequence[SilentJob]


@dataclass(frozen=True, slots=True)
class PollOutcome:
    """The outcome of a poll: its events, and when each job is polled next."""

    next_polls: Sequence[NextPoll]
    events: Sequence[JobEvent] = ()


def build_poll_loop(database: Database, channels: Channels, clock: Clock) -> FollowUpLoop[PollBatch, PollOutcome]:
    """Return the loop that polls all providers that can be polled."""
    batch_sizes = {name: channel.provider.poll_batch_size for name, channel in channels.items()}
    task = FollowUpTask(
        "poll",
        _can_poll,
        find_due_polls,
        partial(_claim_batches, batch_sizes),
        _compose_poll,
        interpret_poll,
        _postpone_poll,
        _record_polls,
    )
    return FollowUpLoop(task, database, channels, clock)


def _can_poll(provider: Provider) -> bool:
    return provider.can_poll


def _claim_batches(
    batch_sizes: Mapping[str, int], connection: Connection, capacities: Sequence[ProviderCapacity], lease: float
) -> Sequence[PollBatch]:
    """Lease due jobs for `lease` seconds and group them into exchanges.

    A job with a status URL of its own is polled alone, the others of a provider are polled together.
    """
    single_polls: list[PollBatch] = []
    jobs_by_provider: dict[str, list[SilentJob]] = {}
    for job in claim_polls(connection, capacities, batch_sizes, lease):
        if job.location or batch_sizes[job.provider] == 1:
            single_polls.append(PollBatch(job.provider, [job]))
        else:
            jobs_by_provider.setdefault(job.provider, []).append(job)
    batch_polls = (
        poll for name, jobs in jobs_by_provider.items() for poll in _split_jobs(name, jobs, batch_sizes[name])
    )
    return [*single_polls, *batch_polls]


def _split_jobs(provider: str, jobs: Sequence[SilentJob], batch_size: int) -> Iterator[PollBatch]:
    for start in range(0, len(jobs), batch_size):
        yield PollBatch(provider, jobs[start : start + batch_size])


def _compose_poll(provider: Provider, poll: PollBatch) -> OutgoingRequest:
    first_job = poll.jobs[0]
    if first_job.location or provider.poll_batch_size == 1:
        return provider.compose_poll(first_job.reference, first_job.location)
    return provider.compose_batch([job.reference for job in poll.jobs])


def interpret_poll(
    provider: Provider, poll: PollBatch, outcome: Response | NoResponse, now: datetime, jitter: float
) -> PollOutcome:
    """Interpret the outcome of a poll; pure.

    A job without a final status `give_up_after` seconds after its acceptance is not polled again and becomes
    unresolved.

    Args:
        provider: the provider that was polled.
        poll: the jobs that were polled.
        outcome: the provider's response, or its absence.
        now: the time of the outcome (UTC).
        jitter: evenly distributed from 0 to 1; spreads the next polls.
    """
    response = outcome if isinstance(outcome, Response) else None
    references = [job.reference for job in poll.jobs]
    reports = provider.interpret_batch(references, response) if response else {}
    other_reports = provider.interpret_other_jobs(references, response) if response else ()
    retry_after = parse_retry_after(response.headers.get("retry-after"), now) if response else None
    events = [
        provider.build_event(report, EventSource.POLL, _derive_origin(report), now)
        for report in (*reports.values(), *other_reports)
    ]
    next_polls: list[NextPoll] = []
    for job in poll.jobs:
        give_up_at = job.accepted_at + timedelta(seconds=provider.poll_policy.give_up_after)
        is_done = _is_final(reports.get(job.reference))
        if not is_done and now >= give_up_at:
            is_done = True
            events.append(_build_give_up_event(provider.poll_policy, job, give_up_at))
        interval = compute_poll_interval(
            provider.poll_policy.first_after, provider.poll_policy.max_interval, job.polls, jitter
        )
        # One last poll takes place when the job is to be given up, whatever the interval or `Retry-After`.
        next_in = min(max(interval, retry_after or 0.0), (give_up_at - now).total_seconds())
        next_polls.append(NextPoll(job.id, None if is_done else next_in))
    return PollOutcome(next_polls, events)


def _postpone_poll(poll: PollBatch) -> PollOutcome:
    return PollOutcome([NextPoll(job.id, RETRY_UNSENT_AFTER_S) for job in poll.jobs])


def _is_final(report: StatusReport | None) -> bool:
    return bool(report and report.status and report.status.is_final)


def _build_give_up_event(poll_policy: PollPolicy, job: SilentJob, give_up_at: datetime) -> JobEvent:
    detail = f"gave up polling after {poll_policy.give_up_after:g} s"
    return build_unresolved_event(job.id, job.provider, job.reference, give_up_at, detail)


def _derive_origin(report: StatusReport) -> UUID:
    """Derive an id from the content of a report, so that a provider that repeats a status causes only one event."""
    return derive_id(repr((report.provider_status, report.code, report.detail, report.occurred_at)).encode())


def _record_polls(connection: Connection, batch: Sequence[PollOutcome]) -> None:
    events = [event for outcome in batch for event in outcome.events]
    next_polls = [next_poll for outcome in batch for next_poll in outcome.next_polls]
    # Locks all of the jobs in one order before their events are stored: two workers may report on the same jobs.
    schedule_polls(connection, next_polls, {event.job_id for event in events})
    reconcile(connection, events)
