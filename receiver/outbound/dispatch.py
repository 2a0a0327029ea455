"""The send loop: leases due requests, sends them under greenlets and records the outcomes in batches.

No connection or transaction is held during an exchange with a provider. An attempt is committed before its bytes leave,
so that a crash is visible as an attempt without an outcome.
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

_BUSY_INTERVAL_S, _IDLE_INTERVAL_S = 0.02, 0.1
_SWEEP_INTERVAL_S = 1.0
_SWEEP_BATCH_SIZE = 500
_RECORD_RETRY_INTERVAL_S = 0.5
_MAX_QUEUED_RECORDS = 100_000

_DEFAULT_RETRY_RULES = RetryRules(RetryPolicy(), OnAmbiguous.HOLD)
"""The rules for a provider that is not configured any more: never send again."""

_random = Random()  # noqa: S311  # spreads retries; not for security
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CompletedAttempt:
    """An attempt whose exchange ended at `ended_at` (UTC); it is interpreted when its batch is recorded.

    `probe`: the provider's circuit waits for this attempt.
    """

    provider: Provider
    attempt: Attempt
    outcome: Response | NoResponse | NotSent
    ended_at: datetime
    probe: bool = False


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What an attempt changes, committed together: its outcome, its events, and a refusal of our credentials."""

    attempt_outcome: AttemptOutcome
    events: Sequence[JobEvent]
    refusal: CredentialRefusal | None = None


class _Backlog:
    """One provider's claimed attempts: how many have no outcome yet, and how many ended since the last claim."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.outstanding = 0
        self.ended_since_claim = 0

    def take_free(self) -> int:
        """Return how many more attempts to claim, and reset the count of ended attempts.

        As many are claimed as may run at once, and as many ahead of them as ended since the last claim: a place that
        becomes free is filled without waiting for the next claim.
        """
        ahead, self.ended_since_claim = self.ended_since_claim, 0
        capacity = self.channel.admission.capacity
        return capacity + ahead - self.outstanding if capacity else 0


class SendLoop:
    """Sends the requests of all providers; the worker calls `step` and `sweep` repeatedly."""

    def __init__(self, database: Database, channels: Channels, clock: Clock) -> None:
        self._database = database
        self._rate_limiter = channels.rate_limiter
        self._clock = clock
        self._backlogs = {name: _Backlog(channel) for name, channel in channels.items()}
        self._lookup_delays = {
            name: first_lookup_after
            for name, channel in channels.items()
            if (first_lookup_after := channel.provider.first_lookup_after) is not None
        }
        self._greenlets = Group()
        self._recorder = GroupCommit(
            database.dsn, self._record, max_waiting=_MAX_QUEUED_RECORDS, get_size=_compute_size
        )
        self._lease_policy = channels.lease_policy

    def step(self) -> float:
        """Claim due requests and begin sending them; return the seconds until the next step."""
        capacities = [
            backlog.channel.build_capacity(free)
            for backlog in self._backlogs.values()
            if (free := backlog.take_free()) > 0
        ]
        if not capacities:
            return _BUSY_INTERVAL_S
        begin_by = time.monotonic() + self._lease_policy.max_wait
        permits = self._rate_limiter.claim(
            capacities, find_due_requests, partial(claim_requests, lease=self._lease_policy.duration)
        )
        for permit in permits:
            self._backlogs[permit.work.provider].outstanding += 1
            self._greenlets.spawn(self._send, permit, begin_by)
        return _BUSY_INTERVAL_S if permits else _IDLE_INTERVAL_S

    def sweep(self) -> float:
        """Expire requests past their deadline and end attempts whose worker was lost.

        Returns:
            The seconds until the next sweep.
        """
        with self._database.transaction() as connection:
            expired = expire_requests(connection, _SWEEP_BATCH_SIZE, self._lookup_delays)
            lost_attempts = lock_lost_attempts(connection, _SWEEP_BATCH_SIZE)
            record_outcomes(connection, [self._abandon(attempt) for attempt in lost_attempts])
        if expired or lost_attempts:
            _log.warning("requests.swept", expired=expired, abandoned=len(lost_attempts))
        return _SWEEP_INTERVAL_S

    def drain(self, timeout: float) -> None:
        """Wait at most `timeout` seconds until all exchanges are recorded, then stop recording."""
        self._greenlets.join(timeout)
        self._recorder.close()

    def _abandon(self, attempt: Attempt) -> AttemptOutcome:
        """Decide about an attempt whose worker was lost."""
        backlog = self._backlogs.get(attempt.provider)
        now, jitter = self._clock.now(), _random.random()
        decider = (
            backlog.channel.provider.build_decider(attempt, now, jitter)
            if backlog
            else RetryDecider(attempt, _DEFAULT_RETRY_RULES, now, jitter)
        )
        decision = decider.on_worker_lost()
        return AttemptOutcome(
            attempt, NoResponse(decision.detail or "", sent=True), decision, self._lookup_delays.get(attempt.provider)
        )

    def _send(self, permit: Permit[Attempt], begin_by: float) -> None:
        attempt = permit.work
        backlog = self._backlogs[attempt.provider]
        try:
            outcome = _exchange(backlog.channel, permit, begin_by)
        finally:
            backlog.outstanding -= 1
            backlog.ended_since_claim += 1
        self._commit(CompletedAttempt(backlog.channel.provider, attempt, outcome, self._clock.now(), permit.probe))

    def _record(self, connection: Connection, batch: Sequence[CompletedAttempt | AttemptResult]) -> Sequence[None]:
        record_attempts(connection, batch)
        self._rate_limiter.report(
            connection,
            [
                ExchangeOutcome(item.provider.name, item.outcome, item.ended_at)
                for item in batch
                if isinstance(item, CompletedAttempt) and (item.probe or not isinstance(item.outcome, NotSent))
            ],
        )
        return [None] * len(batch)

    def _commit(self, completed: CompletedAttempt) -> None:
        """Commit an attempt, however long the store is unavailable: the provider acted and will not respond again."""
        item: CompletedAttempt | AttemptResult = completed
        request_id = str(completed.attempt.request_id)
        while True:
            try:
                return self._recorder.commit(item)
            except (StoreUnavailable, QueueFull) as error:
                _log.warning("attempt.record_delayed", request_id=request_id, error=str(error))
                gevent.sleep(_RECORD_RETRY_INTERVAL_S)
            except Exception as error:
                # Of any kind: the provider has acted, and without a record the request would be sent again.
                _log.exception("attempt.record_failed", request_id=request_id)
                if isinstance(item, AttemptResult):
                    raise
                item = _build_unstorable_result(completed, str(error))


def _exchange(channel: Channel, permit: Permit[Attempt], begin_by: float) -> Response | NoResponse | NotSent:
    try:
        return channel.exchange(channel.provider.compose(permit.work, channel.callback_url), permit, begin_by)
    except NotAdmitted as error:
        return NotSent(str(error))


def _compute_size(item: CompletedAttempt | AttemptResult) -> int:
    return len(item.outcome.body) if isinstance(item, CompletedAttempt) and isinstance(item.outcome, Response) else 0


def _interpret(completed: CompletedAttempt) -> AttemptResult:
    provider, attempt, outcome, now = completed.provider, completed.attempt, completed.outcome, completed.ended_at
    parsed = provider.interpret(outcome) if isinstance(outcome, Response) else ParsedResponse()
    decision = provider.build_decider(attempt, now, _random.random()).decide(outcome, parsed)
    events = [
        provider.build_event(
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


def _build_unstorable_result(completed: CompletedAttempt, error: str) -> AttemptResult:
    """Return the result of an attempt whose response cannot be stored: its request is unknown."""
    detail = f"the response cannot be stored: {error}"
    decision = Decision(RequestStatus.UNKNOWN, detail=detail, ambiguous=True)
    return AttemptResult(
        AttemptOutcome(
            completed.attempt, NoResponse(detail, sent=True), decision, completed.provider.first_lookup_after
        ),
        [],
    )


def record_attempts(connection: Connection, batch: Sequence[CompletedAttempt | AttemptResult]) -> None:
    """Store the outcomes of attempts and the events of their responses, in one transaction."""
    results = [item if isinstance(item, AttemptResult) else _interpret(item) for item in batch]
    with connection.transaction():
        all_moved = record_outcomes(connection, [result.attempt_outcome for result in results])
        matched = reconcile_responses(connection, [event for result in results for event in result.events])
        if not all_moved:
            # A late response may contain the job of a request that was queued again in the meantime.
            accepted = {
                result.attempt_outcome.attempt.request_id
                for result in results
                if result.attempt_outcome.decision.status.was_accepted
            }
            accept_known_requests(connection, matched & accepted)
        # Last, as in the follow-up loop: a transaction that holds a refusal's lock then waits for no event or job.
        record_refusals(connection, [result.refusal for result in results if result.refusal])
