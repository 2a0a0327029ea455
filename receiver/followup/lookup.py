"""Lookups: asking a provider by our own reference whether it accepted a request whose status is `unknown`.

What a lookup result means for the request is decided by `receiver.domain.unknown_requests`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from receiver.domain.backoff import parse_retry_after
from receiver.domain.jobs import EventSource, JobEvent
from receiver.domain.sending import RETRY_UNSENT_AFTER_S, NoResponse, ParsedResponse, RequestStatus, Response
from receiver.domain.unknown_requests import LookupResult, UnknownRequest, decide_lookup, reject_lookup
from receiver.exchange.channels import Channels
from receiver.followup.loop import FollowUpLoop, FollowUpTask
from receiver.providers.base import LookupImpossible, OutgoingRequest, Provider
from receiver.reconcile import reconcile_responses
from receiver.store.clock import Clock
from receiver.store.database import Connection, Database
from receiver.store.limits import ProviderCapacity, find_due_lookups
from receiver.store.unknown_requests import (
    LookupUpdate,
    accept_known_requests,
    claim_lookups,
    record_lookup_results,
    resume_lookups,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LookupOutcome:
    """The outcome of a lookup: the update of the request, and the events of its jobs."""

    update: LookupUpdate
    events: Sequence[JobEvent] = ()


def build_lookup_loop(
    database: Database, channels: Channels, clock: Clock
) -> FollowUpLoop[UnknownRequest, LookupOutcome]:
    """Return the loop that looks up unknown requests at all providers that support it."""
    find_due = _DueLookups({name: channel.provider.first_lookup_after for name, channel in channels.items()})
    task = FollowUpTask(
        "lookup",
        _can_look_up,
        find_due,
        claim_lookups,
        _compose_lookup,
        interpret_lookup,
        _postpone_lookup,
        record_lookups,
    )
    return FollowUpLoop(task, database, channels, clock)


def _can_look_up(provider: Provider) -> bool:
    return provider.can_look_up


class _DueLookups:
    """Finds the providers with due lookups.

    The first call also schedules lookups for requests that became unknown before their provider supported lookups.
    """

    def __init__(self, first_lookup_after: Mapping[str, float | None]) -> None:
        self._delays_to_resume = {name: seconds for name, seconds in first_lookup_after.items() if seconds is not None}

    def __call__(self, connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
        if self._delays_to_resume:
            count = resume_lookups(connection, self._delays_to_resume)
            _log.info("lookups.resumed", requests=count)
            self._delays_to_resume = {}
        return find_due_lookups(connection, capacities)


def _compose_lookup(provider: Provider, unknown_request: UnknownRequest) -> OutgoingRequest | LookupOutcome:
    try:
        return provider.compose_lookup(unknown_request)
    except LookupImpossible as error:
        return _build_outcome(unknown_request, reject_lookup(str(error)))


def interpret_lookup(
    provider: Provider, unknown_request: UnknownRequest, outcome: Response | NoResponse, now: datetime, jitter: float
) -> LookupOutcome:
    """Interpret the outcome of a lookup; pure.

    Args:
        provider: the provider that was asked; it must support lookups.
        unknown_request: the request that was looked up.
        outcome: the provider's response, or its absence.
        now: the time of the outcome (UTC).
        jitter: evenly distributed from 0 to 1; spreads the next lookups.
    """
    lookup_policy = provider.lookup_policy
    if lookup_policy is None:
        raise ValueError(f"provider {provider.name} has no lookup policy")
    if isinstance(outcome, NoResponse):
        retry_after, parsed = None, ParsedResponse(problem=f"no response: {outcome.error}")
    else:
        retry_after = parse_retry_after(outcome.headers.get("retry-after"), now)
        parsed = provider.interpret_lookup(outcome)
    result = decide_lookup(
        unknown_request, lookup_policy, provider.retry_rules, parsed, jitter=jitter, wait=retry_after
    )
    events = [
        provider.build_event(
            report,
            EventSource.POLL,
            unknown_request.id,
            now,
            index=index,
            request_id=unknown_request.id,
            notify=unknown_request.notify,
        )
        for index, report in enumerate(result.reports)
    ]
    return _build_outcome(unknown_request, result, events)


def _postpone_lookup(unknown_request: UnknownRequest) -> LookupOutcome:
    return _build_outcome(unknown_request, LookupResult(RequestStatus.UNKNOWN, next_in=RETRY_UNSENT_AFTER_S))


def _build_outcome(
    unknown_request: UnknownRequest, result: LookupResult, events: Sequence[JobEvent] = ()
) -> LookupOutcome:
    update = LookupUpdate(
        id=unknown_request.id,
        lookup_count=unknown_request.lookup_count,
        unknown_since=unknown_request.unknown_since,
        status=result.status,
        detail=result.detail,
        next_in=result.next_in,
        absent=result.absent,
    )
    return LookupOutcome(update, events)


def record_lookups(connection: Connection, batch: Sequence[LookupOutcome]) -> None:
    """Store the outcomes of lookups with their events; call within a transaction."""
    updated_ids = record_lookup_results(connection, [outcome.update for outcome in batch])
    matched_ids = reconcile_responses(connection, [event for outcome in batch for event in outcome.events])
    # An operator may have queued the request again during the lookup, so that its update does not apply any more. A job
    # that the lookup found still proves that the provider accepted the request.
    accepted_ids = {outcome.update.id for outcome in batch if outcome.update.status.was_accepted}
    accept_known_requests(connection, matched_ids & accepted_ids - updated_ids)
    for outcome in batch:
        update = outcome.update
        if update.id in updated_ids and update.status is not RequestStatus.UNKNOWN:
            _log.info("request.settled", request_id=str(update.id), status=update.status)
