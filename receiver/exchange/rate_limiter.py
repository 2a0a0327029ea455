"""What workers tell and hear of providers' limits: the gates of one process, by the names of their providers.

How many may be under way at once is shared out among the workers, each of which renews its share every second; one that
is gone loses its share soon. When each may begin is told by slots that claims take from the provider's row.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Generic, Protocol, TypeVar

import structlog
from uuid_utils.compat import uuid7

from receiver.domain.limits import (
    ExchangeStats,
    LimitPolicy,
    ProviderLimits,
    Signal,
    apply_stats,
    classify_outcome,
    compute_share,
    find_free_slots,
    take_slots,
)
from receiver.domain.sending import NoResponse, NotSent, Response
from receiver.exchange.admission import Admission, NotAdmitted
from receiver.exchange.slots import LatencyEstimate
from receiver.store.database import Connection, Database, StoreError, translate_errors
from receiver.store.limits import (
    ConcurrencyShare,
    OtherWorkerShares,
    ProviderCapacity,
    delete_shares,
    find_other_shares,
    insert_providers,
    lock_limits,
    renew_shares,
    save_limits,
)

_EVERY = 1.0
_LEASE = 3.0
_REMEDY = "none is needed if it recovers: what is queued waits, and probes see when it is back; else see its own status"

_log = structlog.get_logger(__name__)


class Work(Protocol):
    """Something that an exchange with a provider is needed for."""

    @property
    def provider(self) -> str: ...


W = TypeVar("W", bound=Work)


@dataclass(frozen=True, slots=True)
class Permit(Generic[W]):
    """Work that was claimed, and when its exchange may begin (`time.monotonic`); None if that is left to the gate.

    A `probe` is the one exchange by which is seen whether the provider is back; if nothing is sent, that must be told.
    """

    work: W
    begin_at: float | None = None
    probe: bool = False


@dataclass(frozen=True, slots=True)
class ExchangeOutcome:
    """An exchange that ended at `at` (UTC), or a probe that was not begun."""

    provider: str
    outcome: Response | NoResponse | NotSent
    at: datetime


class RateLimiter:
    """The gates of one process, and what it tells and hears about the limits of their providers."""

    def __init__(self, database: Database, policies: Mapping[str, LimitPolicy]) -> None:
        self._database = database
        self._worker_id = uuid7()
        self._names = sorted(policies)
        self._gates = {name: Admission(policy, partial(self._take_slots, name)) for name, policy in policies.items()}
        self._lead = LatencyEstimate()
        self._known = False

    def __getitem__(self, provider: str) -> Admission:
        return self._gates[provider]

    def renew(self) -> float:
        """Renew this worker's shares and look at the limits; gives the seconds until the next time."""
        asked_at = time.monotonic()
        with self._database.transaction() as connection:
            if not self._known:
                insert_providers(connection, self._names)
            limits = lock_limits(connection, self._names)
            others = find_other_shares(connection, self._worker_id, self._names)
            shares = {name: self._share(admission, others.get(name)) for name, admission in self._gates.items()}
            renew_shares(connection, self._worker_id, [self._claimable(*one) for one in shares.items()], _LEASE)
        self._known = True
        for one, now in limits:
            admission, theirs = self._gates[one.provider], others.get(one.provider)
            admission.see(one, now)
            admission.resize(shares[one.provider])
            admission.renew(1 + (theirs.workers if theirs else 0), asked_at + _LEASE)
        return _EVERY

    def claim(
        self,
        capacities: Sequence[ProviderCapacity],
        ready: Callable[[Connection, Sequence[ProviderCapacity]], Mapping[str, bool]],
        take: Callable[[Connection, Sequence[ProviderCapacity]], Sequence[W]],
    ) -> list[Permit[W]]:
        """Claim work within the limits of its providers.

        Args:
            capacities: how much more of each provider's work this process can take.
            ready: gives the lanes that work is due in, and whether they must take slots, whatever is configured.
            take: claims work that is due, no more than each lane's capacity.
        """
        with self._database.connection() as connection:
            due = ready(connection, capacities)
            free = [capacity for capacity in capacities if capacity.provider in due]
            slotted = {
                capacity.provider: capacity
                for capacity in free
                if due[capacity.provider] or self._paced(capacity.provider)
            }
            plain = [capacity for capacity in free if capacity.provider not in slotted]
            permits = [Permit(work) for work in take(connection, plain)] if plain else []
            try:
                with translate_errors():
                    return permits + (self._claim_slots(connection, slotted, take) if slotted else [])
            except StoreError as error:
                if not permits:
                    raise
                # What is claimed already must be sent: nobody else would take it before its lease runs out.
                _log.warning("slots.not_claimed", error=str(error))
                return permits

    def tell(self, connection: Connection, ended: Iterable[ExchangeOutcome]) -> None:
        """Tell of exchanges that ended, in order. It is never worth a failure: what is lost will be seen again."""
        tallies = self._notable(ended)
        if not tallies:
            return
        try:
            with connection.transaction():
                known = lock_limits(connection, sorted(tallies))
                changed = [
                    (apply_stats(one, tallies[one.provider], self._policy(one), now), one, now) for one, now in known
                ]
                save_limits(connection, [new for new, old, _ in changed if new != old])
        except Exception as error:
            # Whatever it is: what the exchanges brought is committed, and would be judged again.
            _log.warning("limits.not_told", error=str(error))
            return
        for new, old, now in changed:
            _log_change(old, new, now)
            self._gates[new.provider].see(new, now)

    def stop(self) -> None:
        """Let nothing begin any more."""
        for admission in self._gates.values():
            admission.stop()

    def close(self) -> None:
        """Give up this worker's shares."""
        try:
            with self._database.connection() as connection:
                delete_shares(connection, self._worker_id)
        except StoreError as error:  # they run out by themselves
            _log.info("shares.not_given_up", error=str(error))

    def _notable(self, ended: Iterable[ExchangeOutcome]) -> Mapping[str, ExchangeStats]:
        """Count what exchanges say of their providers, where it may change their limits."""
        signs: dict[str, list[tuple[Signal, float]]] = defaultdict(list)
        for one in ended:
            signs[one.provider].append(classify_outcome(one.outcome, one.at))
        tallies = {name: ExchangeStats.of(some, self._gates[name].per_second) for name, some in signs.items()}
        return {name: tally for name, tally in tallies.items() if tally.notable or self._gates[name].limits.troubled}

    def _claim_slots(
        self,
        connection: Connection,
        capacities: Mapping[str, ProviderCapacity],
        take: Callable[[Connection, Sequence[ProviderCapacity]], Sequence[W]],
    ) -> list[Permit[W]]:
        """Claim work whose exchanges begin in slots; only so many slots are taken as there is work."""
        with connection.transaction():
            known = lock_limits(connection, sorted(capacities))
            named_at = time.monotonic()
            slots = {
                one.provider: find_free_slots(
                    one, self._policy(one), capacities[one.provider].free, now, self._lead.seconds
                )
                for one, now in known
            }
            open_lanes = [replace(capacities[name], free=some.count) for name, some in slots.items() if some.count]
            works = take(connection, open_lanes) if open_lanes else ()
            taken = Counter(work.provider for work in works)
            changed = [
                (take_slots(one, slots[one.provider], taken[one.provider], self._policy(one), now), now)
                for one, now in known
                if taken[one.provider]
            ]
            save_limits(connection, [one for one, _ in changed])
        if changed:
            self._lead.note(named_at)
        for one, now in changed:
            self._gates[one.provider].see(one, now)  # so that a probe is admitted
        probed = {one.provider for one, _ in changed if one.probing}
        permits, place = [], Counter[str]()
        for work in works:
            some = slots[work.provider]
            begin_at = named_at + some.begin_in(place[work.provider]) if some.spacing else None
            permits.append(Permit(work, begin_at, probe=work.provider in probed))
            place[work.provider] += 1
        return permits

    def _take_slots(self, name: str, wanted: int) -> Sequence[float]:
        """Take more slots of a provider, at most so many; give the moments at which they begin."""
        try:
            with self._database.transaction() as connection:
                ((limits, now),) = lock_limits(connection, [name])
                named_at = time.monotonic()
                # While the circuit is open only a probe may begin, and that is claimed.
                wanted = 0 if limits.open_until else wanted
                slots = find_free_slots(limits, self._policy(limits), wanted, now, self._lead.seconds)
                save_limits(connection, [take_slots(limits, slots, slots.count, self._policy(limits), now)])
        except StoreError as error:
            raise NotAdmitted(f"no slot can be taken: {error}") from error
        self._lead.note(named_at)
        return [named_at + slots.begin_in(index) for index in range(slots.count)]

    def _paced(self, name: str) -> bool:
        return self._gates[name].policy.max_per_second is not None

    def _policy(self, limits: ProviderLimits) -> LimitPolicy:
        return self._gates[limits.provider].policy

    def _claimable(self, name: str, share: int) -> ConcurrencyShare:
        """Give the share to claim: what is under way counts, and nothing more begins that exceeds it."""
        admission = self._gates[name]
        admission.resize(min(share, admission.share))
        return ConcurrencyShare(name, max(share, admission.under_way))

    @staticmethod
    def _share(admission: Admission, others: OtherWorkerShares | None) -> int:
        limit = admission.policy.max_concurrency
        return compute_share(limit, 1 + others.workers, others.slots) if others else limit


def _log_change(old: ProviderLimits, new: ProviderLimits, now: datetime) -> None:
    """Tell operators what changed that they may wonder about."""
    if new.consecutive_openings > old.consecutive_openings:
        told = {"failures": new.failures, "seconds": new.closed_for(now), "remedy": _REMEDY}
        _log.error("circuit.opened", provider=new.provider, **told)
    elif old.consecutive_openings and not new.consecutive_openings:
        _log.warning("circuit.closed", provider=new.provider)
    if new.rate is not None and (old.rate is None or new.rate < old.rate):
        _log.warning("rate.lowered", provider=new.provider, per_second=new.rate, held_for=new.closed_for(now))
    elif old.rate is not None and new.rate is None:
        _log.info("rate.recovered", provider=new.provider)
