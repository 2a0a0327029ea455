"""Asks providers about requests of which nobody knows whether they were taken, by our own reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from receiver.domain.backoff import retry_after
from receiver.domain.doubt import Doubt, Verdict, settle, unaskable
from receiver.domain.jobs import Event, Source
from receiver.domain.sending import SOON, Answer, NoAnswer, Reading, RequestStatus
from receiver.exchange.channels import Channels
from receiver.followup.asking import Asker, Inquiry
from receiver.providers.base import NotAskable, Outgoing, Provider
from receiver.reconcile import reconcile_answers
from receiver.store.clock import Clock
from receiver.store.database import Connection, Database
from receiver.store.doubts import Settled, claim_lookups, resume_lookups, settle_doubts, take_requests
from receiver.store.limits import Lane, lanes_with_lookups

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LookedUp:
    """A lookup that is over: what it decides and the events it makes."""

    settled: Settled
    events: Sequence[Event] = ()


def looker_up(database: Database, channels: Channels, clock: Clock) -> Asker[Doubt, LookedUp]:
    """Give the loop that asks all providers that can be asked about unknown requests."""
    ready = _Ready({name: channel.provider.ask_in for name, channel in channels.items()})
    inquiry = Inquiry("lookup", _can_look_up, ready, claim_lookups, _compose, judge, _postpone, record)
    return Asker(inquiry, database, channels, clock)


def _can_look_up(provider: Provider) -> bool:
    return provider.can_look_up


class _Ready:
    """Tells what is due; at first it makes due what became unknown before the provider could be asked."""

    def __init__(self, ask_in: Mapping[str, float | None]) -> None:
        self._asking = {name: seconds for name, seconds in ask_in.items() if seconds is not None}

    def __call__(self, connection: Connection, lanes: Sequence[Lane]) -> Mapping[str, bool]:
        if self._asking:
            resumed = resume_lookups(connection, self._asking)
            _log.info("lookup.resumed", requests=resumed)
            self._asking = {}
        return lanes_with_lookups(connection, lanes)


def _compose(provider: Provider, doubt: Doubt) -> Outgoing | LookedUp:
    try:
        return provider.compose_lookup(doubt)
    except NotAskable as error:
        return _looked_up(doubt, unaskable(str(error)))


def judge(provider: Provider, doubt: Doubt, outcome: Answer | NoAnswer, now: datetime, jitter: float) -> LookedUp:
    """Tell what an answer says of a request in doubt; pure."""
    looking = provider.looking
    if looking is None:
        raise ValueError(f"{provider.name} cannot be asked about requests")
    if isinstance(outcome, NoAnswer):
        wait, reading = None, Reading(problem=f"no answer: {outcome.error}")
    else:
        wait, reading = retry_after(outcome.headers.get("retry-after"), now), provider.interpret_lookup(outcome)
    verdict = settle(doubt, looking, provider.policy, reading, jitter=jitter, wait=wait)
    events = [
        provider.event(report, Source.POLL, doubt.id, now, index=index, request_id=doubt.id, notify=doubt.notify)
        for index, report in enumerate(verdict.reports)
    ]
    return _looked_up(doubt, verdict, events)


def _postpone(doubt: Doubt) -> LookedUp:
    return _looked_up(doubt, Verdict(RequestStatus.UNKNOWN, next_in=SOON))


def _looked_up(doubt: Doubt, verdict: Verdict, events: Sequence[Event] = ()) -> LookedUp:
    settled = Settled(
        id=doubt.id,
        asked=doubt.asked,
        doubted_at=doubt.doubted_at,
        status=verdict.status,
        detail=verdict.detail,
        next_in=verdict.next_in,
        absent=verdict.absent,
    )
    return LookedUp(settled, events)


def record(connection: Connection, batch: Sequence[LookedUp]) -> None:
    """Store what was said of requests in doubt; call within a transaction."""
    moved = settle_doubts(connection, [one.settled for one in batch])
    tied = reconcile_answers(connection, [event for one in batch for event in one.events])
    # What was found of a request that was queued again meanwhile counts as well.
    took = {one.settled.id for one in batch if one.settled.status.is_taken}
    take_requests(connection, tied & took - moved)
    for one in batch:
        if one.settled.id in moved and one.settled.status is not RequestStatus.UNKNOWN:
            _log.info("request.settled", request_id=str(one.settled.id), status=one.settled.status)
