"""The loop that follows up with providers: lease due work, exchange in greenlets, record the results in batches.

What is claimed, composed and recorded is defined by a `FollowUpTask`: `poll` asks about jobs, `lookup` about unknown
requests. Limits are in `receiver.exchange`. No connection or transaction is held during an exchange.
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

_BUSY_INTERVAL_S, _IDLE_INTERVAL_S = 0.02, 0.2

_random = Random()  # noqa: S311  # Spreads polls over time; nothing secret depends on it.
_log = structlog.get_logger(__name__)


WorkT = TypeVar("WorkT", bound=Work)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class FollowUpTask(Generic[WorkT, ResultT]):
    """One kind of follow-up: the functions by which the loop claims, composes, interprets and records it.

    Args:
        name: prefix of the log events.
        supports: whether a provider can be asked.
        find_due: returns the providers with due work, as `RateLimiter.claim` needs them.
        claim: leases due work for a number of seconds, for each provider at most as many items as its capacity.
        compose: returns the request to exchange. A result instead of a request is recorded without an exchange.
        interpret: returns the result of an exchange, given the current time (UTC) and a jitter from 0 to 1; pure.
        postpone: returns the result for work that was not admitted in time.
        record: stores a batch of results, within a transaction.
    """

    name: str
    supports: Callable[[Provider], bool]
    find_due: Callable[[Connection, Sequence[ProviderCapacity]], Mapping[str, bool]]
    claim: Callable[[Connection, Sequence[ProviderCapacity], float], Sequence[WorkT]]
    compose: Callable[[Provider, WorkT], OutgoingRequest | ResultT]
    interpret: Callable[[Provider, WorkT, Response | NoResponse, datetime, float], ResultT]
    postpone: Callable[[WorkT], ResultT]
    record: Callable[[Connection, Sequence[ResultT]], None]


@dataclass(frozen=True, slots=True)
class _CompletedFollowUp(Generic[ResultT]):
    """A completed item of work: its result, the outcome of its exchange, and a refusal of our credentials."""

    result: ResultT
    exchange: ExchangeOutcome | None = None
    refusal: CredentialRefusal | None = None


class FollowUpLoop(Generic[WorkT, ResultT]):
    """Runs one `FollowUpTask` for all providers that support it; the worker calls `step` repeatedly."""

    def __init__(
        self, task: FollowUpTask[WorkT, ResultT], database: Database, channels: Channels, clock: Clock
    ) -> None:
        self._task = task
        self._channels = {name: channel for name, channel in channels.items() if task.supports(channel.provider)}
        self._rate_limiter = channels.rate_limiter
        self._lease_policy = channels.lease_policy
        self._clock = clock
        self._outstanding = dict.fromkeys(self._channels, 0)
        self._greenlets = Group()
        self._recorder = GroupCommit(database.dsn, self._record)

    def step(self) -> float:
        """Claim due work and start its exchanges; return the seconds until the next step."""
        if not self._channels:
            return _IDLE_INTERVAL_S
        capacities = [
            channel.build_capacity(free)
            for name, channel in self._channels.items()
            if (free := channel.admission.capacity - self._outstanding[name]) > 0
        ]
        if not capacities:
            return _BUSY_INTERVAL_S
        # Before the claim, so that an exchange never begins so late that its lease could expire before it is recorded.
        begin_by = time.monotonic() + self._lease_policy.max_wait
        permits = self._rate_limiter.claim(capacities, self._task.find_due, self._claim)
        for permit in permits:
            self._outstanding[permit.work.provider] += 1
            self._greenlets.spawn(self._process, permit, begin_by)
        return _BUSY_INTERVAL_S if permits else _IDLE_INTERVAL_S

    def drain(self, timeout: float) -> None:
        """Wait at most `timeout` seconds until the exchanges under way are recorded, then stop recording."""
        self._greenlets.join(timeout)
        self._recorder.close()

    def _claim(self, connection: Connection, capacities: Sequence[ProviderCapacity]) -> Sequence[WorkT]:
        return self._task.claim(connection, capacities, self._lease_policy.duration)

    def _process(self, permit: Permit[WorkT], begin_by: float) -> None:
        try:
            self._recorder.commit(self._exchange(permit, begin_by))
        except Exception as error:
            # The lease expires and the work is claimed again: asking twice does no harm.
            _log.warning(f"{self._task.name}.record_failed", provider=permit.work.provider, error=str(error))
        finally:
            self._outstanding[permit.work.provider] -= 1

    def _exchange(self, permit: Permit[WorkT], begin_by: float) -> _CompletedFollowUp[ResultT]:
        work, channel = permit.work, self._channels[permit.work.provider]
        provider = channel.provider
        composed = self._task.compose(provider, work)
        if not isinstance(composed, OutgoingRequest):
            return _CompletedFollowUp(composed, self._build_unsent_probe(permit))
        try:
            outcome = channel.exchange(composed, permit, begin_by)
        except NotAdmitted:
            return _CompletedFollowUp(self._task.postpone(work), self._build_unsent_probe(permit))
        now = self._clock.now()
        result = self._task.interpret(provider, work, outcome, now, _random.random())
        return _CompletedFollowUp(result, ExchangeOutcome(provider.name, outcome, now), find_refusal(provider, outcome))

    def _build_unsent_probe(self, permit: Permit[WorkT]) -> ExchangeOutcome | None:
        """Return the outcome of a probe that was not sent: the circuit of its provider waits for it.

        Any other exchange that was not sent needs no report.
        """
        if not permit.probe:
            return None
        return ExchangeOutcome(permit.work.provider, NotSent("nothing was sent"), self._clock.now())

    def _record(self, connection: Connection, batch: Sequence[_CompletedFollowUp[ResultT]]) -> Sequence[None]:
        with connection.transaction():
            self._task.record(connection, [completed.result for completed in batch])
            # Last, in the same order as when attempts are recorded: who holds a refusal then waits for no event or job.
            record_refusals(connection, [completed.refusal for completed in batch if completed.refusal])
        self._rate_limiter.report(connection, [completed.exchange for completed in batch if completed.exchange])
        return [None] * len(batch)
