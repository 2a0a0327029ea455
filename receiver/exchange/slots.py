"""Send slots within one process: an estimate of what taking them costs, and a queue that takes them in batches.

A slot is a time that the database chooses, and its taker knows it only after the transaction. Greenlets that missed
their slot take the next slots together; otherwise each would lock the provider's row for a transaction of its own.
"""

import time
from collections.abc import Callable, Sequence
from typing import cast

from gevent.event import AsyncResult
from gevent.lock import Semaphore

_MAX_LATENCY_S = 1.0
_DECAY = 0.9


class LatencyEstimate:
    """The recent latency in seconds between the time that the database reads and the use of a slot.

    A slower transaction raises the estimate at once; faster ones lower it by a tenth each.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def observe(self, started_at: float) -> None:
        """Record that slots are usable now whose times were computed at `started_at`, by `time.monotonic`."""
        latency = time.monotonic() - started_at
        self.seconds = min(max(latency, self.seconds * _DECAY), _MAX_LATENCY_S)


class SlotQueue:
    """Takes slots for all waiting greenlets at once.

    Args:
        take: takes at most this many slots; returns the times, by `time.monotonic`, at which they begin.
        build_error: builds the error for a greenlet without a slot.
    """

    def __init__(self, take: Callable[[int], Sequence[float]], build_error: Callable[[], Exception]) -> None:
        self._take = take
        self._build_error = build_error
        self._waiting: list[AsyncResult[float]] = []
        self._lock = Semaphore(1)

    def next(self) -> float:
        """Return the time at which the caller's slot begins.

        Raises what `take` raises, or the error of `build_error`.
        """
        result: AsyncResult[float] = AsyncResult()
        self._waiting.append(result)
        with self._lock:
            # While this greenlet waited for the lock, another may have taken its slot along with its own.
            if not result.ready():
                self._take_for_waiting()
        return cast(float, result.get())

    def _take_for_waiting(self) -> None:
        results, self._waiting = self._waiting, []
        try:
            slots = self._take(len(results))
        except Exception as error:
            for result in results:
                result.set_exception(error)
            return
        for result, slot in zip(results, slots, strict=False):
            result.set(slot)
        for result in results[len(slots) :]:
            result.set_exception(self._build_error())
