"""Sends what is due: claims by lease, exchanges under greenlets, records the answers in batches.

No connection or transaction is held while a provider is talked to. An attempt is committed before its bytes leave, so
that a crash is visible as an attempt without an answer.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import Random

import gevent
import structlog
from gevent.pool import Group

from receiver.domain.backoff import RetryPolicy
from receiver.domain.jobs import EventSource, JobEvent
from receiver.domain.sending import (
    Attempt,
    Decision,
    NoResponse,
    NotSent,
    OnAmbiguous,
    ParsedResponse,
    RequestStatus,
    Response,
    RetryDecider,
    RetryRules,
)
from receiver.exchange.admission import NotAdmitted
from receiver.exchange.channels import Channel, Channels
from receiver.exchange.credentials import record_refusals
from receiver.exchange.rate_limiter import ExchangeOutcome, Permit
from receiver.providers.base import Provider
from receiver.reconcile import reconcile_responses
from receiver.store.clock import Clock
from receiver.store.database import Connection, Database, StoreUnavailable
from receiver.store.group_commit import GroupCommit, QueueFull
from receiver.store.limits import find_due_requests
from receiver.store.providers import CredentialRefusal
from receiver.store.requests import (
    AttemptOutcome,
    claim_requests,
    expire_requests,
    lock_lost_attempts,
    record_outcomes,
)
from receiver.store.unknown_requests import accept_known_requests

_BUSY, _IDLE, _STORE_AWAY = 0.02, 0.1, 0.5
_SWEEP = 500

_UNCONFIGURED = RetryRules(RetryPolicy(), OnAmbiguous.HOLD)

_random = Random()  # noqa: S311  # spreads retries, guards nothing
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CompletedAttempt:
    """An attempt that ended at `at` (UTC). It is judged where it is recorded, many in one go.

    `probe` says that the provider's circuit waits for it.
    """

    provider: Provider
    attempt: Attempt
    outcome: Response | NoResponse | NotSent
    at: datetime
    probe: bool = False


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """An attempt that is over, with the events its answer makes and whether it refused us; committed together."""

    ended: AttemptOutcome
    events: Sequence[JobEvent]
    refusal: CredentialRefusal | None = None


class _Backlog:
    """How much of a provider's work is in hand: attempts claimed and not yet answered, and how many ended lately."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.outstanding = 0
        self.ended_lately = 0

    def free(self) -> int:
        """Give how many more to claim: what runs at once, and ahead of it as many as ended since the last claim."""
        ahead, self.ended_lately = self.ended_lately, 0
        room = self.channel.admission.room
        return room + ahead - self.outstanding if room else 0


class SendLoop:
    """Sends the requests of all providers; `step` is called over and over by the worker."""

    def __init__(self, database: Database, channels: Channels, clock: Clock) -> None:
        self._database = database
        self._gates = channels.rate_limiter
        self._clock = clock
        self._backlogs = {name: _Backlog(channel) for name, channel in channels.items()}
        self._asking = {
            name: first_lookup_after
            for name, channel in channels.items()
            if (first_lookup_after := channel.provider.first_lookup_after) is not None
        }
        self._in_hand = Group()
        self._recorder = GroupCommit(database.dsn, self._record, max_waiting=100_000, size_of=_size_of)
        self._leases = channels.leases

    def step(self) -> float:
        """Claim what is due and begin sending it; gives the seconds until the next step."""
        capacities = [
            backlog.channel.build_capacity(free) for backlog in self._backlogs.values() if (free := backlog.free()) > 0
        ]
        if not capacities:
            return _BUSY
        begin_by = time.monotonic() + self._leases.patience
        permits = self._gates.claim(capacities, find_due_requests, partial(claim_requests, lease=self._leases.length))
        for permit in permits:
            self._backlogs[permit.work.provider].outstanding += 1
            self._in_hand.spawn(self._carry_out, permit, begin_by)
        return _BUSY if permits else _IDLE

    def sweep(self) -> float:
        """End what is past its deadline and judge attempts whose worker was lost; gives the seconds until the next."""
        with self._database.transaction() as connection:
            expired = expire_requests(connection, _SWEEP, self._asking)
            abandoned = lock_lost_attempts(connection, _SWEEP)
            record_outcomes(connection, [self._abandon(attempt) for attempt in abandoned])
        if expired or abandoned:
            _log.warning("requests.swept", expired=expired, abandoned=len(abandoned))
        return 1.0

    def drain(self, timeout: float) -> None:
        """Wait until what is in hand is recorded, at most `timeout` seconds, then stop recording."""
        self._in_hand.join(timeout)
        self._recorder.close()

    def _abandon(self, attempt: Attempt) -> AttemptOutcome:
        backlog = self._backlogs.get(attempt.provider)
        now, jitter = self._clock.now(), _random.random()
        case = (
            backlog.channel.provider.case(attempt, now, jitter)
            if backlog
            else RetryDecider(attempt, _UNCONFIGURED, now, jitter)
        )
        decision = case.lost()
        return AttemptOutcome(
            attempt, NoResponse(decision.detail or "", sent=True), decision, self._asking.get(attempt.provider)
        )

    def _carry_out(self, permit: Permit[Attempt], begin_by: float) -> None:
        attempt = permit.work
        backlog = self._backlogs[attempt.provider]
        try:
            outcome = _exchange(backlog.channel, permit, begin_by)
        finally:
            backlog.outstanding -= 1
            backlog.ended_lately += 1
        self._keep(CompletedAttempt(backlog.channel.provider, attempt, outcome, self._clock.now(), permit.probe))

    def _record(self, connection: Connection, batch: Sequence[CompletedAttempt | AttemptResult]) -> None:
        record_attempts(connection, batch)
        self._gates.tell(
            connection,
            [
                ExchangeOutcome(item.provider.name, item.outcome, item.at)
                for item in batch
                if isinstance(item, CompletedAttempt) and (item.probe or not isinstance(item.outcome, NotSent))
            ],
        )

    def _keep(self, exchanged: CompletedAttempt) -> None:
        """Record an exchange, however long the store is away: the provider has acted and will not say it again."""
        item: CompletedAttempt | AttemptResult = exchanged
        while True:
            try:
                return self._recorder.commit(item)
            except (StoreUnavailable, QueueFull) as error:
                _log.warning("attempt.not_recorded_yet", request_id=str(exchanged.attempt.request_id), error=str(error))
                gevent.sleep(_STORE_AWAY)
            except Exception as error:
                # Whatever it is, the provider has acted: without a record the request would be sent again.
                _log.exception("attempt.not_recordable", request_id=str(exchanged.attempt.request_id))
                if isinstance(item, AttemptResult):
                    raise
                item = _unreadable(exchanged, str(error))


def _exchange(channel: Channel, permit: Permit[Attempt], begin_by: float) -> Response | NoResponse | NotSent:
    try:
        return channel.exchange(channel.provider.compose(permit.work, channel.callback_url), permit, begin_by)
    except NotAdmitted as error:
        return NotSent(str(error))


def _size_of(item: CompletedAttempt | AttemptResult) -> int:
    return len(item.outcome.body) if isinstance(item, CompletedAttempt) and isinstance(item.outcome, Response) else 0


def _interpret(exchanged: CompletedAttempt) -> AttemptResult:
    provider, attempt, outcome, now = exchanged.provider, exchanged.attempt, exchanged.outcome, exchanged.at
    parsed = provider.interpret(outcome) if isinstance(outcome, Response) else ParsedResponse()
    decision = provider.case(attempt, now, _random.random()).decide(outcome, parsed)
    events = [
        provider.event(
            report,
            EventSource.RESPONSE,
            attempt.id,
            now,
            index=index,
            request_id=attempt.request_id,
            poll_after=decision.poll_after,
            location=decision.location,
            notify=attempt.notify,
        )
        for index, report in enumerate(decision.reports)
    ]
    refusal = CredentialRefusal(provider.name, provider.fingerprint, decision.pause) if decision.pause else None
    return AttemptResult(AttemptOutcome(attempt, outcome, decision, provider.first_lookup_after), events, refusal)


def _unreadable(exchanged: CompletedAttempt, problem: str) -> AttemptResult:
    detail = f"the answer cannot be stored: {problem}"
    decision = Decision(RequestStatus.UNKNOWN, detail=detail, ambiguous=True)
    return AttemptResult(
        AttemptOutcome(
            exchanged.attempt, NoResponse(detail, sent=True), decision, exchanged.provider.first_lookup_after
        ),
        [],
    )


def record_attempts(connection: Connection, batch: Sequence[CompletedAttempt | AttemptResult]) -> None:
    """Store attempts that ended with what their answers say, in one transaction."""
    judged = [item if isinstance(item, AttemptResult) else _interpret(item) for item in batch]
    with connection.transaction():
        all_moved = record_outcomes(connection, [told.ended for told in judged])
        tied = reconcile_responses(connection, [event for told in judged for event in told.events])
        if not all_moved:
            # An answer that came late may have brought the job of a request that was queued again meanwhile.
            took = {told.ended.attempt.request_id for told in judged if told.ended.decision.status.is_taken}
            accept_known_requests(connection, tied & took)
        # Last, as those who ask do: whoever holds a refusal then waits for no event or job.
        record_refusals(connection, [told.refusal for told in judged if told.refusal])
