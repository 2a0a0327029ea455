"""Receiving a verified callback: parse it, store it with its events, reconcile the events into jobs.

Every verified callback is stored: malformed or not, with or without unmapped statuses, late, repeated or contradicting.
Authentication comes before (`receiver.inbound.authentication`), the response after (`receiver.web.callbacks`).
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
    """A verified callback was stored, but nothing in it can be parsed; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("The callback was stored but cannot be parsed.")
        self.errors = errors


@dataclass(frozen=True, slots=True)
class ParsedCallback:
    """A callback and its events, to be committed together.

    `job_ids_to_poll` are the jobs that are polled at once, because the callback itself does not decide their status.
    """

    callback: StoredCallback
    events: Sequence[JobEvent] = ()
    job_ids_to_poll: Sequence[UUID] = ()


class VerifiedCallback:
    """A verified callback that waits for its commit.

    The flusher of `CallbackBatcher` parses it, not the request that received it: parsing many callbacks in a row takes
    less CPU time per callback.
    """

    def __init__(self, provider: Provider, callback: IncomingCallback) -> None:
        self.callback = callback
        self._provider = provider

    @cached_property
    def parsed(self) -> ParsedCallback:
        """The parsed callback; parsed at the first access."""
        return parse_callback(self._provider, self.callback)

    def mark_malformed(self, errors: Mapping[str, Any]) -> None:
        """Replace the events of the callback by `errors`, for a callback that Postgres cannot store as it is."""
        self.parsed = _build_malformed(self.parsed.callback, errors)


class CallbackBatcher(GroupCommit[VerifiedCallback]):
    """The group commit of verified callbacks; see `GroupCommit` for what `commit` raises."""

    def __init__(self, dsn: str, *, max_waiting: int = 2_000) -> None:
        super().__init__(
            dsn, _record_batch, max_waiting=max_waiting, get_size=lambda verified: len(verified.callback.body)
        )


def receive(batcher: CallbackBatcher, provider: Provider, callback: IncomingCallback, *, timeout: float) -> None:
    """Store a verified callback with its events; return when they are committed.

    A callback of which only some items are malformed is accepted: the events of the other items are stored, and the
    errors with them.

    Args:
        batcher: commits the callback.
        provider: the sender of the callback.
        callback: the verified callback.
        timeout: seconds to wait for each commit.

    Raises:
        UnreadableCallback: nothing in the callback can be parsed; it is stored with the errors.
        QueueFull, StoreUnavailable: the callback was not committed, or not in time; the provider must send it again.
    """
    verified = VerifiedCallback(provider, callback)
    try:
        batcher.commit(verified, timeout=timeout)
    except Unstorable as error:
        verified.mark_malformed({"_body": [f"Cannot be stored: {error}."]})
        batcher.commit(verified, timeout=timeout)
    parsed = verified.parsed
    errors = parsed.callback.errors
    if errors is None:
        return
    _log.warning("callback.parse_failed", provider=provider.name, callback_id=str(parsed.callback.id))
    if not parsed.events:
        raise UnreadableCallback(errors)


def parse_callback(provider: Provider, callback: IncomingCallback, callback_id: UUID | None = None) -> ParsedCallback:
    """Parse a verified callback into the row to store and its events.

    The function is pure, except that it generates an id for a new row.

    Args:
        provider: the sender of the callback.
        callback: the verified callback.
        callback_id: the id of the stored callback when it is replayed; None for a new one.
    """
    # A GET callback has no body: its query is its content.
    content = callback.body or callback.query.encode(errors="surrogateescape")
    identity = derive_id(provider.name.encode(), provider.find_event_id(callback).encode(), content)
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
        return _build_malformed(stored, error.errors)
    reports = [(index, provider.apply_trust(report)) for index, report in parsed.reports]
    if parsed.errors:
        stored = replace(stored, verdict=Verdict.INVALID, errors=parsed.errors)
    elif any(report.status is None and not report.needs_poll for _, report in reports):
        stored = replace(stored, verdict=Verdict.UNMAPPED)
    token = parse_attempt_token(callback) if provider.callback_settings.uses_attempt_token else None
    events = [
        provider.build_event(
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
    job_ids_to_poll = [event.job_id for event, (_, report) in zip(events, reports, strict=True) if report.needs_poll]
    return ParsedCallback(stored, events, job_ids_to_poll)


def record_callbacks(
    connection: Connection,
    events: Sequence[JobEvent],
    callbacks: Sequence[StoredCallback],
    job_ids_to_poll: Sequence[UUID],
) -> None:
    """Store callbacks and reconcile their events, in one transaction, and make `job_ids_to_poll` due for a poll."""
    has_hints = any(event.request_hint for event in events)
    if not job_ids_to_poll and not has_hints:
        reconcile(connection, events, callbacks)  # A single statement needs no explicit transaction.
        return
    with connection.transaction():
        if has_hints:
            reconcile_hinted(connection, events, callbacks)
        else:
            reconcile(connection, events, callbacks)
        if job_ids_to_poll:
            schedule_polls_now(connection, job_ids_to_poll)


def _build_malformed(stored: StoredCallback, errors: Mapping[str, Any]) -> ParsedCallback:
    return ParsedCallback(replace(stored, verdict=Verdict.INVALID, errors=errors))


def _record_batch(connection: Connection, batch: Sequence[VerifiedCallback]) -> None:
    events = [event for verified in batch for event in verified.parsed.events]
    callbacks = [verified.parsed.callback for verified in batch]
    job_ids_to_poll = [job_id for verified in batch for job_id in verified.parsed.job_ids_to_poll]
    record_callbacks(connection, events, callbacks, job_ids_to_poll)
