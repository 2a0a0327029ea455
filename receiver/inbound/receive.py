"""What becomes of a delivery that proved its sender: read → keep with its events → outcome.

Whatever a verified callback holds, it is kept: readable or not, mapped or not, late, repeated or contradicting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from receiver.domain.callbacks import IncomingCallback, parse_attempt_token
from receiver.domain.errors import ReceiverError
from receiver.domain.jobs import EventSource, JobEvent, derive_id
from receiver.inbound.request_hints import reconcile_hinted
from receiver.providers.base import MalformedCallback, Provider
from receiver.reconcile import reconcile
from receiver.store.callbacks import StoredCallback, Verdict
from receiver.store.database import Connection, Unstorable
from receiver.store.group_commit import GroupCommit
from receiver.store.jobs import schedule_polls_now

_log = structlog.get_logger(__name__)


class UnreadableCallback(ReceiverError):
    """A verified callback cannot be read; it is kept. `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("the callback was kept but cannot be read")
        self.errors = errors


@dataclass(frozen=True, slots=True)
class ParsedCallback:
    """A callback and the events it makes, to be committed together; `asked` are the jobs to ask about at once."""

    callback: StoredCallback
    events: Sequence[JobEvent] = ()
    asked: Sequence[UUID] = ()


class VerifiedCallback:
    """A verified delivery on its way into the store. It is read where it is stored: many in a row cost less."""

    def __init__(self, provider: Provider, callback: IncomingCallback) -> None:
        self.callback = callback
        self._provider = provider

    @cached_property
    def received(self) -> ParsedCallback:
        """What it is read as, read once."""
        return parse_callback(self._provider, self.callback)

    def condemn(self, errors: Mapping[str, Any]) -> None:
        """Call it malformed after all."""
        self.received = _malformed(self.received.callback, errors)


class CallbackBatcher(GroupCommit[VerifiedCallback]):
    """Commits what arrived, in batches; see `GroupCommit` for what `commit` raises."""

    def __init__(self, dsn: str, *, max_waiting: int = 2_000) -> None:
        super().__init__(
            dsn, _record_batch, max_waiting=max_waiting, size_of=lambda arrival: len(arrival.callback.body)
        )


def receive(inbox: CallbackBatcher, provider: Provider, callback: IncomingCallback, *, timeout: float) -> None:
    """Keep a verified delivery with what it says; returns when that is committed.

    Raises:
        MalformedDelivery: nothing in it can be read; the delivery is kept with the errors all the same. Where only
            some items cannot, the others are recorded, the errors are kept and it is taken.
        QueueFull, StoreUnavailable: it could not be committed, or not within `timeout` seconds; the provider is to
            send it again.
    """
    arrival = VerifiedCallback(provider, callback)
    try:
        inbox.commit(arrival, timeout=timeout)
    except Unstorable as error:
        arrival.condemn({"_body": [f"cannot be stored: {error}"]})
        inbox.commit(arrival, timeout=timeout)
    received = arrival.received
    errors = received.callback.errors
    if errors is None:
        return
    _log.warning("callback.malformed", provider=provider.name, callback_id=str(received.callback.id))
    if not received.events:
        raise UnreadableCallback(errors)


def parse_callback(provider: Provider, callback: IncomingCallback, callback_id: UUID | None = None) -> ParsedCallback:
    """Read a verified delivery into the callback to keep and the events it makes. Pure but for a new row's id."""
    said = callback.body or callback.query.encode(errors="surrogateescape")
    identity = derive_id(provider.name.encode(), provider.event_id(callback).encode(), said)
    stored = StoredCallback(
        id=callback_id or uuid7(),
        identity=identity,
        provider=provider.name,
        received_at=callback.received_at,
        verdict=Verdict.ACCEPTED,
        method=callback.method,
        target=callback.target,
        headers=callback.headers,
        body=callback.body,
    )
    try:
        parsed = provider.parse(callback)
    except MalformedCallback as error:
        return _malformed(stored, error.errors)
    reports = [(index, provider.weigh(report)) for index, report in parsed.reports]
    if parsed.errors:
        stored = replace(stored, verdict=Verdict.INVALID, errors=parsed.errors)
    elif any(report.status is None and not report.needs_poll for _, report in reports):
        stored = replace(stored, verdict=Verdict.UNMAPPED)
    token = parse_attempt_token(callback) if provider.callback_settings.by_token else None
    events = [
        provider.event(
            report,
            EventSource.CALLBACK,
            identity,
            callback.received_at,
            index=index,
            callback_id=stored.id,
            token=token,
        )
        for index, report in reports
    ]
    asked = [event.job_id for event, (_, report) in zip(events, reports, strict=True) if report.needs_poll]
    return ParsedCallback(stored, events, asked)


def _malformed(stored: StoredCallback, errors: Mapping[str, Any]) -> ParsedCallback:
    return ParsedCallback(replace(stored, verdict=Verdict.INVALID, errors=errors))


def record_callbacks(
    connection: Connection, events: Sequence[JobEvent], callbacks: Sequence[StoredCallback], asked: Sequence[UUID]
) -> None:
    """Record callbacks with their events, in one transaction, and have the jobs `asked` asked about at once."""
    claiming = any(event.request_hint for event in events)
    if not asked and not claiming:
        reconcile(connection, events, callbacks)
        return
    with connection.transaction():
        if claiming:
            reconcile_hinted(connection, events, callbacks)
        else:
            reconcile(connection, events, callbacks)
        if asked:
            schedule_polls_now(connection, asked)


def _record_batch(connection: Connection, batch: Sequence[VerifiedCallback]) -> None:
    events = [event for arrival in batch for event in arrival.received.events]
    callbacks = [arrival.received.callback for arrival in batch]
    asked = [job_id for arrival in batch for job_id in arrival.received.asked]
    record_callbacks(connection, events, callbacks, asked)
