"""Asks providers about silent jobs: claims by lease, polls under greenlets, reconciles the answers in batches."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from uuid import UUID

import structlog
from gevent.pool import Group

from receiver.channels import Channels
from receiver.credentials import refusal_in, refuse
from receiver.domain.backoff import poll_interval, retry_after
from receiver.domain.jobs import Event, Report, Source, digest_id, unresolved
from receiver.domain.sending import SOON, Answer, NoAnswer
from receiver.limits import Ended, NotAdmitted, Turn
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.store.clock import Clock
from receiver.store.database import Connection, Database
from receiver.store.group_commit import GroupCommit
from receiver.store.jobs import NextPoll, SilentJob, claim_polls, schedule_polls
from receiver.store.limits import Lane, lanes_with_polls
from receiver.store.providers import Refusal

_BUSY, _IDLE = 0.02, 0.2
_RECORDING = 30.0

_random = Random()  # noqa: S311  # spreads polls, guards nothing
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Polled:
    """A poll that is over: what it says, when to ask again, and whether it refused our credentials."""

    next_poll: NextPoll
    events: Sequence[Event] = ()
    ended: Ended | None = None
    refusal: Refusal | None = None


class Poller:
    """Polls for all providers; `step` is called over and over by the worker."""

    def __init__(self, database: Database, channels: Channels, clock: Clock) -> None:
        self._channels = channels
        self._gates = channels.gates
        self._clock = clock
        self._outstanding = dict.fromkeys(channels, 0)
        self._in_hand = Group()
        self._recorder = GroupCommit(database.dsn, self._record)
        self._patience = 2 * channels.longest + _RECORDING / 2
        self._lease = self._patience + channels.longest + _RECORDING / 2

    def step(self) -> float:
        """Claim the jobs that are due and begin to ask about them; gives the seconds until the next step."""
        lanes = [
            Lane(name, free, channel.provider.fingerprint)
            for name, channel in self._channels.items()
            if (free := channel.gate.room - self._outstanding[name]) > 0
        ]
        if not lanes:
            return _BUSY
        begin_by = time.monotonic() + self._patience
        turns = self._gates.claim(lanes, lanes_with_polls, partial(claim_polls, lease=self._lease))
        for turn in turns:
            self._outstanding[turn.work.provider] += 1
            self._in_hand.spawn(self._ask, turn, begin_by)
        return _BUSY if turns else _IDLE

    def drain(self, timeout: float) -> None:
        """Wait until the polls under way are recorded, at most `timeout` seconds, then stop recording."""
        self._in_hand.join(timeout)
        self._recorder.close()

    def _ask(self, turn: Turn[SilentJob], begin_by: float) -> None:
        job = turn.work
        channel = self._channels[job.provider]
        outgoing = channel.provider.compose_poll(job.reference, job.location)
        try:
            outcome = channel.exchange(outgoing, begin_by, turn.begin_at)
            ended = Ended(job.provider, outcome, self._clock.now())
            polled = judge(channel.provider, job, outcome, ended.at, _random.random())
            self._recorder.commit(replace(polled, ended=ended, refusal=refusal_in(channel.provider, outcome)))
        except NotAdmitted:
            self._recorder.commit(Polled(NextPoll(job.id, SOON)))
        except Exception as error:
            # The lease runs out and the job is asked about again.
            _log.warning("poll.not_recorded", job_id=str(job.id), error=str(error))
        finally:
            self._outstanding[job.provider] -= 1

    def _record(self, connection: Connection, batch: Sequence[Polled]) -> None:
        with connection.transaction():
            schedule_polls(connection, [polled.next_poll for polled in batch])
            refuse(connection, [polled.refusal for polled in batch if polled.refusal])
            reconcile(connection, [event for polled in batch for event in polled.events])
        self._gates.tell(connection, [polled.ended for polled in batch if polled.ended])


def judge(provider: Provider, job: SilentJob, outcome: Answer | NoAnswer, now: datetime, jitter: float) -> Polled:
    """Tell what a poll says of a job and when to ask again; pure.

    Silence until `give_up_after` ends the asking and leaves the job unresolved.
    """
    answer = outcome if isinstance(outcome, Answer) else None
    report = provider.interpret_poll(job.reference, answer) if answer else None
    others = provider.others_in_poll(job.reference, answer) if answer else ()
    said = [report, *others] if report else others
    events = [provider.event(one, Source.POLL, _origin(one), now) for one in said]
    if report and report.status and report.status.is_final:
        return Polled(NextPoll(job.id, None), events)
    given_up_at = job.accepted_at + timedelta(seconds=provider.following.give_up_after)
    if now >= given_up_at:
        why = f"given up asking after {provider.following.give_up_after:g} s"
        events.append(unresolved(job.id, job.provider, job.reference, given_up_at, why))
        return Polled(NextPoll(job.id, None), events)
    interval = poll_interval(provider.following.first_after, provider.following.max_interval, job.polls, jitter)
    asked = retry_after(answer.headers.get("retry-after"), now) if answer else None
    remaining = (given_up_at - now).total_seconds()
    return Polled(NextPoll(job.id, min(max(interval, asked or 0.0), remaining)), events)


def _origin(report: Report) -> UUID:
    """Identify what was said, so that a provider that repeats itself is recorded once."""
    return digest_id(repr((report.provider_status, report.code, report.detail, report.occurred_at)).encode())
