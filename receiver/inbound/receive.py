"""Receiving a verified callback: parse it, store it with its events, reconcile the events into jobs.

Every verified callback is stored: malformed or not, with or without unmapped statuses, late, repeated or contradicting.
Authentication comes before (`receiver.inbound.authentication`), the response after (`receiver.web.callbacks`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog

from receiver.domain.callbacks import parse_attempt_token
from receiver.domain.errors import ReceiverError
from receiver.domain.jobs import EventSource, JobEvent, StatusReport, derive_id
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.request_hints import reconcile_hinted
from receiver.providers.capabilities import MalformedCallback
from receiver.reconcile import reconcile
from receiver.signatures.base import Trust
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
    """A callback as it is stored, and its events, to be committed together.

    `job_ids_to_poll` are the jobs that are polled at once, because the callback itself does not decide their status.
    """

    stored: StoredCallback
    events: Sequence[JobEvent] = ()
    job_ids_to_poll: Sequence[UUID] = ()


class CallbackBatcher(GroupCommit[VerifiedCallback | ParsedCallback, ParsedCallback]):
    """The group commit of callbacks; see `GroupCommit` for what `commit` raises.

    A verified callback is parsed here, in its batch, and not by the request that received it: parsing many callbacks in
    a row takes less CPU time per callback. A parsed callback is stored as it is.
    """

    def __init__(self, dsn: str, *, max_waiting: int = 2_000) -> None:
        super().__init__(dsn, _record_batch, max_waiting=max_waiting, get_size=_get_body_size)


def receive(batcher: CallbackBatcher, verified: VerifiedCallback, *, timeout: float) -> None:
    """Store a verified callback with its events; return when they are committed.

    A callback of which only some items are malformed is accepted: the events of the other items are stored, and the
    errors with them. A callback that Postgres cannot store as it is, is stored with an error instead of its events.

    Args:
        batcher: parses and commits the callback.
        verified: the callback.
        timeout: seconds to wait for each commit.

    Raises:
        UnreadableCallback: nothing in the callback can be parsed; it is stored with the errors.
        QueueFull, StoreUnavailable: the callback was not committed, or not in time; the provider must send it again.
    """
    try:
        parsed = batcher.commit(verified, timeout=timeout)
    except Unstorable as error:
        malformed = _build_malformed(_build_stored(verified), {"_body": [f"Cannot be stored: {error}."]})
        parsed = batcher.commit(malformed, timeout=timeout)
    errors = parsed.stored.errors
    if errors is None:
        return
    _log.warning("callback.parse_failed", provider=parsed.stored.provider, callback_id=str(parsed.stored.id))
    if not parsed.events:
        raise UnreadableCallback(errors)


def parse_callback(verified: VerifiedCallback) -> ParsedCallback:
    """Parse a verified callback into the row to store and its events."""
    provider, incoming = verified.provider, verified.incoming
    callbacks = provider.require_callbacks()
    stored = _build_stored(verified)
    try:
        parsed = callbacks.parse(incoming)
    except MalformedCallback as error:
        return _build_malformed(stored, error.errors)
    reports = parsed.reports
    if callbacks.settings.auth.trust is Trust.CONFIRM:
        reports = [(index, _require_confirmation(report)) for index, report in reports]
    if parsed.errors:
        stored = replace(stored, verdict=Verdict.INVALID, errors=parsed.errors)
    elif any(report.status is None and not report.needs_poll for _, report in reports):
        stored = replace(stored, verdict=Verdict.UNMAPPED)
    token = parse_attempt_token(incoming) if callbacks.settings.uses_attempt_token else None
    events = [
        provider.build_event(
            report,
            EventSource.CALLBACK,
            stored.identity,
            incoming.received_at,
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


def _record_batch(
    connection: Connection, batch: Sequence[VerifiedCallback | ParsedCallback]
) -> Sequence[ParsedCallback]:
    parsed_callbacks = [item if isinstance(item, ParsedCallback) else parse_callback(item) for item in batch]
    events = [event for parsed in parsed_callbacks for event in parsed.events]
    job_ids_to_poll = [job_id for parsed in parsed_callbacks for job_id in parsed.job_ids_to_poll]
    record_callbacks(connection, events, [parsed.stored for parsed in parsed_callbacks], job_ids_to_poll)
    return parsed_callbacks


def _get_body_size(item: VerifiedCallback | ParsedCallback) -> int:
    return len(item.stored.body if isinstance(item, ParsedCallback) else item.incoming.body)


def _build_stored(verified: VerifiedCallback) -> StoredCallback:
    """Build the row of a callback that is accepted."""
    provider, incoming = verified.provider, verified.incoming
    # A GET callback has no body: its query is its content.
    content = incoming.body or incoming.query.encode(errors="surrogateescape")
    event_id = provider.require_callbacks().find_event_id(incoming)
    return StoredCallback(
        id=verified.id,
        identity=derive_id(provider.name.encode(), event_id.encode(), content),
        provider=provider.name,
        received_at=incoming.received_at,
        verdict=Verdict.ACCEPTED,
        method=incoming.method,
        target=incoming.target,
        headers=incoming.headers,
        body=incoming.body,
        secret_fingerprint=verified.secret_fingerprint,
        caller_address=incoming.caller_address or None,
    )


def _require_confirmation(report: StatusReport) -> StatusReport:
    """Return a report without its final status, which causes a poll instead; see `Trust.CONFIRM`."""
    if not (report.status and report.status.is_final):
        return report
    return replace(report, status=None, superseding=False, needs_poll=True)


def _build_malformed(stored: StoredCallback, errors: Mapping[str, Any]) -> ParsedCallback:
    return ParsedCallback(replace(stored, verdict=Verdict.INVALID, errors=errors))
