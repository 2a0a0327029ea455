"""Limits of what a provider is sent: send slots, adaptive rate, circuit breaker and concurrency shares; pure decisions.

All workers share one row per provider, `ProviderLimits`. Claiming work takes send slots from that row: times at which
one exchange each may begin. The outcomes of exchanges lower or raise the rate and open or close the circuit. Without
any limit a provider has no slots, and its work is claimed without the row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum

from receiver.domain.backoff import parse_retry_after
from receiver.domain.responses import ResponseClass, find_status_rule
from receiver.domain.sending import NoResponse, NotSent, Outcome

MAX_SLOT_DELAY_S = 0.025
"""Seconds after its slot within which an exchange may still begin; after that it needs another slot."""

# A delay moves exchanges closer together by up to 2.5 % of a second. That part of the rate stays unused, so that no
# second contains more exchanges than the limit.
_USABLE_RATE = 1 - MAX_SLOT_DELAY_S
_SLOT_HORIZON_S = 0.25
_MAX_SLOT_WAIT_S = 5.0
_MIN_RATE_PER_S = 0.1
_RATE_INCREASE = 1.25
_RATE_INCREASE_INTERVAL = timedelta(seconds=1)
_MAX_HOLD_S = 60.0
_MAX_EXPONENT = 60


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """When the circuit of a provider opens: after `failures` consecutive failures, for `open_for` seconds.

    Then one exchange probes the provider. Each failed probe doubles the time, up to `max` seconds.
    """

    failures: int = 20
    open_for: float = 1.0
    max: float = 60.0


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """The configured limits of a provider. `max_duration` is how many seconds an exchange takes at most.

    Without `max_per_second` the rate is limited only after the provider asked to slow down; without a `circuit` the
    provider is never suspended. Without `adaptive` its responses change nothing.
    """

    max_concurrency: int
    max_duration: float
    max_per_second: float | None = None
    circuit: CircuitPolicy | None = None
    adaptive: bool = True


class CircuitState(StrEnum):
    """The state of a provider's circuit: closed (normal), open (nothing is sent), half-open (one probe is sent)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """The state of a provider's limits that all workers share; times are UTC, by the database's clock.

    `rate` is the current number of exchanges per second, None for the configured one; it was lowered from `full_rate`
    and last changed at `rate_changed_at`. No exchange begins before `held_until`. `next_slot_at` is the first free send
    slot. `failures` counts consecutive failures. While the circuit is open, `open_until` is its end,
    `consecutive_openings` counts its openings in a row, and `probing` says that a probe is in flight.
    """

    provider: str
    rate: float | None = None
    full_rate: float | None = None
    rate_changed_at: datetime | None = None
    held_until: datetime | None = None
    next_slot_at: datetime | None = None
    failures: int = 0
    consecutive_openings: int = 0
    open_until: datetime | None = None
    probing: bool = False

    @property
    def is_degraded(self) -> bool:
        """Whether a successful exchange changes the limits."""
        return self.rate is not None or self.failures > 0 or self.consecutive_openings > 0

    def circuit(self, now: datetime) -> CircuitState:
        """Return the state of the circuit."""
        if self.open_until is None:
            return CircuitState.CLOSED
        return CircuitState.HALF_OPEN if self.probing or self.open_until <= now else CircuitState.OPEN

    def closed_until(self, now: datetime) -> datetime | None:
        """Return the time before which no exchange may begin; None if one may begin now."""
        until = max(self.held_until or now, now if self.probing else (self.open_until or now))
        return until if until > now else None

    def closed_for(self, now: datetime) -> float:
        """Return the seconds for which no exchange may begin."""
        return ((self.closed_until(now) or now) - now).total_seconds()

    def per_second(self, policy: LimitPolicy) -> float | None:
        """Return how many exchanges may begin in a second; None if their number is not limited."""
        return min((rate for rate in (self.rate, policy.max_per_second) if rate is not None), default=None)


@dataclass(frozen=True, slots=True)
class SendSlots:
    """Times at which exchanges may begin: `count` slots, the first in `first_in` seconds, `spacing` seconds apart."""

    count: int
    first_in: float = 0.0
    spacing: float = 0.0

    def begin_in(self, index: int) -> float:
        """Return the seconds until the slot at `index`, from 0, begins."""
        return self.first_in + index * self.spacing


def find_free_slots(
    limits: ProviderLimits, policy: LimitPolicy, count: int, now: datetime, lead: float = 0.0
) -> SendSlots:
    """Return the slots that a claim may take now: at most `count`, all of them in the near future.

    Args:
        limits: the provider's limits.
        policy: the provider's configuration.
        count: the number of slots to take.
        now: the current time (UTC).
        lead: no slot begins within this many seconds, because the transaction that takes it lasts about as long.
    """
    if limits.held_until and limits.held_until > now:
        return SendSlots(0)
    if limits.open_until:
        count = min(count, 1) if limits.open_until <= now else 0
    rate = limits.per_second(policy)
    if rate is None or count <= 0:
        return SendSlots(max(count, 0))
    spacing = 1 / (rate * _USABLE_RATE)
    first_in = max(((limits.next_slot_at or now) - now).total_seconds(), lead)
    # The next slot was computed when the rate was lower, or by a clock that was ahead.
    if first_in > spacing + _MAX_SLOT_WAIT_S:
        first_in = lead
    horizon = lead + _SLOT_HORIZON_S - first_in
    within_horizon = int(horizon / spacing) + 1 if horizon >= 0 else 0
    return SendSlots(min(count, within_horizon), first_in, spacing)


def take_slots(
    limits: ProviderLimits, slots: SendSlots, count: int, policy: LimitPolicy, now: datetime
) -> ProviderLimits:
    """Return the limits after a claim took the first `count` of the free slots."""
    if not count:
        return limits
    if slots.spacing:
        limits = replace(limits, next_slot_at=now + timedelta(seconds=slots.begin_in(count)))
    if limits.open_until:
        # If the worker of this probe dies, another probe may begin when the exchange must be over.
        limits = replace(limits, probing=True, open_until=now + timedelta(seconds=2 * policy.max_duration + 1))
    return limits


class Signal(Enum):
    """What an exchange says about the health of the provider, independent of the request."""

    OK = "the provider responds"
    FAILED = "the provider fails or does not respond"
    SLOW_DOWN = "the provider asks to slow down"
    NOT_SENT = "a probe was not sent"


_SIGNALS = {
    ResponseClass.SLOW_DOWN: Signal.SLOW_DOWN,
    ResponseClass.PROVIDER_ERROR: Signal.FAILED,
    ResponseClass.AMBIGUOUS: Signal.FAILED,
}


def classify_outcome(
    outcome: Outcome, now: datetime, status_codes: Mapping[int, ResponseClass]
) -> tuple[Signal, float]:
    """Return the signal of an exchange that ended at `now` (UTC), and the seconds that the provider asks to wait.

    `status_codes` are the classes of statuses that the provider's configuration overrides.
    """
    if isinstance(outcome, NotSent):
        return Signal.NOT_SENT, 0.0
    if isinstance(outcome, NoResponse):
        return Signal.FAILED, 0.0
    response_class = find_status_rule(outcome.status, status_codes).response_class
    wait = parse_retry_after(outcome.headers, now) or 0.0
    if response_class is ResponseClass.RETRY and wait:
        return Signal.SLOW_DOWN, wait
    return _SIGNALS.get(response_class, Signal.OK), wait


@dataclass(frozen=True, slots=True)
class ExchangeStats:
    """Counts of a series of exchanges with one provider.

    `failures` are those after the last exchange that did not fail. `throttled` counts the requests to slow down, and
    `wait` is the longest wait in seconds that came with them. `unused_probe`: a probe was not sent. `per_second` is how
    many exchanges all workers recently began per second, at least those of the series.
    """

    succeeded: bool = False
    failures: int = 0
    throttled: int = 0
    wait: float = 0.0
    unused_probe: bool = False
    per_second: float = 1.0

    @property
    def is_degraded(self) -> bool:
        """Whether the exchanges change limits that are not degraded."""
        return self.failures > 0 or self.throttled > 0

    @classmethod
    def from_signals(cls, signals: Iterable[tuple[Signal, float]], per_second: float) -> "ExchangeStats":
        """Count signals, each with the seconds that the provider asked to wait."""
        all_signals = list(signals)
        sent = [(signal, wait) for signal, wait in all_signals if signal is not Signal.NOT_SENT]
        last_success = max(
            (number for number, (signal, _) in enumerate(sent, 1) if signal is not Signal.FAILED), default=0
        )
        waits = [wait for signal, wait in sent if signal is Signal.SLOW_DOWN]
        return cls(
            succeeded=last_success > 0,
            failures=len(sent) - last_success,
            throttled=len(waits),
            wait=max(waits, default=0.0),
            unused_probe=len(sent) < len(all_signals),
            per_second=max(per_second, len(sent), 1.0),
        )


def apply_stats(limits: ProviderLimits, stats: ExchangeStats, policy: LimitPolicy, now: datetime) -> ProviderLimits:
    """Return the limits after a series of exchanges."""
    if not policy.adaptive:
        return limits
    return _update_rate(_update_circuit(limits, stats, policy, now), stats, policy, now)


def _update_circuit(limits: ProviderLimits, stats: ExchangeStats, policy: LimitPolicy, now: datetime) -> ProviderLimits:
    """Open or close the circuit.

    Failures of exchanges that were in flight when it opened do not extend it; a success closes it. A probe that was not
    sent frees its place for another one.
    """
    if stats.succeeded:
        limits = replace(limits, failures=0, consecutive_openings=0, open_until=None, probing=False)
    failures = limits.failures + stats.failures
    limits = replace(limits, failures=failures)
    if stats.unused_probe and limits.probing and not stats.failures:
        return replace(limits, probing=False, open_until=now)
    if policy.circuit is None or not stats.failures:
        return limits
    probe_failed = limits.probing
    opens = limits.open_until is None and failures >= policy.circuit.failures
    if not probe_failed and not opens:
        return limits
    pause = min(policy.circuit.open_for * 2.0 ** min(limits.consecutive_openings, _MAX_EXPONENT), policy.circuit.max)
    return replace(
        limits,
        consecutive_openings=limits.consecutive_openings + 1,
        open_until=now + timedelta(seconds=pause),
        probing=False,
    )


def _update_rate(limits: ProviderLimits, stats: ExchangeStats, policy: LimitPolicy, now: datetime) -> ProviderLimits:
    """Lower the rate by the share of throttled exchanges, or raise it at most once per second."""
    if limits.held_until and limits.held_until <= now:
        limits = replace(limits, held_until=None)
    if stats.throttled:
        return _lower_rate(limits, stats, policy, now)
    changed_recently = limits.rate_changed_at is not None and now - limits.rate_changed_at < _RATE_INCREASE_INTERVAL
    if limits.rate is None or limits.full_rate is None or limits.held_until or not stats.succeeded or changed_recently:
        return limits
    rate = limits.rate * _RATE_INCREASE
    if rate >= limits.full_rate:
        return replace(limits, rate=None, full_rate=None, rate_changed_at=now)
    return replace(limits, rate=rate, rate_changed_at=now)


def _lower_rate(limits: ProviderLimits, stats: ExchangeStats, policy: LimitPolicy, now: datetime) -> ProviderLimits:
    """Lower the rate by half the share of a second's exchanges that were throttled (as RFC 8257, section 3.3)."""
    full_rate = limits.full_rate or policy.max_per_second or stats.per_second
    throttled_share = stats.throttled / stats.per_second
    rate = max((limits.rate or full_rate) * (1 - throttled_share / 2), min(_MIN_RATE_PER_S, full_rate))
    hold = min(stats.wait, _MAX_HOLD_S)
    held_until = max(limits.held_until or now, now + timedelta(seconds=hold)) if hold else limits.held_until
    return replace(limits, rate=rate, full_rate=full_rate, rate_changed_at=now, held_until=held_until)


def compute_share(limit: int, workers: int, used_by_others: int) -> int:
    """Return how much of a provider's `max_concurrency` one worker may use.

    Args:
        limit: the limit of all workers together.
        workers: the number of live workers, this worker included.
        used_by_others: the sum of the other workers' current shares.
    """
    fair_share = -(-limit // workers)
    return max(min(fair_share, limit - used_by_others), 0)
