"""Sweeping requests: those past their deadline expire, and attempts end whose worker was lost."""

from collections.abc import Mapping
from random import Random

import structlog

from receiver.domain.backoff import RetryPolicy
from receiver.domain.decisions import RetryDecider
from receiver.domain.sending import Attempt, NoResponse, OnAmbiguous, RetryRules
from receiver.providers.base import Provider, find_lookup_delays
from receiver.store.clock import Clock
from receiver.store.database import Database
from receiver.store.reference_conflicts import expire_reference_conflicts
from receiver.store.requests import AttemptOutcome, expire_requests, lock_lost_attempts, record_outcomes

_INTERVAL_S = 1.0
_BATCH_SIZE = 500
_MAX_LOGGED = 20

_DEFAULT_RETRY_RULES = RetryRules(RetryPolicy(), OnAmbiguous.HOLD)
"""The rules for a provider that is not configured any more: never send again."""

_random = Random()  # noqa: S311  # spreads retries; not for security
_log = structlog.get_logger(__name__)


def sweep_requests(database: Database, providers: Mapping[str, Provider], clock: Clock) -> float:
    """Expire requests and reference conflicts past their deadline, and end attempts whose worker was lost.

    Returns:
        The seconds until the next sweep.
    """
    with database.transaction() as connection:
        expired = expire_requests(connection, _BATCH_SIZE, find_lookup_delays(providers))
        conflicts = expire_reference_conflicts(connection, _BATCH_SIZE)
        lost_attempts = lock_lost_attempts(connection, _BATCH_SIZE)
        record_outcomes(
            connection, [abandon_attempt(attempt, providers.get(attempt.provider), clock) for attempt in lost_attempts]
        )
    if expired or conflicts or lost_attempts:
        _log.warning(
            "requests.swept",
            expired=expired,
            reference_conflicts=conflicts,
            abandoned=len(lost_attempts),
            requests=[str(attempt.request_id) for attempt in lost_attempts[:_MAX_LOGGED]],
        )
    return _INTERVAL_S


def abandon_attempt(attempt: Attempt, provider: Provider | None, clock: Clock) -> AttemptOutcome:
    """Decide about an attempt whose worker was lost; without a provider if that is not configured any more."""
    now, jitter = clock.now(), _random.random()
    decider = (
        provider.sender.build_decider(attempt, provider.retry_rules, now, jitter)
        if provider and provider.sender
        else RetryDecider(attempt, _DEFAULT_RETRY_RULES, now, jitter)
    )
    decision = decider.on_worker_lost()
    first_lookup_after = provider.first_lookup_after if provider else None
    return AttemptOutcome(attempt, NoResponse(decision.detail or "", sent=True), decision, first_lookup_after)
