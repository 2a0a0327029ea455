"""Callbacks that say whose job they speak of: by an id of ours that the provider gives back.

A request that was in doubt, or waits to be sent again after an attempt of which nobody knew the outcome, has a job then
and was taken. A claim that names no request of its provider, or a job of another request, is passed over: the callback
is recorded all the same.
"""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from receiver.domain.jobs import Event
from receiver.reconcile import reconcile, tied
from receiver.store.callbacks import Callback
from receiver.store.database import Connection
from receiver.store.doubts import Claimed, find_claimed, lock_undecided, take_requests

_log = structlog.get_logger(__name__)


def reconcile_claims(connection: Connection, events: Sequence[Event], callbacks: Sequence[Callback]) -> None:
    """Reconcile callbacks of which some claim requests; call within a transaction.

    The requests are locked before events and jobs are touched, as the recorder of answers does.
    """
    owners = find_claimed(connection, [(event.provider, event.claim) for event in events if event.claim])
    owned = [_owned(event, owners.get((event.provider, event.claim))) if event.claim else event for event in events]
    ids = {owner.request_id for owner in owners.values()}
    undecided = lock_undecided(connection, ids) if ids else set()
    claims = reconcile(connection, owned, callbacks)
    for claim in claims:
        _log.warning("reference.claimed_twice", job_id=str(claim.job_id), request_id=str(claim.claimant_id))
    taken = tied(owned, claims) & undecided
    if taken:
        take_requests(connection, taken)


def _owned(event: Event, owner: Claimed | None) -> Event:
    return replace(event, request_id=owner.request_id, notify=owner.notify) if owner else event
