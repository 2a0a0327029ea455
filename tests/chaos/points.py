"""The points of the send path at which a doomed worker can die. The product knows nothing of them: it is patched.

Death is SIGKILL, at once and within the statement: nothing is cleaned up, flushed or told.
"""

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any

import gevent

from receiver.exchange import client
from receiver.exchange.client import BoundedSocket, ProviderClient
from receiver.outbound import dispatch
from receiver.outbound.dispatch import SendLoop
from receiver.store.database import Connection
from receiver.store.requests import AttemptOutcome

Toll = Callable[[], None]
"""What is called at each passage of the chosen point."""


def toll_of(passage: int) -> Toll:
    """Give what kills this process when it is called for the so-manieth time."""
    left = passage

    def toll() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return toll


def die_later(seconds: float) -> None:
    """Die after a time, wherever this process is then."""
    gevent.spawn_later(seconds, toll_of(1))


def _before(owner: Any, name: str) -> Callable[[Toll], None]:
    """Take the toll before a function runs."""

    def patched(toll: Toll, original: Any, *args: Any) -> Any:
        toll()
        return original(*args)

    return _around(owner, name, patched)


def _after(owner: Any, name: str, *, given: bool = False) -> Callable[[Toll], None]:
    """Take the toll after a function ran; with `given` only if it gave something."""

    def patched(toll: Toll, original: Any, *args: Any) -> Any:
        result = original(*args)
        if result or not given:
            toll()
        return result

    return _around(owner, name, patched)


def _around(owner: Any, name: str, patched: Callable[..., Any]) -> Callable[[Toll], None]:
    """Give what puts `patched` in a function's place; it is called with the toll, the function and its arguments."""

    def patch(toll: Toll) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def instead(*args: Any, **named: Any) -> Any:
            return patched(toll, partial(original, **named), *args)

        setattr(owner, name, instead)

    return patch


def _uncommitted_claim(toll: Toll, claim: Any, connection: Connection, *args: Any) -> Any:
    with connection.transaction():
        claimed = claim(connection, *args)
        if claimed:
            toll()
    return claimed


def _half_sent(toll: Toll, sendall: Any, connected: BoundedSocket, data: bytes) -> None:
    middle = len(data) // 2
    sendall(connected, data[:middle])
    toll()
    sendall(connected, data[middle:])


def _recorded(toll: Toll, record: Any, connection: Connection, ended: Iterable[AttemptOutcome]) -> Any:
    told = list(ended)
    all_moved = record(connection, told)
    if told:
        toll()
    return all_moved


POINTS: Mapping[str, tuple[int, Callable[[Toll], None]]] = {
    "before the claim": (8, _before(dispatch, "claim_requests")),
    "claimed, not committed": (4, _around(dispatch, "claim_requests", _uncommitted_claim)),
    "claim committed": (4, _after(dispatch, "claim_requests", given=True)),
    "before the bytes": (20, _before(client, "perform_exchange")),
    "half of the bytes sent": (20, _around(BoundedSocket, "sendall", _half_sent)),
    "bytes sent": (20, _after(BoundedSocket, "sendall")),
    "answer arrived": (20, _after(BoundedSocket, "recv")),
    "answer read": (20, _after(ProviderClient, "exchange")),
    "before recording": (6, _before(dispatch, "record_attempts")),
    "attempts recorded": (6, _around(dispatch, "record_outcomes", _recorded)),
    "jobs recorded": (6, _after(dispatch, "reconcile_responses")),
    "record committed": (6, _after(dispatch, "record_attempts")),
    "sweep began": (1, _before(dispatch, "expire_requests")),
    "sweep took attempts": (1, _after(dispatch, "lock_lost_attempts", given=True)),
    "sweep judged": (4, _after(SendLoop, "_abandon")),
    "sweep committed": (1, _after(SendLoop, "sweep")),
}
"""Each point with the latest passage that is worth dying at, and what puts the toll there."""
