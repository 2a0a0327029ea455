"""The truth of a run: what clients were told, what the provider acted on, and what its callbacks said."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from uuid import UUID

REUSE_AFTER_S = 0.5
"""`reference_reuse_after` of the provider."""
_REUSE_MARGIN_S = 0.5
"""How much longer the provider waits."""
FINAL_STATES = {"DELIVERED": "succeeded", "UNDELIVERED": "failed"}
"""The provider's final states, and the statuses of a job that they mean."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the service: its begin and end by the monotonic clock, and its status, None without a response."""

    began_at: float
    ended_at: float
    status: int | None


@dataclass(frozen=True, slots=True)
class Send:
    """A request that the provider acted on.

    Args:
        at: seconds of the monotonic clock.
        name: the client's reference.
        key: the idempotency key: the id of our request.
        reference: the provider's reference of the new job, which may have named another job before.
    """

    at: float
    name: str
    key: str
    reference: str


@dataclass(slots=True)
class Callback:
    """A callback of the provider about one job; `acknowledged` once it was answered 2xx."""

    reference: str
    state: str
    webhook_id: str
    acknowledged: bool = False


@dataclass
class Ledger:
    """What happened, as recorded by many threads.

    Args:
        began: when the client first began to submit each request, by the client's reference and the monotonic clock.
        submitted: the id of each acknowledged request, by the client's reference.
        sends: what the provider acted on.
        callbacks: all callbacks that were ever due, by reference; about several jobs one after the other.
        ended: when the final callback about the latest job of a reference was acknowledged, by the monotonic clock.
        calls: the calls of each kind: `callback`, `submission` and `readiness`.
    """

    began: dict[str, float] = field(default_factory=dict)
    submitted: dict[str, UUID] = field(default_factory=dict)
    sends: list[Send] = field(default_factory=list)
    callbacks: dict[str, list[Callback]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[str, float] = field(default_factory=dict)
    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    _lock: Lock = field(default_factory=Lock)

    def record_send(self, name: str, key: str, *, reuse: bool = False) -> Send:
        """Record that the provider acted on a request, and return it with a new reference.

        With `reuse` the reference is one whose job ended long before the client submitted the request, if there is any.
        The request may have been attempted before without being received, and its first attempt counts.
        """
        with self._lock:
            at, reference = time.monotonic(), f"{name}-{len(self.sends)}"
            before = self.began[name] - REUSE_AFTER_S - _REUSE_MARGIN_S
            reusable = next((other for other, ended_at in self.ended.items() if ended_at < before), None)
            if reuse and reusable is not None:
                del self.ended[reusable]
                reference = reusable
            send = Send(at, name, key, reference)
            self.sends.append(send)
            return send

    def acknowledge(self, callback: Callback) -> None:
        """Record that a callback was acknowledged."""
        with self._lock:
            callback.acknowledged = True
            is_sent = any(send.reference == callback.reference for send in self.sends)
            if is_sent and callback.state in FINAL_STATES:
                self.ended[callback.reference] = time.monotonic()

    def find_job_callbacks(self, reference: str) -> list[list[Callback]]:
        """Return the callbacks about each job of a reference, in the order of the jobs."""
        jobs: list[list[Callback]] = [[]]
        for callback in self.callbacks[reference]:
            jobs[-1].append(callback)
            if callback.state in FINAL_STATES:
                jobs.append([])
        return [callbacks for callbacks in jobs if callbacks]

    def add_callback(self, reference: str, state: str) -> Callback:
        """Record a callback that is due now."""
        with self._lock:
            callbacks = self.callbacks[reference]
            callback = Callback(reference, state, f"msg_{reference}_{len(callbacks)}")
            callbacks.append(callback)
            return callback

    def list_callbacks(self) -> list[Callback]:
        """Return all callbacks."""
        with self._lock:
            return [callback for callbacks in self.callbacks.values() for callback in callbacks]

    def find_first(self, kind: str, status: int, after: float) -> float | None:
        """Return when a call of this kind first got this response after a time."""
        return next(
            (call.ended_at for call in self.calls[kind] if call.status == status and call.ended_at > after), None
        )

    def find_first_send(self, after: float) -> float | None:
        """Return when the provider first acted on a request after a time."""
        return next((send.at for send in self.sends if send.at > after), None)


def find_false_readiness(calls: Mapping[str, Sequence[Call]], *, limit: float, margin: float) -> Iterator[Call]:
    """Yield the checks of readiness that were answered 200 while no callback could be committed.

    Args:
        calls: the calls by kind; some callback is posted at any time.
        limit: for how many seconds before the check no callback was answered 200.
        margin: for how many seconds after the check none was either: before, the service may just have recovered.
    """
    successes = [call.ended_at for call in calls["callback"] if call.status == 200]
    for check in calls["readiness"]:
        begin, end = check.began_at - limit, check.ended_at + margin
        if check.status == 200 and not any(begin < success < end for success in successes):
            yield check
