"""Callbacks that say whose job they speak of: by an id of ours that the provider gives back.

A request that was in doubt, or waits to be sent again after an attempt of which nobody knew the outcome, has a job then
and was taken. A claim that names no request of its provider, or a job of another request, is passed over: the callback
is recorded all the same.
"""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from receiver.domain.jobs import JobEvent
from receiver.reconcile import find_matched_requests, reconcile
from receiver.store.callbacks import StoredCallback
from receiver.store.database import Connection
from receiver.store.unknown_requests import ResolvedHint, accept_known_requests, lock_undecided_requests, resolve_hints

_log = structlog.get_logger(__name__)


def reconcile_hinted(connection: Connection, events: Sequence[JobEvent], callbacks: Sequence[StoredCallback]) -> None:
    """Reconcile callbacks of which some claim requests; call within a transaction.

    The requests are locked before events and jobs are touched, as the recorder of answers does.
    """
    owners = resolve_hints(connection, [(event.provider, event.request_hint) for event in events if event.request_hint])
    owned = [
        _owned(event, owners.get((event.provider, event.request_hint))) if event.request_hint else event
        for event in events
    ]
    ids = {owner.request_id for owner in owners.values()}
    undecided = lock_undecided_requests(connection, ids) if ids else set()
    conflicts = reconcile(connection, owned, callbacks)
    for claim in conflicts:
        _log.warning("reference.claimed_twice", job_id=str(claim.job_id), request_id=str(claim.claimant_id))
    taken = find_matched_requests(owned, conflicts) & undecided
    if taken:
        accept_known_requests(connection, taken)


def _owned(event: JobEvent, owner: ResolvedHint | None) -> JobEvent:
    return replace(event, request_id=owner.request_id, notify=owner.notify) if owner else event
