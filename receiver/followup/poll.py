"""Asks providers about silent jobs: one by one, or many in one exchange where the provider answers for many."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from receiver.domain.backoff import poll_interval, retry_after
from receiver.domain.jobs import Event, Report, Source, digest_id, unresolved
from receiver.domain.sending import SOON, Answer, NoAnswer
from receiver.exchange.channels import Channels
from receiver.followup.asking import Asker, Inquiry
from receiver.providers.base import Following, Outgoing, Provider
from receiver.reconcile import reconcile
from receiver.store.clock import Clock
from receiver.store.database import Connection, Database
from receiver.store.jobs import NextPoll, SilentJob, claim_polls, schedule_polls
from receiver.store.limits import Lane, lanes_with_polls


@dataclass(frozen=True, slots=True)
class Poll:
    """Jobs of one provider that one exchange asks about."""

    provider: str
    jobs: Sequence[SilentJob]


@dataclass(frozen=True, slots=True)
class Polled:
    """A poll that is over: what it says, and when to ask again about each job."""

    next_polls: Sequence[NextPoll]
    events: Sequence[Event] = ()


def poller(database: Database, channels: Channels, clock: Clock) -> Asker[Poll, Polled]:
    """Give the loop that polls all providers that can be polled."""
    batches = {name: channel.provider.poll_batch for name, channel in channels.items()}
    claim = partial(_claim, batches)
    inquiry = Inquiry("poll", _can_poll, lanes_with_polls, claim, _compose, judge, _postpone, _record)
    return Asker(inquiry, database, channels, clock)


def _can_poll(provider: Provider) -> bool:
    return provider.can_poll


def _claim(batches: Mapping[str, int], connection: Connection, lanes: Sequence[Lane], lease: float) -> Sequence[Poll]:
    """Claim jobs and put them into exchanges: those with a URL of their own alone, the others together."""
    alone: list[Poll] = []
    together: dict[str, list[SilentJob]] = {}
    for job in claim_polls(connection, lanes, batches, lease):
        if job.location or batches[job.provider] == 1:
            alone.append(Poll(job.provider, [job]))
        else:
            together.setdefault(job.provider, []).append(job)
    return [*alone, *(poll for name, jobs in together.items() for poll in _split(name, jobs, batches[name]))]


def _split(provider: str, jobs: Sequence[SilentJob], most: int) -> Iterator[Poll]:
    for start in range(0, len(jobs), most):
        yield Poll(provider, jobs[start : start + most])


def _compose(provider: Provider, poll: Poll) -> Outgoing:
    first = poll.jobs[0]
    if first.location or provider.poll_batch == 1:
        return provider.compose_poll(first.reference, first.location)
    return provider.compose_batch([job.reference for job in poll.jobs])


def judge(provider: Provider, poll: Poll, outcome: Answer | NoAnswer, now: datetime, jitter: float) -> Polled:
    """Tell what a poll says of its jobs and when to ask again; pure.

    Silence until `give_up_after` ends the asking and leaves a job unresolved.
    """
    answer = outcome if isinstance(outcome, Answer) else None
    references = [job.reference for job in poll.jobs]
    reports = provider.interpret_batch(references, answer) if answer else {}
    others = provider.others_in_poll(references, answer) if answer else ()
    asked = retry_after(answer.headers.get("retry-after"), now) if answer else None
    events = [provider.event(one, Source.POLL, _origin(one), now) for one in (*reports.values(), *others)]
    next_polls: list[NextPoll] = []
    for job in poll.jobs:
        given_up_at = job.accepted_at + timedelta(seconds=provider.following.give_up_after)
        over = _is_final(reports.get(job.reference))
        if not over and now >= given_up_at:
            over = True
            events.append(_given_up(provider.following, job, given_up_at))
        interval = poll_interval(provider.following.first_after, provider.following.max_interval, job.polls, jitter)
        next_in = min(max(interval, asked or 0.0), (given_up_at - now).total_seconds())
        next_polls.append(NextPoll(job.id, None if over else next_in))
    return Polled(next_polls, events)


def _postpone(poll: Poll) -> Polled:
    return Polled([NextPoll(job.id, SOON) for job in poll.jobs])


def _is_final(report: Report | None) -> bool:
    return bool(report and report.status and report.status.is_final)


def _given_up(following: Following, job: SilentJob, at: datetime) -> Event:
    why = f"given up asking after {following.give_up_after:g} s"
    return unresolved(job.id, job.provider, job.reference, at, why)


def _origin(report: Report) -> UUID:
    """Identify what was said, so that a provider that repeats itself is recorded once."""
    return digest_id(repr((report.provider_status, report.code, report.detail, report.occurred_at)).encode())


def _record(connection: Connection, batch: Sequence[Polled]) -> None:
    events = [event for polled in batch for event in polled.events]
    next_polls = [next_poll for polled in batch for next_poll in polled.next_polls]
    schedule_polls(connection, next_polls, {event.job_id for event in events})
    reconcile(connection, events)
