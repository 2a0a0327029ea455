"""Asks providers about silent jobs: claims by lease, polls under greenlets, reconciles the answers in batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import structlog
from gevent.pool import Group

from receiver.client import ProviderClient
from receiver.credentials import refusal_in, refuse
from receiver.domain.backoff import poll_interval, retry_after
from receiver.domain.jobs import Event, Report, Source, digest_id, unresolved
from receiver.domain.sending import Answer, NoAnswer
from receiver.providers.base import Provider
from receiver.reconcile import reconcile
from receiver.store.database import Connection, Database
from receiver.store.group_commit import GroupCommit
from receiver.store.jobs import NextPoll, SilentJob, claim_polls, schedule_polls
from receiver.store.providers import Refusal
from receiver.store.requests import Lane

_BUSY, _IDLE = 0.02, 0.2
_RECORDING = 30.0

_random = Random()  # noqa: S311  # spreads polls, guards nothing
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Polled:
    """A poll that is over: what it says, when to ask again, and whether it refused our credentials."""

    next_poll: NextPoll
    events: Sequence[Event]
    refusal: Refusal | None = None


class Poller:
    """Polls for all providers; `step` is called over and over by the worker."""

    def __init__(
        self, database: Database, clients: Mapping[str, ProviderClient], providers: Mapping[str, Provider]
    ) -> None:
        self._database = database
        self._clients = clients
        self._providers = providers
        self._outstanding = dict.fromkeys(providers, 0)
        self._in_hand = Group()
        self._recorder = GroupCommit(database.dsn, _record)
        longest = max((provider.dispatching.longest for provider in providers.values()), default=0.0)
        self._lease = 3 * longest + _RECORDING

    def step(self) -> float:
        """Claim the jobs that are due and begin to ask about them; gives the seconds until the next step."""
        lanes = [
            Lane(name, free, provider.fingerprint)
            for name, provider in self._providers.items()
            if (free := provider.dispatching.max_concurrency - self._outstanding[name]) > 0
        ]
        if not lanes:
            return _BUSY
        with self._database.connection() as connection:
            jobs = claim_polls(connection, lanes, self._lease)
        for job in jobs:
            self._outstanding[job.provider] += 1
            self._in_hand.spawn(self._ask, job)
        return _BUSY if jobs else _IDLE

    def drain(self, timeout: float) -> None:
        """Wait until the polls under way are recorded, at most `timeout` seconds, then stop recording."""
        self._in_hand.join(timeout)
        self._recorder.close()

    def _ask(self, job: SilentJob) -> None:
        provider = self._providers[job.provider]
        try:
            outcome = self._clients[job.provider].exchange(provider.compose_poll(job.reference, job.location))
            polled = judge(provider, job, outcome, datetime.now(UTC), _random.random())
            self._recorder.commit(replace(polled, refusal=refusal_in(provider, outcome)))
        except Exception as error:
            # The lease runs out and the job is asked about again.
            _log.warning("poll.not_recorded", job_id=str(job.id), error=str(error))
        finally:
            self._outstanding[job.provider] -= 1


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


def _record(connection: Connection, batch: Sequence[Polled]) -> None:
    with connection.transaction():
        schedule_polls(connection, [polled.next_poll for polled in batch])
        refuse(connection, [polled.refusal for polled in batch if polled.refusal])
        reconcile(connection, [event for polled in batch for event in polled.events])
