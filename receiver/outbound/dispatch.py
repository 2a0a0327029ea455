"""Sends what is due: claims by lease, exchanges under greenlets, records the answers in batches.

No connection or transaction is held while a provider is talked to. An attempt is committed before its bytes leave, so
that a crash is visible as an attempt without an answer.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import gevent
import structlog
from gevent.pool import Group

from receiver.client import ProviderClient
from receiver.domain.backoff import RetryPolicy
from receiver.domain.jobs import Event, Source
from receiver.domain.sending import (
    Answer,
    Attempt,
    Case,
    Decision,
    NoAnswer,
    OnAmbiguous,
    Policy,
    Reading,
    RequestStatus,
)
from receiver.providers.base import Provider
from receiver.reconcile import reconcile_answers
from receiver.store.database import Connection, Database, StoreUnavailable
from receiver.store.doubts import take_requests
from receiver.store.group_commit import GroupCommit, QueueFull
from receiver.store.requests import (
    Ended,
    Lane,
    claim_requests,
    expire_requests,
    lost_attempts,
    record_outcomes,
)

_BUSY, _IDLE, _STORE_AWAY = 0.02, 0.1, 0.5
_RECORDING = 30.0
_SWEEP = 500

_TOOK = frozenset({RequestStatus.ACCEPTED, RequestStatus.COMPLETED})
_UNCONFIGURED = Policy(RetryPolicy(), OnAmbiguous.HOLD)

_random = Random()  # noqa: S311  # spreads retries, guards nothing
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """An attempt whose exchange ended at `at` (UTC). It is judged where it is recorded, many in one go."""

    provider: Provider
    attempt: Attempt
    outcome: Answer | NoAnswer
    at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """An attempt that is over, with the events its answer makes; committed together."""

    ended: Ended
    events: Sequence[Event]


class _Lane:
    """How much of a provider's work is in hand: attempts claimed and not yet answered, and how many ended lately."""

    def __init__(self, provider: Provider, client: ProviderClient, callback_url: str) -> None:
        self.provider = provider
        self.client = client
        self.callback_url = callback_url
        self.outstanding = 0
        self.ended_lately = 0

    def free(self) -> int:
        """Give how many more to claim: what runs at once, and ahead of it as many as ended since the last claim."""
        ahead, self.ended_lately = self.ended_lately, 0
        return self.provider.dispatching.max_concurrency + ahead - self.outstanding


class Dispatcher:
    """Sends the requests of all providers; `step` is called over and over by the worker."""

    def __init__(
        self,
        database: Database,
        clients: Mapping[str, ProviderClient],
        providers: Mapping[str, Provider],
        callback_urls: Mapping[str, str],
    ) -> None:
        self._database = database
        self._lanes = {
            name: _Lane(provider, clients[name], callback_urls[name]) for name, provider in providers.items()
        }
        self._asking = {name: first for name, provider in providers.items() if (first := provider.ask_in) is not None}
        self._in_hand = Group()
        self._recorder = GroupCommit(database.dsn, _record, max_waiting=100_000, size_of=_size_of)
        longest = max((provider.dispatching.longest for provider in providers.values()), default=0.0)
        # Long enough to wait for a slot, behind what asks, to exchange and to record; a margin between the last two.
        self._patience = 3 * longest + _RECORDING / 2
        self._lease = self._patience + longest + _RECORDING / 2

    def step(self) -> float:
        """Claim what is due and begin sending it; gives the seconds until the next step."""
        lanes = [Lane(name, free) for name, lane in self._lanes.items() if (free := lane.free()) > 0]
        if not lanes:
            return _BUSY
        begin_by = time.monotonic() + self._patience
        with self._database.connection() as connection:
            attempts = claim_requests(connection, lanes, self._lease)
        for attempt in attempts:
            self._lanes[attempt.provider].outstanding += 1
            self._in_hand.spawn(self._carry_out, attempt, begin_by)
        return _BUSY if attempts else _IDLE

    def sweep(self) -> float:
        """End what is past its deadline and judge attempts whose worker was lost; gives the seconds until the next."""
        with self._database.transaction() as connection:
            expired = expire_requests(connection, _SWEEP, self._asking)
            abandoned = lost_attempts(connection, _SWEEP)
            record_outcomes(connection, [self._abandon(attempt) for attempt in abandoned])
        if expired or abandoned:
            _log.warning("requests.swept", expired=expired, abandoned=len(abandoned))
        return 1.0

    def drain(self, timeout: float) -> None:
        """Wait until what is in hand is recorded, at most `timeout` seconds, then stop recording."""
        self._in_hand.join(timeout)
        self._recorder.close()

    def _abandon(self, attempt: Attempt) -> Ended:
        lane = self._lanes.get(attempt.provider)
        policy = lane.provider.policy if lane else _UNCONFIGURED
        decision = Case(attempt, policy, datetime.now(UTC), _random.random()).lost()
        return Ended(attempt, NoAnswer(decision.detail or "", sent=True), decision, self._asking.get(attempt.provider))

    def _carry_out(self, attempt: Attempt, begin_by: float) -> None:
        lane = self._lanes[attempt.provider]
        try:
            outgoing = lane.provider.compose(attempt, lane.callback_url)
            outcome = lane.client.exchange(outgoing, begin_by=begin_by)
        finally:
            lane.outstanding -= 1
            lane.ended_lately += 1
        self._keep(Exchanged(lane.provider, attempt, outcome, datetime.now(UTC)))

    def _keep(self, exchanged: Exchanged) -> None:
        """Record an exchange, however long the store is away: the provider has acted and will not say it again."""
        item: Exchanged | Told = exchanged
        while True:
            try:
                return self._recorder.commit(item)
            except (StoreUnavailable, QueueFull) as error:
                _log.warning("attempt.not_recorded_yet", attempt_id=str(exchanged.attempt.id), error=str(error))
                gevent.sleep(_STORE_AWAY)
            except Exception as error:
                # Whatever it is, the provider has acted: without a record the request would be sent again.
                _log.exception("attempt.not_recordable", attempt_id=str(exchanged.attempt.id))
                if isinstance(item, Told):
                    raise
                item = _unreadable(exchanged, str(error))


def _size_of(item: Exchanged | Told) -> int:
    return len(item.outcome.body) if isinstance(item, Exchanged) and isinstance(item.outcome, Answer) else 0


def _judge(exchanged: Exchanged) -> Told:
    provider, attempt, outcome, now = exchanged.provider, exchanged.attempt, exchanged.outcome, exchanged.at
    reading = provider.interpret(outcome) if isinstance(outcome, Answer) else Reading()
    decision = Case(attempt, provider.policy, now, _random.random()).decide(outcome, reading)
    if decision.pause:
        _log.error("provider.paused", provider=provider.name, reason=decision.pause)
    events = [
        provider.event(
            report,
            Source.ANSWER,
            attempt.id,
            now,
            index=index,
            request_id=attempt.request_id,
            poll_after=decision.poll_after,
            location=decision.location,
        )
        for index, report in enumerate(decision.reports)
    ]
    return Told(Ended(attempt, outcome, decision, provider.ask_in), events)


def _unreadable(exchanged: Exchanged, problem: str) -> Told:
    detail = f"the answer cannot be stored: {problem}"
    decision = Decision(RequestStatus.UNKNOWN, detail=detail, ambiguous=True)
    return Told(Ended(exchanged.attempt, NoAnswer(detail, sent=True), decision, exchanged.provider.ask_in), [])


def _record(connection: Connection, batch: Sequence[Exchanged | Told]) -> None:
    judged = [item if isinstance(item, Told) else _judge(item) for item in batch]
    events = [event for told in judged for event in told.events]
    with connection.transaction():
        all_moved = record_outcomes(connection, [told.ended for told in judged])
        tied = reconcile_answers(connection, events)
        if not all_moved:
            # An answer that came late may have brought the job of a request that was queued again meanwhile.
            took = {told.ended.attempt.request_id for told in judged if told.ended.decision.status in _TOOK}
            take_requests(connection, tied & took)
