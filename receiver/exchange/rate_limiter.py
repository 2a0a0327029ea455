"""Rate and concurrency limits that all worker processes share: this process's `Admission` of each provider.

The workers divide how many exchanges may be in flight at once: each worker renews its share every second, and a dead
worker soon loses its share. When an exchange may begin is decided by slots that claims take from the provider's row.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

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
from receiver.domain.sending import NotSent
from receiver.exchange.admission import Admission, LatencyEstimate, NotAdmitted
from receiver.exchange.work import CompletedExchange, Permit, WorkT
from receiver.store.connections import Connection, transaction, translate_errors
from receiver.store.database import Database
from receiver.store.errors import StoreError
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

_RENEW_INTERVAL_S = 1.0
_SHARE_LEASE_S = 3.0
_IDLE_AFTER_S = 10.0
MAX_RESIDENT_PROVIDERS = 50
"""Up to this number, all providers are attended to all the time; of more, only those that have work."""
_CIRCUIT_REMEDY = (
    "none if the provider recovers: its requests stay queued and probes detect it; else see its status page"
)

_log = structlog.get_logger(__name__)


FindDue = Callable[[Connection, Sequence[ProviderCapacity]], Mapping[str, bool]]
"""Returns the providers with due work, each with whether the work must take slots whatever is configured."""
ClaimWork = Callable[[Connection, Sequence[ProviderCapacity]], Sequence[WorkT]]
"""Claims due work, at most the capacity of each provider."""


class RateLimiter:
    """The admissions of one process by provider name, kept in step with the limits in the database.

    Attributes:
        circuit_openings: how often this process opened the circuit of a provider, by provider.
        rate_reductions: how often this process lowered the rate of a provider, by provider.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._worker_id = uuid7()
        self._names: Sequence[str] = ()
        self._admissions: dict[str, Admission] = {}
        self._used_at: dict[str, float] = {}
        self._latency = LatencyEstimate()
        self._names_with_rows: set[str] = set()
        self.circuit_openings: Counter[str] = Counter()
        self.rate_reductions: Counter[str] = Counter()

    def configure(self, policies: Mapping[str, LimitPolicy]) -> None:
        """Apply these policies from now on, to the exchanges in flight too.

        The share of a provider without a policy is not renewed: what waits for its admission is not admitted.
        """
        for name in self._admissions.keys() - policies.keys():
            self._admissions[name].withdraw()
        for name, policy in policies.items():
            if name in self._admissions:
                self._admissions[name].use(policy)
            else:
                self._admissions[name] = Admission(policy, partial(self._take_slots, name))
        self._names = sorted(policies)
        self._names_with_rows.clear()

    def activate(self, names: Collection[str]) -> None:
        """Acquire shares of providers that now have work; a share is renewed until some seconds after the last work."""
        now = time.monotonic()
        idle = [name for name in names if name not in self._used_at]
        self._used_at.update(dict.fromkeys(names, now))
        if idle:
            self._renew(sorted(idle))

    def __getitem__(self, provider: str) -> Admission:
        return self._admissions[provider]

    def renew(self) -> float:
        """Renew this worker's shares and read the limits; return the seconds until the next renewal.

        Of many providers, only those are renewed that have work, and one, which shows that the worker is alive.
        """
        self._renew(self._names if len(self._names) <= MAX_RESIDENT_PROVIDERS else self._list_active())
        return _RENEW_INTERVAL_S

    def _list_active(self) -> list[str]:
        used_since = time.monotonic() - _IDLE_AFTER_S
        self._used_at = {
            name: used_at
            for name, used_at in self._used_at.items()
            if used_at >= used_since or not self._admissions[name].is_idle
        }
        return [name for index, name in enumerate(self._names) if index == 0 or name in self._used_at]

    def _renew(self, names: Sequence[str]) -> None:
        started_at = time.monotonic()
        with self._database.transaction() as connection:
            without_row = [name for name in names if name not in self._names_with_rows]
            if without_row:
                insert_providers(connection, without_row)
            locked = lock_limits(connection, names)
            others = find_other_shares(connection, self._worker_id, names)
            shares = {name: _compute_share(self._admissions[name], others.get(name)) for name in names}
            claims = [self._prepare_share(name, share) for name, share in shares.items()]
            renew_shares(connection, self._worker_id, claims, _SHARE_LEASE_S)
        self._names_with_rows.update(without_row)
        for limits, now in locked:
            admission, other = self._admissions[limits.provider], others.get(limits.provider)
            admission.update_limits(limits, now)
            admission.resize(shares[limits.provider])
            # The lease began no earlier than the transaction; counting from its start errs on the safe side.
            admission.extend_share(1 + (other.workers if other else 0), started_at + _SHARE_LEASE_S)

    def claim(
        self, capacities: Sequence[ProviderCapacity], find_due: FindDue, claim_work: ClaimWork[WorkT]
    ) -> list[Permit[WorkT]]:
        """Claim work within the limits of its providers.

        Args:
            capacities: how much more work of each provider this process can take.
            find_due: see `FindDue`.
            claim_work: see `ClaimWork`.
        """
        with self._database.connection() as connection:
            due = find_due(connection, capacities)
            due_capacities = [capacity for capacity in capacities if capacity.provider in due]
            slotted = {
                capacity.provider: capacity
                for capacity in due_capacities
                if due[capacity.provider] or self._has_rate(capacity.provider)
            }
            unslotted = [capacity for capacity in due_capacities if capacity.provider not in slotted]
            permits = [Permit(work) for work in claim_work(connection, unslotted)] if unslotted else []
            try:
                with translate_errors():
                    return permits + (self._claim_slots(connection, slotted, claim_work) if slotted else [])
            except StoreError as error:
                if not permits:
                    raise
                # Work that is claimed already must be sent: nobody else takes it before its lease runs out.
                _log.warning("slots.claim_failed", error=str(error))
                return permits

    def report(self, connection: Connection, exchanges: Iterable[CompletedExchange[Any]]) -> None:
        """Report the outcomes of exchanges, in order.

        An exchange that did not begin changes nothing, unless it is a probe: the circuit of its provider waits for it.

        A failure is logged, not raised: the outcomes are committed already, and the provider's next ones show the same.
        """
        stats = self._count_outcomes(exchanges)
        if not stats:
            return
        try:
            with transaction(connection):
                changes = [
                    (limits, apply_stats(limits, stats[limits.provider], self._get_policy(limits), now), now)
                    for limits, now in lock_limits(connection, sorted(stats))
                ]
                save_limits(connection, [new for old, new, _ in changes if new != old])
        except Exception as error:
            # Of any kind: raised here, the caller would record the outcomes a second time.
            _log.warning("rate_limiter.report_failed", error=str(error))
            return
        for old, new, now in changes:
            self._count_change(old, new)
            _log_change(old, new, now)
            self._admissions[new.provider].update_limits(new, now)

    @property
    def admissions(self) -> Mapping[str, Admission]:
        """The admissions by provider name."""
        return self._admissions

    def stop(self) -> None:
        """Admit no exchange any more."""
        for admission in self._admissions.values():
            admission.stop()

    def close(self) -> None:
        """Release this worker's shares."""
        try:
            with self._database.connection() as connection:
                delete_shares(connection, self._worker_id)
        except StoreError as error:  # the shares expire by themselves
            _log.info("shares.release_failed", error=str(error))

    def _count_outcomes(self, exchanges: Iterable[CompletedExchange[Any]]) -> Mapping[str, ExchangeStats]:
        """Count the outcomes of each provider whose limits they may change."""
        signals: dict[str, list[tuple[Signal, float]]] = defaultdict(list)
        for exchange in exchanges:
            is_adaptive = self._admissions[exchange.provider.name].policy.adaptive
            if is_adaptive and (exchange.probe or not isinstance(exchange.outcome, NotSent)):
                status_codes = exchange.provider.retry_rules.status_codes
                signal = classify_outcome(exchange.outcome, exchange.ended_at, status_codes)
                signals[exchange.provider.name].append(signal)
        stats = {
            name: ExchangeStats.from_signals(provider_signals, self._admissions[name].per_second)
            for name, provider_signals in signals.items()
        }
        return {
            name: counts
            for name, counts in stats.items()
            if counts.is_degraded or self._admissions[name].limits.is_degraded
        }

    def _count_change(self, old: ProviderLimits, new: ProviderLimits) -> None:
        self.circuit_openings[new.provider] += _opens_circuit(old, new)
        self.rate_reductions[new.provider] += _lowers_rate(old, new)

    def _claim_slots(
        self, connection: Connection, capacities: Mapping[str, ProviderCapacity], claim_work: ClaimWork[WorkT]
    ) -> list[Permit[WorkT]]:
        """Claim work whose exchanges begin in slots; only as many slots are taken as there is work."""
        with transaction(connection):
            locked = lock_limits(connection, sorted(capacities))
            locked_at = time.monotonic()
            slots = {
                limits.provider: find_free_slots(
                    limits, self._get_policy(limits), capacities[limits.provider].free, now, self._latency.seconds
                )
                for limits, now in locked
            }
            slot_capacities = [
                replace(capacities[name], free=free_slots.count)
                for name, free_slots in slots.items()
                if free_slots.count
            ]
            works = claim_work(connection, slot_capacities) if slot_capacities else ()
            counts = Counter(work.provider for work in works)
            changes = [
                (take_slots(limits, slots[name], counts[name], self._get_policy(limits), now), now)
                for limits, now in locked
                if counts[name := limits.provider]
            ]
            save_limits(connection, [limits for limits, _ in changes])
        if changes:
            self._latency.observe(locked_at)
        for limits, now in changes:
            self._admissions[limits.provider].update_limits(limits, now)  # so that a probe is admitted
        probed = {limits.provider for limits, _ in changes if limits.probing}
        permits, indexes = [], Counter[str]()
        for work in works:
            free_slots = slots[work.provider]
            begin_at = locked_at + free_slots.begin_in(indexes[work.provider]) if free_slots.spacing else None
            permits.append(Permit(work, begin_at, probe=work.provider in probed))
            indexes[work.provider] += 1
        return permits

    def _take_slots(self, name: str, count: int) -> Sequence[float]:
        """Take at most `count` more slots of a provider; return the times at which they begin."""
        try:
            with self._database.transaction() as connection:
                ((limits, now),) = lock_limits(connection, [name])
                locked_at = time.monotonic()
                # While the circuit is open, only a probe may begin, and a probe gets its slot when it is claimed.
                count = 0 if limits.open_until else count
                slots = find_free_slots(limits, self._get_policy(limits), count, now, self._latency.seconds)
                save_limits(connection, [take_slots(limits, slots, slots.count, self._get_policy(limits), now)])
        except StoreError as error:
            raise NotAdmitted(f"no slot can be taken: {error}") from error
        self._latency.observe(locked_at)
        return [locked_at + slots.begin_in(index) for index in range(slots.count)]

    def _has_rate(self, name: str) -> bool:
        return self._admissions[name].policy.max_per_second is not None

    def _get_policy(self, limits: ProviderLimits) -> LimitPolicy:
        return self._admissions[limits.provider].policy

    def _prepare_share(self, name: str, share: int) -> ConcurrencyShare:
        """Return the share to store, after shrinking the admission to it.

        Exchanges in flight beyond the share still count, so that no other worker takes their places.
        """
        admission = self._admissions[name]
        admission.resize(min(share, admission.share))
        return ConcurrencyShare(name, max(share, admission.in_flight))


def _compute_share(admission: Admission, others: OtherWorkerShares | None) -> int:
    limit = admission.policy.max_concurrency
    return compute_share(limit, 1 + others.workers, others.slots) if others else limit


def _opens_circuit(old: ProviderLimits, new: ProviderLimits) -> bool:
    return new.consecutive_openings > old.consecutive_openings


def _lowers_rate(old: ProviderLimits, new: ProviderLimits) -> bool:
    return new.rate is not None and (old.rate is None or new.rate < old.rate)


def _log_change(old: ProviderLimits, new: ProviderLimits, now: datetime) -> None:
    """Log the changes of a provider's limits that matter to operators."""
    if _opens_circuit(old, new):
        seconds = new.closed_for(now)
        _log.error(
            "circuit.opened", provider=new.provider, failures=new.failures, seconds=seconds, remedy=_CIRCUIT_REMEDY
        )
    elif old.consecutive_openings and not new.consecutive_openings:
        _log.warning("circuit.closed", provider=new.provider)
    if _lowers_rate(old, new):
        _log.warning("rate.lowered", provider=new.provider, per_second=new.rate, held_for=new.closed_for(now))
    elif old.rate is not None and new.rate is None:
        _log.info("rate.recovered", provider=new.provider)
