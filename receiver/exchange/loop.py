"""The loop that talks to providers: lease due work, admit it within the limits, exchange, interpret and record.

What is claimed, composed, interpreted and recorded is defined by an `ExchangeTask`. No connection or transaction is
held during an exchange. Completed exchanges are interpreted and recorded in batches.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from random import Random
from typing import Any, Generic

import gevent
import structlog
from gevent.pool import Group

from receiver.domain.records import record
from receiver.domain.sending import NotSent, Outcome, Response
from receiver.exchange.admission import REMOVED, STOPPED, NotAdmitted
from receiver.exchange.channels import Channel, Channels
from receiver.exchange.credentials import record_refusals
from receiver.exchange.rate_limiter import MAX_RESIDENT_PROVIDERS
from receiver.exchange.work import CompletedExchange, ExchangeResult, Permit, Recordable, UpdateT, WorkT
from receiver.logs import is_debug
from receiver.providers.base import Provider
from receiver.providers.capabilities import OutgoingRequest
from receiver.store.clock import Clock
from receiver.store.connections import Connection, transaction
from receiver.store.database import Database
from receiver.store.group_commit import Batch, CommitStats, GroupCommit, QueueFull
from receiver.store.limits import ProviderCapacity

_BUSY_INTERVAL_S = 0.02
_MAX_CLAIMED_AHEAD = 500
_RECORD_RETRY_INTERVAL_S = 0.5
_RECORDING_MARGIN_S = 30.0
_MAX_QUEUED_RECORDS = 100_000
_INTERPRETED_BETWEEN_PAUSES = 100
_PAUSE_S = 0.000_1
_LOST_CLAIM = "the reply to its claim was lost"

_random = Random()  # noqa: S311  # spreads retries and polls; not for security
_log = structlog.get_logger(__name__)


class ExchangeTask(ABC, Generic[WorkT, UpdateT]):
    """One kind of work that needs exchanges with providers.

    Args:
        name: the prefix of the log events.
        idle_interval_s: seconds between two claims while no work is due.
        claims_ahead: whether more is claimed than may run at once, so that a place that becomes free is filled without
            waiting for the next claim.
    """

    name: str
    idle_interval_s = 0.2
    claims_ahead = False

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self.configure(providers)

    @abstractmethod
    def configure(self, providers: Mapping[str, Provider]) -> None:
        """Use these providers from now on.

        What was claimed before still is composed, interpreted and recorded for the provider that it was claimed for.
        """

    @property
    @abstractmethod
    def providers(self) -> Collection[str]:
        """The names of the providers that have such work."""

    @abstractmethod
    def list_due_providers(self, connection: Connection) -> Collection[str]:
        """Return the providers that have due work, whether or not it may begin, configured or not."""

    @abstractmethod
    def find_due(self, connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
        """Return the providers with due work, each with whether the work must take slots whatever is configured."""

    @abstractmethod
    def describe(self, work: WorkT) -> Mapping[str, Any]:
        """Return the ids of work, for the log."""

    @abstractmethod
    def claim(
        self, connection: Connection, capacities: Sequence[ProviderCapacity], leases: Mapping[str, float]
    ) -> Sequence[WorkT]:
        """Lease due work, for each provider at most as many exchanges as its capacity, for its seconds in `leases`."""

    def on_claimed(self, works: Sequence[WorkT]) -> None:
        """Observe that claims are committed, and that this work will be exchanged."""

    def take_lost(self, database: Database) -> Sequence[WorkT]:
        """Return the work of claims that were committed although they failed, each once; called between claims.

        By default nothing: the lease expires, and the work is claimed again.
        """
        return ()

    @abstractmethod
    def compose(self, channel: Channel, work: WorkT) -> OutgoingRequest | NotSent:
        """Build the request to exchange; NotSent for work whose request cannot be built."""

    @abstractmethod
    def interpret(self, exchange: CompletedExchange[WorkT]) -> ExchangeResult[UpdateT]:
        """Return the result of an exchange; pure."""

    @abstractmethod
    def record(self, connection: Connection, results: Sequence[ExchangeResult[UpdateT]]) -> None:
        """Store the updates and the events of results; called within a transaction."""

    def on_record_failure(
        self, item: Recordable[WorkT, UpdateT], work: WorkT, error: Exception
    ) -> Recordable[WorkT, UpdateT] | None:
        """Return what to record instead of an item that could not be recorded; None for nothing.

        By default nothing: the lease expires, and the work is claimed again.
        """
        _log.warning(f"{self.name}.record_failed", provider=work.provider, **self.describe(work), error=str(error))
        return None


class ExchangeObserver(Generic[WorkT, UpdateT]):
    """Observes the exchanges of a loop; this one does nothing."""

    def time_exchange(
        self, work: WorkT, outgoing: OutgoingRequest, admission: AbstractContextManager[None]
    ) -> AbstractContextManager[None]:
        """Return a context around `admission`, within which the exchange takes place."""
        return admission

    def on_claim(self, count: int, seconds: float) -> None:
        """Observe a claim of so many exchanges, which took so many seconds."""

    def on_record(self, exchange: CompletedExchange[WorkT], result: ExchangeResult[UpdateT]) -> None:
        """Observe a result that is committed."""


@record(frozen=True, slots=True)
class _QueuedExchange(Generic[WorkT]):
    """A permit whose exchange waits for a greenlet, and must begin by a time of `time.monotonic`, on its channel."""

    channel: Channel
    permit: Permit[WorkT]
    begin_by: float


class _Backlog(Generic[WorkT]):
    """One provider's claimed work: how much has no outcome yet, and how much ended since the last claim.

    Attributes:
        channel: the channel to the provider.
        max_wait: seconds from its claim within which an exchange begins, or does not begin at all.
        lease: seconds for which work is leased. An exchange ends and is recorded before the lease runs out.
        is_full: whether the last claim took as much as it could.
        queue: the exchanges that no greenlet has begun.
        greenlet_count: how many greenlets perform exchanges of the queue.
    """

    channel: Channel
    max_wait: float
    lease: float

    def __init__(self, *, claims_ahead: bool) -> None:
        self._claims_ahead = claims_ahead
        self._ended_since_claim = 0
        self.is_full = False
        self.queue: deque[_QueuedExchange[WorkT]] = deque()
        self.greenlet_count = 0

    def use(self, channel: Channel) -> None:
        """Claim for this channel from now on."""
        max_duration = channel.provider.send_policy.max_duration
        self.channel = channel
        # An exchange may wait behind others that were claimed for the same provider: requests, polls and lookups.
        self.max_wait = 3 * max_duration + _RECORDING_MARGIN_S / 2
        self.lease = self.max_wait + max_duration + _RECORDING_MARGIN_S / 2

    def take_free(self) -> int:
        """Return how much more work to claim, and reset the count of ended work.

        As much is claimed as may run at once, and ahead of it twice as much as ended since the last claim: as much for
        the time until the next claim, and as much for the time that the next claim takes.
        """
        ahead = min(2 * self._ended_since_claim, _MAX_CLAIMED_AHEAD) if self._claims_ahead else 0
        self._ended_since_claim = 0
        capacity = self.channel.admission.capacity
        return capacity + ahead - self.greenlet_count - len(self.queue) if capacity else 0

    def end(self) -> None:
        self._ended_since_claim += 1


class ExchangeLoop(Generic[WorkT, UpdateT]):
    """Runs one `ExchangeTask` for all providers that have such work; the worker calls `step` repeatedly."""

    def __init__(
        self,
        task: ExchangeTask[WorkT, UpdateT],
        database: Database,
        channels: Channels,
        clock: Clock,
        observer: ExchangeObserver[WorkT, UpdateT] | None = None,
    ) -> None:
        self._task = task
        self._database = database
        self._observer = observer or ExchangeObserver()
        self._rate_limiter = channels.rate_limiter
        self._clock = clock
        self._backlogs: Mapping[str, _Backlog[WorkT]] = {}
        self._leases: Mapping[str, float] = {}
        self.configure(channels)
        self._greenlets = Group()
        self._recorder: GroupCommit[Recordable[WorkT, UpdateT], ExchangeResult[UpdateT]] = GroupCommit(
            database,
            self._record,
            max_waiting=_MAX_QUEUED_RECORDS,
            get_size=_compute_size,
            gathers=False,
        )
        self._batch: Batch[Recordable[WorkT, UpdateT], ExchangeResult[UpdateT]] | None = None
        self._batch_exchanges: list[tuple[int, CompletedExchange[WorkT]]] = []

    @property
    def queue_lengths(self) -> Mapping[str, int]:
        """How many claimed exchanges have not begun, by provider."""
        return {name: len(backlog.queue) for name, backlog in self._backlogs.items()}

    @property
    def commit_stats(self) -> CommitStats:
        """What was recorded."""
        return self._recorder.stats

    def configure(self, channels: Channels) -> None:
        """Use these channels from now on; exchanges that have been claimed use those of their claim.

        Those of a removed provider that have not begun return to the queue.
        """
        self._task.configure(channels.providers)
        backlogs: dict[str, _Backlog[WorkT]] = {}
        for name in self._task.providers:
            backlogs[name] = self._backlogs.get(name) or _Backlog(claims_ahead=self._task.claims_ahead)
            backlogs[name].use(channels[name])
        removed = [backlog for name, backlog in self._backlogs.items() if name not in backlogs]
        self._backlogs = backlogs
        self._leases = {name: backlog.lease for name, backlog in backlogs.items()}
        for backlog in removed:
            self._return_queue(backlog, REMOVED)

    def step(self) -> float:
        """Claim due work and begin its exchanges; return the seconds until the next step."""
        backlogs = self._backlogs  # other ones may be configured during the claim
        if not backlogs:
            return self._task.idle_interval_s
        # Work whose claim is committed, but not confirmed in time, would be leased and never sent.
        self._database.health.require_writable()
        names = backlogs if len(backlogs) <= MAX_RESIDENT_PROVIDERS else self._activate_due(backlogs)
        if not names:
            return self._task.idle_interval_s
        capacities = [
            ProviderCapacity(name, free, backlogs[name].channel.credentials, backlogs[name].is_full)
            for name in names
            if (free := backlogs[name].take_free()) > 0
        ]
        if not capacities:
            return _BUSY_INTERVAL_S
        self._return_lost_work()
        # Before the claim, so that an exchange never begins so late that its lease could expire before it is recorded.
        claimed_at = time.monotonic()
        permits = self._rate_limiter.claim(
            capacities, self._task.find_due, partial(self._task.claim, leases=self._leases)
        )
        self._task.on_claimed([permit.work for permit in permits])
        self._observer.on_claim(len(permits), time.monotonic() - claimed_at)
        counts = Counter([permit.work.provider for permit in permits])
        for capacity in capacities:
            backlogs[capacity.provider].is_full = counts[capacity.provider] >= capacity.free
        if permits and is_debug():
            _log.debug(f"{self._task.name}.claimed", providers=counts, seconds=round(time.monotonic() - claimed_at, 3))
        for permit in permits:
            backlog = backlogs[permit.work.provider]
            backlog.queue.append(_QueuedExchange(backlog.channel, permit, claimed_at + backlog.max_wait))
        for backlog in backlogs.values():
            self._spawn_greenlets(backlog)
        # Also if nothing was claimed for some providers, while the full queues of others run empty soon.
        is_busy = bool(permits) or len(capacities) < len(names)
        return _BUSY_INTERVAL_S if is_busy else self._task.idle_interval_s

    def _activate_due(self, backlogs: Mapping[str, _Backlog[WorkT]]) -> Collection[str]:
        """Return the providers that have due work, once this process has a share of them."""
        with self._database.connection() as connection:
            due = [name for name in self._task.list_due_providers(connection) if name in backlogs]
        self._rate_limiter.activate(due)
        return due

    def stop(self) -> None:
        """Return the exchanges that have not begun: begun now, they might not end before this process does.

        The admissions are stopped before, so that what has a greenlet already does not begin either.
        """
        for backlog in self._backlogs.values():
            self._return_queue(backlog, STOPPED)

    def _return_queue(self, backlog: _Backlog[WorkT], reason: str) -> None:
        while backlog.queue:
            self._complete(backlog.queue.popleft(), NotSent(reason))

    def drain(self, timeout: float) -> None:
        """Wait at most `timeout` seconds until all exchanges are recorded, then stop recording."""
        self._greenlets.join(timeout)
        self._recorder.close()

    def _return_lost_work(self) -> None:
        """Record that work was not sent which was claimed by a statement whose reply was lost."""
        for work in self._task.take_lost(self._database):
            backlog = self._backlogs.get(work.provider)
            if backlog is None:  # not configured any more: the lease of its attempt expires
                continue
            provider, outcome = backlog.channel.provider, NotSent(_LOST_CLAIM)
            exchange = CompletedExchange(provider, work, outcome, self._clock.now(), _random.random(), probe=False)
            self._enqueue(exchange)

    def _spawn_greenlets(self, backlog: _Backlog[WorkT]) -> None:
        """Spawn greenlets for the queue of a backlog: at most as many in all as exchanges may run at once."""
        share = max(backlog.channel.admission.share, 1)
        for _ in range(min(len(backlog.queue), share - backlog.greenlet_count)):
            backlog.greenlet_count += 1
            self._greenlets.spawn(self._process_queue, backlog)

    def _process_queue(self, backlog: _Backlog[WorkT]) -> None:
        """Perform the exchanges of a backlog, one after another, until its queue is empty."""
        try:
            while backlog.queue:
                queued = backlog.queue.popleft()
                outcome = self._exchange(queued)
                backlog.end()
                self._complete(queued, outcome)
        finally:
            backlog.greenlet_count -= 1
            self._spawn_greenlets(backlog)  # after an error, the queue is not empty

    def _complete(self, queued: _QueuedExchange[WorkT], outcome: Outcome) -> None:
        provider, permit, ended_at = queued.channel.provider, queued.permit, self._clock.now()
        self._enqueue(CompletedExchange(provider, permit.work, outcome, ended_at, _random.random(), permit.probe))

    def _exchange(self, queued: _QueuedExchange[WorkT]) -> Outcome:
        channel, permit = queued.channel, queued.permit
        composed = self._task.compose(channel, permit.work)
        if isinstance(composed, NotSent):
            return composed
        admission = channel.admission.admit(queued.begin_by, permit.begin_at, probe=permit.probe)
        started_at = time.monotonic()
        try:
            outcome = channel.client.exchange(composed, self._observer.time_exchange(permit.work, composed, admission))
        except NotAdmitted as error:
            return NotSent(str(error))
        if is_debug():
            self._log_exchange(permit.work, outcome, time.monotonic() - started_at)
        return outcome

    def _log_exchange(self, work: WorkT, outcome: Outcome, seconds: float) -> None:
        """Log an exchange; the seconds include the wait for its admission."""
        result = {"status": outcome.status} if isinstance(outcome, Response) else {"error": outcome.error}
        fields = {**self._task.describe(work), **result, "seconds": round(seconds, 3)}
        _log.debug(f"{self._task.name}.completed", provider=work.provider, **fields)

    def _enqueue(self, exchange: CompletedExchange[WorkT]) -> None:
        """Queue an exchange to be recorded; its greenlet goes on, and another one observes the whole batch."""
        try:
            batch, position = self._recorder.enqueue(exchange)
        except QueueFull as error:
            self._greenlets.spawn(self._recover, exchange, error)
            return
        if batch is not self._batch:
            self._batch, self._batch_exchanges = batch, []
            self._greenlets.spawn(self._observe_batch, batch, self._batch_exchanges)
        self._batch_exchanges.append((position, exchange))

    def _observe_batch(
        self,
        batch: Batch[Recordable[WorkT, UpdateT], ExchangeResult[UpdateT]],
        exchanges: Sequence[tuple[int, CompletedExchange[WorkT]]],
    ) -> None:
        """Observe the results of exchanges, by their positions in a batch, once the batch is written."""
        batch.done.wait()
        for position, exchange in exchanges:
            error = batch.errors.get(position)
            if error is None:
                self._on_recorded(exchange, batch.results[position])
            else:
                self._greenlets.spawn(self._recover, exchange, error)

    def _recover(self, exchange: CompletedExchange[WorkT], error: Exception) -> None:
        """Record what the task records instead of an exchange that could not be recorded.

        Args:
            exchange: the exchange.
            error: why it could not be recorded. What an error of any kind means for the work is for the task to decide.
        """
        item = self._task.on_record_failure(exchange, exchange.work, error)
        while item is not None and not self._database.is_closed:
            gevent.sleep(_RECORD_RETRY_INTERVAL_S)
            try:
                result = self._recorder.commit(item)
            except Exception as repeated_error:
                item = self._task.on_record_failure(item, exchange.work, repeated_error)
            else:
                self._on_recorded(exchange, result)
                return

    def _on_recorded(self, exchange: CompletedExchange[WorkT], result: ExchangeResult[UpdateT]) -> None:
        self._observer.on_record(exchange, result)
        if isinstance(exchange.outcome, Response):
            self._log_problem(exchange.work, exchange.outcome, result)

    def _log_problem(self, work: WorkT, response: Response, result: ExchangeResult[UpdateT]) -> None:
        """Log why a response is not read: that of a poll leaves no other trace."""
        if problem := response.problem or result.problem:
            _log.warning(
                f"{self._task.name}.response_unreadable",
                provider=work.provider,
                **self._task.describe(work),
                status=response.status,
                problem=problem,
            )

    def _record(
        self, connection: Connection, batch: Sequence[Recordable[WorkT, UpdateT]]
    ) -> Sequence[ExchangeResult[UpdateT]]:
        results = record_exchanges(connection, self._task, batch)
        self._rate_limiter.report(connection, [item for item in batch if isinstance(item, CompletedExchange)])
        return results


def record_exchanges(
    connection: Connection,
    task: ExchangeTask[WorkT, UpdateT],
    batch: Sequence[Recordable[WorkT, UpdateT]],
) -> Sequence[ExchangeResult[UpdateT]]:
    """Interpret exchanges, store their results in one transaction, and return the results."""
    results: list[ExchangeResult[UpdateT]] = []
    for number, item in enumerate(batch, start=1):
        results.append(task.interpret(item) if isinstance(item, CompletedExchange) else item)
        if number % _INTERPRETED_BETWEEN_PAUSES == 0:
            gevent.sleep(_PAUSE_S)  # timers expire meanwhile, so that no send slot is missed
    with transaction(connection):
        task.record(connection, results)
        # Last, whatever the task: a transaction that holds a refusal's lock then waits for no event or job.
        refusals = [result.refusal for result in results if result.refusal]
        if refusals:
            record_refusals(connection, refusals)
    return results


def _compute_size(item: Recordable[Any, Any]) -> int:
    return len(item.outcome.body) if isinstance(item, CompletedExchange) and isinstance(item.outcome, Response) else 0
