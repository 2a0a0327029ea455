"""Receiving a verified callback: parse it, store it with its events, reconcile the events into jobs.

Every verified callback is stored: malformed or not, with or without unmapped statuses, late, repeated or contradicting.
Authentication comes before (`receiver.inbound.authentication`), the response after (`receiver.web.callbacks`).

A callback may have tens of thousands of items. A large one is parsed by the request that received it, which lets others
run between the items, and its events are committed in slices, each together with other callbacks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import gevent
import structlog
from marshmallow import ValidationError
from uuid_utils.compat import uuid7

from receiver.domain.callbacks import IncomingCallback, parse_attempt_token
from receiver.domain.documents.encodings import CONTENT_ENCODING, decode_body
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.errors import ReceiverError
from receiver.domain.jobs import EventSource, JobEvent, JobStatus, StatusReport, derive_id
from receiver.domain.records import record
from receiver.inbound.authentication import VerifiedCallback
from receiver.inbound.request_hints import reconcile_hinted
from receiver.logs import is_debug
from receiver.providers.base import Provider
from receiver.providers.capabilities import MalformedCallback, ParsedItem
from receiver.reconcile import reconcile
from receiver.signatures.base import InvalidSignature, Trust
from receiver.store.callbacks import StoredCallback, Verdict
from receiver.store.connections import Connection, transaction
from receiver.store.database import Database
from receiver.store.errors import Unstorable
from receiver.store.group_commit import GroupCommit
from receiver.store.jobs import schedule_polls_now
from receiver.store.nonces import UsedNonce, find_reused_nonces

LARGE_BODY_BYTES = 64 << 10
"""The size above which a callback is parsed by the request that received it, and committed in slices."""
SLICE_SIZE = 500
"""The number of events of a large callback that are committed together."""
MAX_ERRORS = 100
"""The number of invalid items of which the errors are stored."""
_ITEMS_BETWEEN_PAUSES = 100
_MAX_LOGGED_JOBS = 20

REUSED_NONCE = "reused_nonce"
"""The failed part of a callback whose nonce was used for another callback."""
_log = structlog.get_logger(__name__)


class UnreadableCallback(ReceiverError):
    """A verified callback was stored, but nothing in it can be parsed; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("The callback was stored but cannot be parsed.")
        self.errors = errors


@record(frozen=True, slots=True)
class ParsedCallback:
    """A callback as it is stored, and its events, to be committed together.

    Args:
        stored: the row.
        events: the events, or a slice of them.
        job_ids_to_poll: the jobs that are polled at once, because the callback itself does not decide their status.
        is_stored: whether the row is stored already, with the first slice of the events.
        nonces: the nonces that no other callback may have used.
        reuses_nonce: whether another callback has used one of them, so that this one was not stored.
    """

    stored: StoredCallback
    events: Sequence[JobEvent] = ()
    job_ids_to_poll: Sequence[UUID] = ()
    is_stored: bool = False
    nonces: Sequence[UsedNonce] = ()
    reuses_nonce: bool = False


class CallbackBatcher(GroupCommit[VerifiedCallback | ParsedCallback, ParsedCallback]):
    """The group commit of callbacks; see `GroupCommit` for what `commit` raises.

    A verified callback is parsed here, in its batch, and not by the request that received it: parsing many callbacks in
    a row takes less CPU time per callback. A parsed callback is stored as it is.
    """

    def __init__(self, database: Database, *, max_waiting: int = 2_000) -> None:
        super().__init__(database, _record_batch, max_waiting=max_waiting, get_size=_get_body_size)


def receive(batcher: CallbackBatcher, verified: VerifiedCallback, *, timeout: float) -> ParsedCallback:
    """Store a verified callback with its events; return both when they are committed.

    A callback of which only some items are malformed is accepted: the events of the other items are stored, and the
    errors with them. So are the errors of values that an item goes without, such as a time. A callback that Postgres
    cannot store as it is, is stored with an error instead of its events.

    Args:
        batcher: parses and commits the callback.
        verified: the callback.
        timeout: seconds to wait for each commit.

    Raises:
        UnreadableCallback: nothing in the callback can be parsed; it is stored with the errors.
        InvalidSignature: the callback's nonce was used for another callback; nothing is stored.
        QueueFull, StoreUnavailable: the callback was not committed, or not in time, or only some of its events; the
            provider must send it again.
    """
    try:
        if len(verified.incoming.body) > LARGE_BODY_BYTES or CONTENT_ENCODING in verified.incoming.headers:
            parsed = _commit_in_slices(batcher, parse_callback(verified, pause=yield_to_others), timeout)
        else:
            parsed = batcher.commit(verified, timeout=timeout)
    except Unstorable as error:
        # With another id: of a large callback the row may be stored already.
        incoming, _ = _decode(verified.incoming)
        stored = _build_stored(replace(verified, id=uuid7()), incoming)
        malformed = _build_malformed(stored, {"_body": [f"Cannot be stored: {error}."]})
        nonces = _build_nonces(verified.provider, incoming)
        parsed = batcher.commit(replace(malformed, nonces=nonces), timeout=timeout)
    if parsed.reuses_nonce:
        raise InvalidSignature(REUSED_NONCE, "The nonce was used before, for another callback.")
    if is_debug():
        _log_recorded(parsed)
    errors = parsed.stored.errors
    if errors is None or parsed.stored.verdict is not Verdict.INVALID:
        return parsed
    _log.warning("callback.parse_failed", provider=parsed.stored.provider, callback=str(parsed.stored.id))
    if not parsed.events:
        raise UnreadableCallback(errors)
    return parsed


def parse_callback(verified: VerifiedCallback, pause: Callable[[], None] | None = None) -> ParsedCallback:
    """Parse a verified callback into the row to store and its events; call `pause` after every few items."""
    provider = verified.provider
    callbacks = provider.require_callbacks()
    incoming, encoding_error = _decode(verified.incoming)
    stored = _build_stored(verified, incoming)
    try:
        if encoding_error:
            raise encoding_error
        reports, errors = collect_items(callbacks.parse(incoming), pause)
    except MalformedCallback as error:
        return replace(_build_malformed(stored, error.errors), nonces=_build_nonces(provider, incoming))
    if callbacks.settings.auth.trust is Trust.CONFIRM:
        reports = [(index, _require_confirmation(report)) for index, report in reports]
    verdict, unread = Verdict.INVALID if errors else Verdict.ACCEPTED, None
    token = parse_attempt_token(incoming) if callbacks.settings.uses_attempt_token else None
    events: list[JobEvent] = []
    job_ids_to_poll: list[UUID] = []
    for number, (index, report) in enumerate(reports, start=1):
        event = provider.build_event(
            report,
            EventSource.CALLBACK,
            stored.identity,
            incoming.received_at,
            index=index,
            callback_id=stored.id,
            token=token,
        )
        events.append(event)
        if report.needs_poll:
            job_ids_to_poll.append(event.job_id)
        elif report.status is None and not errors:
            verdict = Verdict.UNMAPPED
        unread = unread or report.errors
        if pause and number % _ITEMS_BETWEEN_PAUSES == 0:
            pause()
    if verdict is not Verdict.ACCEPTED or unread:
        stored = replace(stored, verdict=verdict, errors=errors or unread)
    return ParsedCallback(stored, events, job_ids_to_poll, nonces=_build_nonces(provider, incoming, reports))


def split_events(parsed: ParsedCallback) -> Iterator[ParsedCallback]:
    """Yield a callback in slices of its events, in the global order of jobs; only the first slice stores the row."""
    events = sorted(parsed.events, key=lambda event: event.job_id)
    ids_to_poll = set(parsed.job_ids_to_poll)
    for start in range(0, max(len(events), 1), SLICE_SIZE):
        slice_events = events[start : start + SLICE_SIZE]
        slice_ids_to_poll = [event.job_id for event in slice_events if event.job_id in ids_to_poll]
        yield replace(parsed, events=slice_events, job_ids_to_poll=slice_ids_to_poll, is_stored=start > 0)


def yield_to_others() -> None:
    """Yield to other greenlets."""
    gevent.sleep(0)


def collect_items(
    items: Iterable[ParsedItem], pause: Callable[[], None] | None = None
) -> tuple[list[tuple[int, StatusReport]], Mapping[str, Any]]:
    """Return the reports of a callback's items, each with its position in the body, and the errors of invalid items.

    Raises:
        MalformedCallback: all items are invalid.
    """
    reports: list[tuple[int, StatusReport]] = []
    errors: dict[str, Any] = {}
    for number, (index, item) in enumerate(items, start=1):
        if isinstance(item, ValidationError):
            _merge_errors(errors, item.messages_dict)
        else:
            reports.append((index, item))
        if pause and number % _ITEMS_BETWEEN_PAUSES == 0:
            pause()
    if errors and not reports:
        raise MalformedCallback(errors)
    return reports, errors


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
    with transaction(connection):
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
    nonces = [nonce for parsed in parsed_callbacks for nonce in parsed.nonces]
    if not nonces:
        _record_parsed(connection, parsed_callbacks)
        return parsed_callbacks
    with transaction(connection):
        reused = find_reused_nonces(connection, nonces)
        parsed_callbacks = [
            replace(parsed, reuses_nonce=not reused.isdisjoint(parsed.nonces)) for parsed in parsed_callbacks
        ]
        _record_parsed(connection, [parsed for parsed in parsed_callbacks if not parsed.reuses_nonce])
    return parsed_callbacks


def _record_parsed(connection: Connection, parsed_callbacks: Sequence[ParsedCallback]) -> None:
    events = [event for parsed in parsed_callbacks for event in parsed.events]
    job_ids_to_poll = [job_id for parsed in parsed_callbacks for job_id in parsed.job_ids_to_poll]
    rows = [parsed.stored for parsed in parsed_callbacks if not parsed.is_stored]
    record_callbacks(connection, events, rows, job_ids_to_poll)


def _commit_in_slices(batcher: CallbackBatcher, parsed: ParsedCallback, timeout: float) -> ParsedCallback:
    """Commit a callback, a slice of its events at a time; its row is stored with the first slice.

    If a commit fails, the provider sends the callback again, and the missing events are stored then.
    """
    for event_slice in split_events(parsed):
        if batcher.commit(event_slice, timeout=timeout).reuses_nonce:
            return replace(parsed, reuses_nonce=True)
    return parsed


def _log_recorded(parsed: ParsedCallback) -> None:
    stored, jobs = parsed.stored, [str(event.job_id) for event in parsed.events[:_MAX_LOGGED_JOBS]]
    _log.debug(
        "callback.recorded", provider=stored.provider, callback=str(stored.id), verdict=stored.verdict, jobs=jobs
    )


def _get_body_size(item: VerifiedCallback | ParsedCallback) -> int:
    if isinstance(item, ParsedCallback):
        return 0 if item.is_stored else len(item.stored.body)
    return len(item.incoming.body)


def _decode(incoming: IncomingCallback) -> tuple[IncomingCallback, MalformedCallback | None]:
    """Return a callback with its body decompressed; if that fails, the callback as it is, and the error."""
    if CONTENT_ENCODING not in incoming.headers:
        return incoming, None
    try:
        return decode_body(incoming), None
    except UnreadableDocument as error:
        return incoming, MalformedCallback({"_body": [str(error)]})


def _build_stored(verified: VerifiedCallback, decoded: IncomingCallback) -> StoredCallback:
    """Build the row of a callback that is accepted: the body as received, the identity of the decompressed one."""
    provider, incoming = verified.provider, verified.incoming
    callbacks = provider.require_callbacks()
    event_id, content = callbacks.find_event_id(decoded), callbacks.find_content(decoded)
    return StoredCallback(
        id=verified.id,
        identity=derive_id(provider.name.encode(), event_id.encode("utf-8", "surrogatepass"), content),
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


def _build_nonces(
    provider: Provider, incoming: IncomingCallback, reports: Sequence[tuple[int, StatusReport]] = ()
) -> Sequence[UsedNonce]:
    """Build the nonces of a callback, bound to all that it is read from: its content, the query and request ids.

    A request id may come from a header, so that it is bound by itself.
    """
    callbacks = provider.require_callbacks()
    nonces = callbacks.settings.auth.find_nonces(incoming)
    if not nonces:
        return ()
    query = incoming.query.encode(errors="surrogateescape")
    request_ids = [str(report.request_id).encode() for _, report in reports]
    content = (callbacks.find_content(incoming), query, *request_ids)
    return [UsedNonce.build(provider.name, nonce, content, incoming.received_at) for nonce in nonces]


def _require_confirmation(report: StatusReport) -> StatusReport:
    """Return a report without its last status, which causes a poll instead; see `Trust.CONFIRM`."""
    if report.status in {None, JobStatus.ACCEPTED, JobStatus.IN_PROGRESS}:
        return report
    return replace(report, status=None, superseding=False, needs_poll=True)


def _merge_errors(errors: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add the errors of an item to those of the callback; of a field that has errors already, the first ones stay."""
    for name, messages in more.items():
        if name not in errors:
            if len(errors) < MAX_ERRORS:
                errors[name] = messages
        elif isinstance(messages, Mapping) and isinstance(errors[name], dict):
            _merge_errors(errors[name], messages)


def _build_malformed(stored: StoredCallback, errors: Mapping[str, Any]) -> ParsedCallback:
    return ParsedCallback(replace(stored, verdict=Verdict.INVALID, errors=errors))
