"""Callbacks that carry a request hint: an id of ours that the provider sends back.

A hint tells which request a job belongs to. If the request is unknown, or is queued again after an attempt with an
ambiguous outcome, the job proves that the provider accepted it. A hint that names no request of the provider, or whose
job belongs to another request already, is ignored; the callback is recorded all the same.
"""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from receiver.domain.jobs import JobEvent
from receiver.reconcile import find_matched_requests, reconcile
from receiver.store.callbacks import StoredCallback
from receiver.store.connections import Connection
from receiver.store.unknown_requests import ResolvedHint, accept_known_requests, lock_undecided_requests, resolve_hints

_log = structlog.get_logger(__name__)


def reconcile_hinted(connection: Connection, events: Sequence[JobEvent], callbacks: Sequence[StoredCallback]) -> None:
    """Reconcile callbacks of which some carry request hints; call within a transaction.

    The requests are locked before events and jobs, in the order in which `record_attempts` locks them too. Another
    order could deadlock.
    """
    resolved_hints = resolve_hints(
        connection, [(event.provider, event.request_hint) for event in events if event.request_hint]
    )
    matched_events = [
        _assign_request(event, resolved_hints.get((event.provider, event.request_hint)))
        if event.request_hint
        else event
        for event in events
    ]
    request_ids = {resolved.request_id for resolved in resolved_hints.values()}
    undecided_ids = lock_undecided_requests(connection, request_ids) if request_ids else set()
    conflicts = reconcile(connection, matched_events, callbacks)
    for conflict in conflicts:
        _log.warning("reference_conflict.detected", job=str(conflict.job_id), request=str(conflict.other_request_id))
    accepted_ids = find_matched_requests(matched_events, conflicts) & undecided_ids
    if accepted_ids:
        accept_known_requests(connection, accepted_ids)


def _assign_request(event: JobEvent, resolved: ResolvedHint | None) -> JobEvent:
    if resolved is None:
        return event
    return replace(event, request_id=resolved.request_id, notify=resolved.notify, notify_events=resolved.notify_events)
