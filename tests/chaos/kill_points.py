"""The points of the send path at which a worker can be killed.

The product does not know about them: its functions are replaced by functions that call a trigger. The trigger sends
SIGKILL to its own process, so nothing is cleaned up, flushed or logged.
"""

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import gevent

from receiver.exchange import loop
from receiver.exchange.client import HttpClient
from receiver.exchange.connections import HttpConnection
from receiver.outbound import send, sweep
from receiver.store.connections import Connection
from receiver.store.requests import AttemptOutcome
from receiver.worker import run

Trigger = Callable[[], None]
"""Called each time the worker reaches its kill point."""


@dataclass(frozen=True, slots=True)
class KillPoint:
    """A point of the send path; `arm` makes the worker call a trigger there.

    Args:
        max_hits: the highest number of times that a worker reaches the point before it is killed there.
        arm: replaces a function of the product by one that calls the trigger.
    """

    max_hits: int
    arm: Callable[[Trigger], None]


def build_trigger(hit: int) -> Trigger:
    """Return a function that kills this process when it is called for the `hit`-th time."""
    remaining = hit

    def trigger() -> None:
        nonlocal remaining
        remaining -= 1
        if remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return trigger


def kill_later(seconds: float) -> None:
    """Kill this process after some seconds, wherever it is then."""
    gevent.spawn_later(seconds, build_trigger(1))


def _before(owner: Any, name: str) -> Callable[[Trigger], None]:
    """Call the trigger before a function runs."""

    def run(trigger: Trigger, original: Any, *args: Any) -> Any:
        trigger()
        return original(*args)

    return _wrap(owner, name, run)


def _after(owner: Any, name: str, *, if_result: bool = False) -> Callable[[Trigger], None]:
    """Call the trigger after a function ran; with `if_result` only if its result is true."""

    def run(trigger: Trigger, original: Any, *args: Any) -> Any:
        result = original(*args)
        if result or not if_result:
            trigger()
        return result

    return _wrap(owner, name, run)


def _wrap(owner: Any, name: str, wrapper: Callable[..., Any]) -> Callable[[Trigger], None]:
    """Return a function that replaces `owner.name` by `wrapper`.

    `wrapper` is called with the trigger, the original function and the arguments of the call.

    Raises:
        AttributeError: the product has no such function, here and not only when a worker is to be killed.
    """
    original = getattr(owner, name)

    def arm(trigger: Trigger) -> None:
        @wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return wrapper(trigger, partial(original, **kwargs), *args)

        setattr(owner, name, replacement)

    return arm


def _claim_without_commit(trigger: Trigger, claim_requests: Any, connection: Connection, *args: Any) -> Any:
    with connection.transaction():
        requests = claim_requests(connection, *args)
        if requests:
            trigger()
    return requests


def _send_half(trigger: Trigger, sendall: Any, connected: HttpConnection, data: bytes) -> None:
    middle = len(data) // 2
    sendall(connected, data[:middle])
    trigger()
    sendall(connected, data[middle:])


def _record_outcomes(trigger: Trigger, record: Any, connection: Connection, outcomes: Iterable[AttemptOutcome]) -> Any:
    rows = list(outcomes)
    result = record(connection, rows)
    if rows:
        trigger()
    return result


KILL_POINTS: Mapping[str, KillPoint] = {
    "before claim": KillPoint(8, _before(send, "claim_requests")),
    "claim not committed": KillPoint(4, _wrap(send, "claim_requests", _claim_without_commit)),
    "claim committed": KillPoint(4, _after(send, "claim_requests", if_result=True)),
    "before send": KillPoint(20, _before(HttpClient, "_perform")),
    "half of request sent": KillPoint(20, _wrap(HttpConnection, "sendall", _send_half)),
    "request sent": KillPoint(20, _after(HttpConnection, "sendall")),
    "response arrived": KillPoint(20, _after(HttpConnection, "recv")),
    "response read": KillPoint(20, _after(HttpClient, "exchange")),
    "before recording": KillPoint(6, _before(loop, "record_exchanges")),
    "attempts recorded": KillPoint(6, _wrap(send, "record_outcomes", _record_outcomes)),
    "jobs recorded": KillPoint(6, _after(send, "reconcile_responses")),
    "recording committed": KillPoint(6, _after(loop, "record_exchanges")),
    "sweep started": KillPoint(1, _before(sweep, "expire_requests")),
    "sweep locked attempts": KillPoint(1, _after(sweep, "lock_lost_attempts", if_result=True)),
    "sweep ended attempt": KillPoint(4, _after(sweep, "abandon_attempt")),
    "sweep committed": KillPoint(1, _after(run, "sweep_requests")),
}
