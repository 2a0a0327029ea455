"""What taking slots costs, and how to take few at a time for many.

A slot is a moment that the database names, and is known to the one who took it only when its transaction is over. The
greenlets that missed theirs take the next together, as each would hold the provider's row for a transaction otherwise.
"""

import time
from collections.abc import Callable, Sequence
from typing import cast

from gevent.event import AsyncResult
from gevent.lock import Semaphore

_LONGEST_LEAD = 1.0
_FORGOTTEN = 0.9


class LatencyEstimate:
    """How long it takes lately, in seconds, from when the database names a moment to when its slot may be used."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def note(self, named_at: float) -> None:
        """Note that a slot may be used now of which the moment was named at `named_at`, by `time.monotonic`."""
        took = time.monotonic() - named_at
        self.seconds = min(max(took, self.seconds * _FORGOTTEN), _LONGEST_LEAD)


class SlotQueue:
    """Takes slots for those who wait, all in one go.

    Args:
        take: takes at most so many slots; gives the moments, by `time.monotonic`, at which they begin.
        none_left: what those are refused with for whom there is none.
    """

    def __init__(self, take: Callable[[int], Sequence[float]], none_left: Callable[[], Exception]) -> None:
        self._take = take
        self._none_left = none_left
        self._waiting: list[AsyncResult[float]] = []
        self._taking = Semaphore(1)

    def next(self) -> float:
        """Give the moment at which a slot begins that is the caller's; raises what `take` raises, or `none_left`."""
        mine: AsyncResult[float] = AsyncResult()
        self._waiting.append(mine)
        with self._taking:
            if not mine.ready():
                self._serve()
        return cast(float, mine.get())

    def _serve(self) -> None:
        served, self._waiting = self._waiting, []
        try:
            moments = self._take(len(served))
        except Exception as error:
            for one in served:
                one.set_exception(error)
            return
        for one, moment in zip(served, moments, strict=False):
            one.set(moment)
        for one in served[len(moments) :]:
            one.set_exception(self._none_left())
