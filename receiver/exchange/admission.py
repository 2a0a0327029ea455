"""Where exchanges with one provider begin: as many at once as this process may, each in its slot of time.

Nothing is sent by an exchange that is not admitted, so that it can be put back.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import gevent
from gevent.lock import Semaphore

from receiver.domain.errors import ReceiverError
from receiver.domain.limits import MAX_SLOT_DELAY_S, LimitPolicy, ProviderLimits
from receiver.exchange.slots import SlotQueue


class NotAdmitted(ReceiverError):
    """An exchange may not begin; nothing was sent."""


class Admission:
    """Lets exchanges with one provider begin: as many at once as this process's share, each in its slot."""

    def __init__(self, policy: LimitPolicy, take_slots: Callable[[int], Sequence[float]]) -> None:
        self.policy = policy
        self.limits = ProviderLimits("")
        self.share = 0
        self.under_way = 0
        self._slots = SlotQueue(take_slots, _none_left)
        self._free = Semaphore(0)
        self._waiting = 0
        self._owed = 0
        self._stopped = False
        self._renewed_until = 0.0
        self._closed_until = 0.0
        self._begun = RateMeter()
        self._workers = 1

    @contextmanager
    def admitted(self, begin_by: float, begin_at: float | None = None, *, probe: bool = False) -> Iterator[None]:
        """Wait until an exchange may begin, and count it as under way within the context.

        Args:
            begin_by: when it is too late to begin, by `time.monotonic`, as all times here.
            begin_at: its slot; another is taken if that was missed.
            probe: it may begin later than in its slot: nothing else is under way, and there is no other slot.

        Raises:
            NotAdmitted: it may not begin, or not in time.
        """
        self._wait_for_room(begin_by)
        self.under_way += 1
        try:
            self._wait_for_slot(begin_by, begin_at, probe=probe)
            self._begun.count()
            yield
        finally:
            self.under_way -= 1
            self._give_back()

    @property
    def room(self) -> int:
        """How many exchanges may be under way in this process now."""
        now = time.monotonic()
        return self.share if self._closed_until <= now <= self._renewed_until else 0

    @property
    def per_second(self) -> int:
        """How many exchanges began lately in a second, should every worker begin as many as this one."""
        return self._begun.per_second * self._workers

    def see(self, limits: ProviderLimits, now: datetime) -> None:
        """Go by what is known of the provider at `now` (UTC)."""
        self.limits = limits
        self._closed_until = time.monotonic() + limits.closed_for(now)

    def renew(self, workers: int, until: float) -> None:
        """Go on until a time at which others may have taken this share's place.

        `workers` is how many have a share, this one included.
        """
        self._renewed_until, self._workers = until, workers

    def resize(self, share: int) -> None:
        """Let so many exchanges be under way at once; those that are already may end."""
        change = share - self.share
        self.share = share
        for _ in range(change):
            self._give_back()
        for _ in range(-change):
            if not self._free.acquire(blocking=False):
                self._owed += 1

    def stop(self) -> None:
        """Let nothing begin any more; who waits is refused at once."""
        self._stopped = True
        for _ in range(self._waiting):
            self._free.release()

    def _wait_for_room(self, begin_by: float) -> None:
        """Wait until fewer are under way than may be; not for ever, as none may while others have the whole share."""
        now = time.monotonic()
        self._check(now, begin_by)
        self._waiting += 1
        try:
            if not self._free.acquire(timeout=begin_by - now):
                self._check(time.monotonic(), begin_by)
                raise _too_late()
        finally:
            self._waiting -= 1

    def _give_back(self) -> None:
        if self._owed:
            self._owed -= 1
        else:
            self._free.release()

    def _wait_for_slot(self, begin_by: float, begin_at: float | None, *, probe: bool) -> None:
        while True:
            now = time.monotonic()
            self._check(now, begin_by)
            if begin_at is not None and now < begin_at:
                gevent.sleep(begin_at - now)
            elif probe or self._in_time(now, begin_at):
                return
            else:
                begin_at = self._slots.next()

    def _in_time(self, now: float, begin_at: float | None) -> bool:
        return self.limits.rate is None if begin_at is None else now - begin_at <= MAX_SLOT_DELAY_S

    def _check(self, now: float, begin_by: float) -> None:
        if self._stopped:
            raise NotAdmitted("its worker was stopped before its turn came")
        if now > begin_by:
            raise _too_late()
        if now < self._closed_until:
            raise NotAdmitted("the provider is left alone for a while")
        if now > self._renewed_until:
            raise NotAdmitted("the database is away, so that it is not known what others send")


def _too_late() -> NotAdmitted:
    return NotAdmitted("its turn did not come in time")


def _none_left() -> NotAdmitted:
    return NotAdmitted("the provider's slots are taken for now")


class RateMeter:
    """Counts by seconds. What was counted fades by half each second: what comes of exchanges is known only after them.

    While a provider holds everything back nothing begins, and one more that was too many is not all there is.
    """

    def __init__(self) -> None:
        self._second = 0
        self._this, self._last = 0, 0.0

    def count(self) -> None:
        self._turn()
        self._this += 1

    @property
    def per_second(self) -> int:
        self._turn()
        return max(self._this, round(self._last))

    def _turn(self) -> None:
        second = int(time.monotonic())
        if second != self._second:
            fading: float = 0.5 ** min(second - self._second - 1, 60)
            self._last = max(self._this, self._last / 2) * fading
            self._second, self._this = second, 0
