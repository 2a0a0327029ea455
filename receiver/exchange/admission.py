"""Admission of exchanges with one provider: within this process's concurrency share, each in its send slot.

An exchange that is not admitted sends nothing, so that its work can be returned to the queue.

A send slot is a time that the database chooses, and its taker knows it only after the transaction. Greenlets that
missed their slot take the next slots together; otherwise each would lock the provider's row for a transaction of its
own.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import cast

import gevent
from gevent.event import AsyncResult
from gevent.lock import Semaphore

from receiver.domain.errors import ReceiverError
from receiver.domain.limits import MAX_SLOT_DELAY_S, LimitPolicy, ProviderLimits

_MAX_LATENCY_S = 1.0
_DECAY = 0.9
STOPPED = "the worker stopped before the exchange could begin"
REMOVED = "the provider was removed from the configuration before the exchange could begin"
NO_SLOT = "the provider's send slots are taken for now"
"""Why an exchange is not admitted: the worker stops, its provider was removed, or all send slots are taken."""


class NotAdmitted(ReceiverError):
    """An exchange may not begin; nothing was sent."""


class Admission:
    """Admits exchanges with one provider: at most this process's share at once, each in its send slot.

    All times are by `time.monotonic`, unless they are said to be UTC.
    """

    def __init__(self, policy: LimitPolicy, take_slots: Callable[[int], Sequence[float]]) -> None:
        self.policy = policy
        self.limits = ProviderLimits("")
        self.share = 0
        self.in_flight = 0
        self._slots = SlotQueue(take_slots)
        self._free = 0
        self._place_waiters: deque[AsyncResult[None]] = deque()
        self._waiting = 0
        self._excess = 0
        self._stopped = False
        self._withdrawn = False
        self._share_valid_until = 0.0
        self._closed_until = 0.0
        self._rate_meter = RateMeter()
        self._workers = 1

    @contextmanager
    def admit(self, begin_by: float, begin_at: float | None = None, *, probe: bool = False) -> Iterator[None]:
        """Wait until an exchange may begin, and count it as in flight within the context.

        Args:
            begin_by: the time after which the exchange may not begin any more.
            begin_at: the exchange's slot; if it was missed, another one is taken.
            probe: the exchange may begin after its slot: no other exchange is in flight, and there is no other slot.

        Raises:
            NotAdmitted: the exchange may not begin, or not in time.
        """
        self._acquire_place(begin_by)
        self.in_flight += 1
        try:
            self._wait_for_slot(begin_by, begin_at, probe=probe)
            self._rate_meter.count()
            yield
        finally:
            self.in_flight -= 1
            self._release_place()

    @property
    def capacity(self) -> int:
        """How many exchanges may be in flight in this process now."""
        now = time.monotonic()
        return self.share if self._closed_until <= now <= self._share_valid_until else 0

    @property
    def per_second(self) -> int:
        """How many exchanges all workers recently began per second, if the others began as many as this worker."""
        return self._rate_meter.per_second * self._workers

    @property
    def waiting_count(self) -> int:
        """How many exchanges wait for others to end."""
        return self._waiting

    @property
    def is_idle(self) -> bool:
        """Whether no exchange is in flight or waits."""
        return not self.in_flight and not self._waiting

    def use(self, policy: LimitPolicy) -> None:
        """Use another policy from now on, for the exchanges in flight too."""
        self.policy = policy
        self._withdrawn = False

    def withdraw(self) -> None:
        """Admit no exchange until `use` is called: the provider is not configured any more.

        Exchanges that wait for a place are refused at once, those that wait for their slot when it begins.
        """
        self._withdrawn = True
        self._refuse_waiters()

    def update_limits(self, limits: ProviderLimits, now: datetime) -> None:
        """Apply the provider's limits as of `now` (UTC)."""
        self.limits = limits
        self._closed_until = time.monotonic() + limits.closed_for(now)

    def extend_share(self, workers: int, until: float) -> None:
        """Extend the share until a time after which another worker may have taken it over.

        Args:
            workers: how many workers have a share of the provider, this worker included.
            until: the end of the share's lease.
        """
        self._share_valid_until, self._workers = until, workers

    def resize(self, share: int) -> None:
        """Set how many exchanges may be in flight at once; exchanges in flight may finish."""
        change = share - self.share
        self.share = share
        for _ in range(change):
            self._release_place()
        for _ in range(-change):
            if self._free:
                self._free -= 1
            else:
                self._excess += 1

    def stop(self) -> None:
        """Admit no exchange any more; those that wait are refused at once."""
        self._stopped = True
        self._refuse_waiters()

    def _acquire_place(self, begin_by: float) -> None:
        """Wait until fewer exchanges are in flight than the share.

        The wait ends at `begin_by`: the share is 0 as long as other workers have all of it.
        """
        now = time.monotonic()
        self._check_open(now, begin_by)
        if self._free:
            self._free -= 1
            return
        place: AsyncResult[None] = AsyncResult()
        self._place_waiters.append(place)
        self._waiting += 1
        try:
            place.wait(begin_by - now)
        finally:
            self._waiting -= 1
            if not place.ready():
                self._place_waiters.remove(place)
        if not place.successful():
            self._check_open(time.monotonic(), begin_by)
            raise _build_too_late_error()

    def _release_place(self) -> None:
        # After a reduction of the share, places in excess of it are not given to others.
        if self._excess:
            self._excess -= 1
        elif self._place_waiters:
            self._place_waiters.popleft().set()
        else:
            self._free += 1

    def _refuse_waiters(self) -> None:
        while self._place_waiters:
            self._place_waiters.popleft().set_exception(NotAdmitted("no exchange is admitted any more"))

    def _wait_for_slot(self, begin_by: float, begin_at: float | None, *, probe: bool) -> None:
        while True:
            now = time.monotonic()
            self._check_open(now, begin_by)
            if begin_at is not None and now < begin_at:
                gevent.sleep(begin_at - now)
            elif probe or self._is_in_time(now, begin_at):
                return
            else:
                begin_at = self._slots.next()

    def _is_in_time(self, now: float, begin_at: float | None) -> bool:
        return self.limits.rate is None if begin_at is None else now - begin_at <= MAX_SLOT_DELAY_S

    def _check_open(self, now: float, begin_by: float) -> None:
        if self._stopped:
            raise NotAdmitted(STOPPED)
        if self._withdrawn:
            raise NotAdmitted(REMOVED)
        if now > begin_by:
            raise _build_too_late_error()
        if now < self._closed_until:
            raise NotAdmitted("sending to the provider is suspended for now")
        if now > self._share_valid_until:
            raise NotAdmitted("the database is unavailable, so this worker's share of the limits is unknown")


def _build_too_late_error() -> NotAdmitted:
    return NotAdmitted("the exchange could not begin in time")


class RateMeter:
    """Counts events per second. Counts decay by half each second.

    The decay matters because the outcome of exchanges is known only later: while a provider holds everything back,
    nothing begins, and the last throttled exchange must still be compared with the seconds before.
    """

    def __init__(self) -> None:
        self._second = 0
        self._current, self._previous = 0, 0.0

    def count(self) -> None:
        self._advance()
        self._current += 1

    @property
    def per_second(self) -> int:
        self._advance()
        return max(self._current, round(self._previous))

    def _advance(self) -> None:
        second = int(time.monotonic())
        if second != self._second:
            decay: float = 0.5 ** min(second - self._second - 1, 60)
            self._previous = max(self._current, self._previous / 2) * decay
            self._second, self._current = second, 0


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
    """

    def __init__(self, take: Callable[[int], Sequence[float]]) -> None:
        self._take = take
        self._waiting: list[AsyncResult[float]] = []
        self._lock = Semaphore(1)

    def next(self) -> float:
        """Return the time at which the caller's slot begins.

        Raises:
            NotAdmitted: there are more callers than slots.
            Exception: what `take` raised.
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
            result.set_exception(NotAdmitted(NO_SLOT))
