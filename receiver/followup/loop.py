"""The loop that asks providers about what is open: claims by lease, asks under greenlets, records answers in batches.

What is asked about, how and what an answer means is its users' own: `poll` asks about jobs, `lookup` about requests.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Generic, TypeVar

import structlog
from gevent.pool import Group

from receiver.domain.sending import NoResponse, NotSent, Response
from receiver.exchange.admission import NotAdmitted
from receiver.exchange.channels import Channels
from receiver.exchange.credentials import find_refusal, record_refusals
from receiver.exchange.rate_limiter import ExchangeOutcome, Permit, Work
from receiver.providers.base import OutgoingRequest, Provider
from receiver.store.clock import Clock
from receiver.store.database import Connection, Database
from receiver.store.group_commit import GroupCommit
from receiver.store.limits import ProviderCapacity
from receiver.store.providers import CredentialRefusal

_BUSY, _IDLE = 0.02, 0.2

_random = Random()  # noqa: S311  # spreads questions, guards nothing
_log = structlog.get_logger(__name__)


Q = TypeVar("Q", bound=Work)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class FollowUpTask(Generic[Q, R]):
    """What is asked about, and what becomes of the answers.

    Args:
        name: what it is called in the log.
        asks: whether a provider can be asked.
        ready: gives the lanes in which something is due, see `RateLimiter.claim`.
        claim: leases what is due for so many seconds: for each lane at most as many questions as its capacity.
        compose: gives the exchange that asks; what it gives instead is recorded without any.
        judge: tells what an answer means, at a time and with a jitter from 0 to 1; pure.
        postpone: puts a question off that could not be asked.
        record: stores a batch of what was judged, within a transaction.
    """

    name: str
    asks: Callable[[Provider], bool]
    ready: Callable[[Connection, Sequence[ProviderCapacity]], Mapping[str, bool]]
    claim: Callable[[Connection, Sequence[ProviderCapacity], float], Sequence[Q]]
    compose: Callable[[Provider, Q], OutgoingRequest | R]
    judge: Callable[[Provider, Q, Response | NoResponse, datetime, float], R]
    postpone: Callable[[Q], R]
    record: Callable[[Connection, Sequence[R]], None]


@dataclass(frozen=True, slots=True)
class _CompletedFollowUp(Generic[R]):
    """A question that is over: what was judged, how the exchange ended, and whether it refused our credentials."""

    judged: R
    ended: ExchangeOutcome | None = None
    refusal: CredentialRefusal | None = None


class FollowUpLoop(Generic[Q, R]):
    """Makes one kind of inquiry at providers; `step` is called over and over by the worker."""

    def __init__(self, inquiry: FollowUpTask[Q, R], database: Database, channels: Channels, clock: Clock) -> None:
        self._inquiry = inquiry
        self._channels = {name: channel for name, channel in channels.items() if inquiry.asks(channel.provider)}
        self._gates = channels.rate_limiter
        self._leases = channels.leases
        self._clock = clock
        self._outstanding = dict.fromkeys(self._channels, 0)
        self._in_hand = Group()
        self._recorder = GroupCommit(database.dsn, self._record)

    def step(self) -> float:
        """Claim what is due and begin to ask about it; gives the seconds until the next step."""
        if not self._channels:
            return _IDLE
        capacities = [
            channel.build_capacity(free)
            for name, channel in self._channels.items()
            if (free := channel.admission.room - self._outstanding[name]) > 0
        ]
        if not capacities:
            return _BUSY
        begin_by = time.monotonic() + self._leases.patience
        permits = self._gates.claim(capacities, self._inquiry.ready, self._claim)
        for permit in permits:
            self._outstanding[permit.work.provider] += 1
            self._in_hand.spawn(self._ask, permit, begin_by)
        return _BUSY if permits else _IDLE

    def drain(self, timeout: float) -> None:
        """Wait until the exchanges under way are recorded, at most `timeout` seconds, then stop recording."""
        self._in_hand.join(timeout)
        self._recorder.close()

    def _claim(self, connection: Connection, capacities: Sequence[ProviderCapacity]) -> Sequence[Q]:
        return self._inquiry.claim(connection, capacities, self._leases.length)

    def _ask(self, permit: Permit[Q], begin_by: float) -> None:
        try:
            self._recorder.commit(self._answered(permit, begin_by))
        except Exception as error:
            # The lease runs out and it is asked about again.
            _log.warning(f"{self._inquiry.name}.not_recorded", provider=permit.work.provider, error=str(error))
        finally:
            self._outstanding[permit.work.provider] -= 1

    def _answered(self, permit: Permit[Q], begin_by: float) -> _CompletedFollowUp[R]:
        question, channel = permit.work, self._channels[permit.work.provider]
        provider = channel.provider
        composed = self._inquiry.compose(provider, question)
        if not isinstance(composed, OutgoingRequest):
            return _CompletedFollowUp(composed, self._not_begun(permit))
        try:
            outcome = channel.exchange(composed, permit, begin_by)
        except NotAdmitted:
            return _CompletedFollowUp(self._inquiry.postpone(question), self._not_begun(permit))
        now = self._clock.now()
        judged = self._inquiry.judge(provider, question, outcome, now, _random.random())
        return _CompletedFollowUp(judged, ExchangeOutcome(provider.name, outcome, now), find_refusal(provider, outcome))

    def _not_begun(self, permit: Permit[Q]) -> ExchangeOutcome | None:
        """Give what to tell of a turn in which nothing was sent: that matters only of a probe."""
        return (
            ExchangeOutcome(permit.work.provider, NotSent("nothing was sent"), self._clock.now())
            if permit.probe
            else None
        )

    def _record(self, connection: Connection, batch: Sequence[_CompletedFollowUp[R]]) -> None:
        with connection.transaction():
            self._inquiry.record(connection, [one.judged for one in batch])
            record_refusals(connection, [one.refusal for one in batch if one.refusal])
        self._gates.tell(connection, [one.ended for one in batch if one.ended])
