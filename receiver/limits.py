"""Where exchanges with providers begin: one gate for each, which keeps its limits in all workers together.

How many may be under way at once is shared out among the workers, each of which renews its share every second; one that
is gone loses its share soon. When each may begin is told by slots that claims take from the provider's row. Nothing is
sent by an exchange that is not admitted, so that it can be put back.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Generic, Protocol, TypeVar

import gevent
import structlog
from gevent.lock import Semaphore
from uuid_utils.compat import uuid7

from receiver.domain.errors import ReceiverError
from receiver.domain.limits import (
    LATENESS,
    LimitPolicy,
    Limits,
    Sign,
    Tally,
    after,
    free_slots,
    share_of,
    sign_in,
    with_taken,
)
from receiver.domain.sending import Answer, NoAnswer, NotBegun
from receiver.slots import Lead, SlotQueue
from receiver.store.database import Connection, Database, StoreError, translated
from receiver.store.limits import (
    Lane,
    OtherShares,
    Share,
    give_up_shares,
    keep_limits,
    know_providers,
    lock_limits,
    renew_shares,
    shares_of_others,
)

_EVERY = 1.0
_LEASE = 3.0

_log = structlog.get_logger(__name__)


class Work(Protocol):
    """Something that an exchange with a provider is needed for."""

    @property
    def provider(self) -> str: ...


W = TypeVar("W", bound=Work)


@dataclass(frozen=True, slots=True)
class Turn(Generic[W]):
    """Work that was claimed, and when its exchange may begin (`time.monotonic`); None if that is left to the gate.

    A `probe` is the one exchange by which is seen whether the provider is back; if nothing is sent, that must be told.
    """

    work: W
    begin_at: float | None = None
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """An exchange that ended at `at` (UTC), or a probe that was not begun."""

    provider: str
    outcome: Answer | NoAnswer | NotBegun
    at: datetime


class NotAdmitted(ReceiverError):
    """An exchange may not begin; nothing was sent."""


class Gate:
    """Lets exchanges with one provider begin: as many at once as this process's share, each in its slot."""

    def __init__(self, policy: LimitPolicy, take_slots: Callable[[int], Sequence[float]]) -> None:
        self.policy = policy
        self.limits = Limits("")
        self.share = 0
        self.under_way = 0
        self._slots = SlotQueue(take_slots, _none_left)
        self._free = Semaphore(0)
        self._waiting = 0
        self._owed = 0
        self._stopped = False
        self._renewed_until = 0.0
        self._closed_until = 0.0
        self._begun = _Pace()
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

    def see(self, limits: Limits, now: datetime) -> None:
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
        return self.limits.rate is None if begin_at is None else now - begin_at <= LATENESS

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


class _Pace:
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


class Gates:
    """The gates of one process, and what it tells and hears about the limits of their providers."""

    def __init__(self, database: Database, policies: Mapping[str, LimitPolicy]) -> None:
        self._database = database
        self._worker_id = uuid7()
        self._names = sorted(policies)
        self._gates = {name: Gate(policy, partial(self._take_slots, name)) for name, policy in policies.items()}
        self._lead = Lead()
        self._known = False

    def __getitem__(self, provider: str) -> Gate:
        return self._gates[provider]

    def renew(self) -> float:
        """Renew this worker's shares and look at the limits; gives the seconds until the next time."""
        asked_at = time.monotonic()
        with self._database.transaction() as connection:
            if not self._known:
                know_providers(connection, self._names)
            limits = lock_limits(connection, self._names)
            others = shares_of_others(connection, self._worker_id, self._names)
            shares = {name: self._share(gate, others.get(name)) for name, gate in self._gates.items()}
            renew_shares(connection, self._worker_id, [self._claimable(*one) for one in shares.items()], _LEASE)
        self._known = True
        for one, now in limits:
            gate, theirs = self._gates[one.provider], others.get(one.provider)
            gate.see(one, now)
            gate.resize(shares[one.provider])
            gate.renew(1 + (theirs.workers if theirs else 0), asked_at + _LEASE)
        return _EVERY

    def claim(
        self,
        lanes: Sequence[Lane],
        ready: Callable[[Connection, Sequence[Lane]], Mapping[str, bool]],
        take: Callable[[Connection, Sequence[Lane]], Sequence[W]],
    ) -> list[Turn[W]]:
        """Claim work within the limits of its providers.

        Args:
            lanes: how much more of each provider's work this process can take.
            ready: gives the lanes that work is due in, and whether they must take slots, whatever is configured.
            take: claims work that is due, no more than each lane's capacity.
        """
        with self._database.connection() as connection:
            due = ready(connection, lanes)
            free = [lane for lane in lanes if lane.provider in due]
            slotted = {lane.provider: lane for lane in free if due[lane.provider] or self._paced(lane.provider)}
            plain = [lane for lane in free if lane.provider not in slotted]
            turns = [Turn(work) for work in take(connection, plain)] if plain else []
            try:
                with translated():
                    return turns + (self._claim_slots(connection, slotted, take) if slotted else [])
            except StoreError as error:
                if not turns:
                    raise
                # What is claimed already must be sent: nobody else would take it before its lease runs out.
                _log.warning("slots.not_claimed", error=str(error))
                return turns

    def tell(self, connection: Connection, ended: Iterable[Ended]) -> None:
        """Tell of exchanges that ended, in order. It is never worth a failure: what is lost will be seen again."""
        tallies = self._notable(ended)
        if not tallies:
            return
        try:
            with connection.transaction():
                known = lock_limits(connection, sorted(tallies))
                changed = [(after(one, tallies[one.provider], self._policy(one), now), one, now) for one, now in known]
                keep_limits(connection, [new for new, old, _ in changed if new != old])
        except Exception as error:
            # Whatever it is: what the exchanges brought is committed, and would be judged again.
            _log.warning("limits.not_told", error=str(error))
            return
        for new, old, now in changed:
            _log_change(old, new, now)
            self._gates[new.provider].see(new, now)

    def stop(self) -> None:
        """Let nothing begin any more."""
        for gate in self._gates.values():
            gate.stop()

    def close(self) -> None:
        """Give up this worker's shares."""
        try:
            with self._database.connection() as connection:
                give_up_shares(connection, self._worker_id)
        except StoreError as error:  # they run out by themselves
            _log.info("shares.not_given_up", error=str(error))

    def _notable(self, ended: Iterable[Ended]) -> Mapping[str, Tally]:
        """Count what exchanges say of their providers, where it may change their limits."""
        signs: dict[str, list[tuple[Sign, float]]] = defaultdict(list)
        for one in ended:
            signs[one.provider].append(sign_in(one.outcome, one.at))
        tallies = {name: Tally.of(some, self._gates[name].per_second) for name, some in signs.items()}
        return {name: tally for name, tally in tallies.items() if tally.notable or self._gates[name].limits.troubled}

    def _claim_slots(
        self,
        connection: Connection,
        lanes: Mapping[str, Lane],
        take: Callable[[Connection, Sequence[Lane]], Sequence[W]],
    ) -> list[Turn[W]]:
        """Claim work whose exchanges begin in slots; only so many slots are taken as there is work."""
        with connection.transaction():
            known = lock_limits(connection, sorted(lanes))
            named_at = time.monotonic()
            slots = {
                one.provider: free_slots(one, self._policy(one), lanes[one.provider].capacity, now, self._lead.seconds)
                for one, now in known
            }
            open_lanes = [replace(lanes[name], capacity=some.count) for name, some in slots.items() if some.count]
            works = take(connection, open_lanes) if open_lanes else ()
            taken = Counter(work.provider for work in works)
            changed = [
                (with_taken(one, slots[one.provider], taken[one.provider], self._policy(one), now), now)
                for one, now in known
                if taken[one.provider]
            ]
            keep_limits(connection, [one for one, _ in changed])
        if changed:
            self._lead.note(named_at)
        for one, now in changed:
            self._gates[one.provider].see(one, now)  # so that a probe is admitted
        probed = {one.provider for one, _ in changed if one.probing}
        turns, place = [], Counter[str]()
        for work in works:
            some = slots[work.provider]
            begin_at = named_at + some.begin_in(place[work.provider]) if some.spacing else None
            turns.append(Turn(work, begin_at, probe=work.provider in probed))
            place[work.provider] += 1
        return turns

    def _take_slots(self, name: str, wanted: int) -> Sequence[float]:
        """Take more slots of a provider, at most so many; give the moments at which they begin."""
        try:
            with self._database.transaction() as connection:
                ((limits, now),) = lock_limits(connection, [name])
                named_at = time.monotonic()
                # While the circuit is open only a probe may begin, and that is claimed.
                wanted = 0 if limits.open_until else wanted
                slots = free_slots(limits, self._policy(limits), wanted, now, self._lead.seconds)
                keep_limits(connection, [with_taken(limits, slots, slots.count, self._policy(limits), now)])
        except StoreError as error:
            raise NotAdmitted(f"no slot can be taken: {error}") from error
        self._lead.note(named_at)
        return [named_at + slots.begin_in(index) for index in range(slots.count)]

    def _paced(self, name: str) -> bool:
        return self._gates[name].policy.max_per_second is not None

    def _policy(self, limits: Limits) -> LimitPolicy:
        return self._gates[limits.provider].policy

    def _claimable(self, name: str, share: int) -> Share:
        """Give the share to claim: what is under way counts, and nothing more begins that exceeds it."""
        gate = self._gates[name]
        gate.resize(min(share, gate.share))
        return Share(name, max(share, gate.under_way))

    @staticmethod
    def _share(gate: Gate, others: OtherShares | None) -> int:
        limit = gate.policy.max_concurrency
        return share_of(limit, 1 + others.workers, others.slots) if others else limit


def _log_change(old: Limits, new: Limits, now: datetime) -> None:
    """Tell operators what changed that they may wonder about."""
    if new.openings > old.openings:
        _log.error("circuit.opened", provider=new.provider, failures=new.failures, seconds=new.closed_for(now))
    elif old.openings and not new.openings:
        _log.warning("circuit.closed", provider=new.provider)
    if new.rate is not None and (old.rate is None or new.rate < old.rate):
        _log.warning("rate.lowered", provider=new.provider, per_second=new.rate, held_for=new.closed_for(now))
    elif old.rate is not None and new.rate is None:
        _log.info("rate.recovered", provider=new.provider)
