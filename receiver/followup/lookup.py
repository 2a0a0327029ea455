"""Asks providers about requests of which nobody knows whether they were taken, by our own reference."""

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
    """A lookup that is over: what it decides and the events it makes."""

    settled: LookupUpdate
    events: Sequence[JobEvent] = ()


def build_lookup_loop(
    database: Database, channels: Channels, clock: Clock
) -> FollowUpLoop[UnknownRequest, LookupOutcome]:
    """Give the loop that asks all providers that can be asked about unknown requests."""
    ready = _Ready({name: channel.provider.first_lookup_after for name, channel in channels.items()})
    inquiry = FollowUpTask(
        "lookup", _can_look_up, ready, claim_lookups, _compose, interpret_lookup, _postpone, record_lookups
    )
    return FollowUpLoop(inquiry, database, channels, clock)


def _can_look_up(provider: Provider) -> bool:
    return provider.can_look_up


class _Ready:
    """Tells what is due; at first it makes due what became unknown before the provider could be asked."""

    def __init__(self, first_lookup_after: Mapping[str, float | None]) -> None:
        self._asking = {name: seconds for name, seconds in first_lookup_after.items() if seconds is not None}

    def __call__(self, connection: Connection, capacities: Sequence[ProviderCapacity]) -> Mapping[str, bool]:
        if self._asking:
            resumed = resume_lookups(connection, self._asking)
            _log.info("lookup.resumed", requests=resumed)
            self._asking = {}
        return find_due_lookups(connection, capacities)


def _compose(provider: Provider, unknown_request: UnknownRequest) -> OutgoingRequest | LookupOutcome:
    try:
        return provider.compose_lookup(unknown_request)
    except LookupImpossible as error:
        return _looked_up(unknown_request, reject_lookup(str(error)))


def interpret_lookup(
    provider: Provider, unknown_request: UnknownRequest, outcome: Response | NoResponse, now: datetime, jitter: float
) -> LookupOutcome:
    """Tell what an answer says of a request in doubt; pure."""
    lookup_policy = provider.lookup_policy
    if lookup_policy is None:
        raise ValueError(f"{provider.name} cannot be asked about requests")
    if isinstance(outcome, NoResponse):
        wait, parsed = None, ParsedResponse(problem=f"no answer: {outcome.error}")
    else:
        wait, parsed = parse_retry_after(outcome.headers.get("retry-after"), now), provider.interpret_lookup(outcome)
    verdict = decide_lookup(unknown_request, lookup_policy, provider.retry_rules, parsed, jitter=jitter, wait=wait)
    events = [
        provider.event(
            report,
            EventSource.POLL,
            unknown_request.id,
            now,
            index=index,
            request_id=unknown_request.id,
            notify=unknown_request.notify,
        )
        for index, report in enumerate(verdict.reports)
    ]
    return _looked_up(unknown_request, verdict, events)


def _postpone(unknown_request: UnknownRequest) -> LookupOutcome:
    return _looked_up(unknown_request, LookupResult(RequestStatus.UNKNOWN, next_in=RETRY_UNSENT_AFTER_S))


def _looked_up(
    unknown_request: UnknownRequest, verdict: LookupResult, events: Sequence[JobEvent] = ()
) -> LookupOutcome:
    settled = LookupUpdate(
        id=unknown_request.id,
        lookup_count=unknown_request.lookup_count,
        unknown_since=unknown_request.unknown_since,
        status=verdict.status,
        detail=verdict.detail,
        next_in=verdict.next_in,
        absent=verdict.absent,
    )
    return LookupOutcome(settled, events)


def record_lookups(connection: Connection, batch: Sequence[LookupOutcome]) -> None:
    """Store what was said of requests in doubt; call within a transaction."""
    moved = record_lookup_results(connection, [one.settled for one in batch])
    tied = reconcile_responses(connection, [event for one in batch for event in one.events])
    # What was found of a request that was queued again meanwhile counts as well.
    took = {one.settled.id for one in batch if one.settled.status.is_taken}
    accept_known_requests(connection, tied & took - moved)
    for one in batch:
        if one.settled.id in moved and one.settled.status is not RequestStatus.UNKNOWN:
            _log.info("request.settled", request_id=str(one.settled.id), status=one.settled.status)
