"""How much a provider is sent: pace, rate, circuit and shares, all of them decided from values.

What all workers share is one row per provider, `ProviderLimits`. A claim takes send slots from it, each a time at which
one exchange may begin; the outcomes of exchanges lower or raise its rate and open or close its circuit. A provider that is limited in no way has no slots, and is claimed from without the row.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum

from receiver.domain.backoff import parse_retry_after
from receiver.domain.responses import ResponseClass, find_status_rule
from receiver.domain.sending import NoResponse, NotSent, Response

MAX_SLOT_DELAY_S = 0.025
"""Seconds after its slot within which an exchange may still begin; later, it needs another slot."""

# Lateness brings exchanges closer together by up to 2.5 % of a second. So much of the rate is left free, so that no
# second holds more of them than are allowed.
_USED = 1 - MAX_SLOT_DELAY_S
_AHEAD = 0.25
_FARTHEST = 5.0
_LOWEST = 0.1
_RAISING = 1.25
_ONCE_IN = timedelta(seconds=1)
_LONGEST_HOLD = 60.0


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """When a provider is left alone: after so many `failures` in a row, for `open_for` seconds.

    Then one exchange probes. Each probe that fails doubles the time, up to `max` seconds.
    """

    failures: int = 20
    open_for: float = 1.0
    max: float = 60.0


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """What is configured for a provider. `longest` is how many seconds an exchange takes at most.

    Without `max_per_second` its rate is limited only after it asked to slow down, without a `circuit` it never is left
    alone. One that is not `adaptive` is sent as much as ever, whatever it answers.
    """

    max_concurrency: int
    longest: float
    max_per_second: float | None = None
    circuit: CircuitPolicy | None = None
    adaptive: bool = True


class CircuitState(StrEnum):
    """Whether a provider is sent to: as ever, not at all, or one exchange to see whether it is back."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What all workers know of a provider; times are UTC, by the database's clock.

    `rate` is how many exchanges per second the provider takes now, None for the configured rate; it was lowered from
    `full_rate` and last changed at `rate_changed_at`. No exchange begins before `held_until`. `next_slot_at` is the
    first free send slot. `failures` counts consecutive failures. While the circuit is open, `open_until` is its end,
    `consecutive_openings` how often in a row it opened, and `probing` whether a probe is in flight.
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
    def troubled(self) -> bool:
        """Whether it matters to them how an exchange went that went well."""
        return self.rate is not None or self.failures > 0 or self.consecutive_openings > 0

    def circuit(self, now: datetime) -> CircuitState:
        """Tell how the circuit stands."""
        if self.open_until is None:
            return CircuitState.CLOSED
        return CircuitState.HALF_OPEN if self.probing or self.open_until <= now else CircuitState.OPEN

    def closed_until(self, now: datetime) -> datetime | None:
        """Give the time before which nothing may begin; None if something may now."""
        until = max(self.held_until or now, now if self.probing else (self.open_until or now))
        return until if until > now else None

    def closed_for(self, now: datetime) -> float:
        """Give the seconds for which nothing may begin."""
        return ((self.closed_until(now) or now) - now).total_seconds()

    def per_second(self, policy: LimitPolicy) -> float | None:
        """Give how many exchanges may begin in a second; None for as many as there are."""
        return min((rate for rate in (self.rate, policy.max_per_second) if rate is not None), default=None)


@dataclass(frozen=True, slots=True)
class SendSlots:
    """Moments at which exchanges may begin: `count` of them, the first in `first_in` seconds, `spacing` apart."""

    count: int
    first_in: float = 0.0
    spacing: float = 0.0

    def begin_in(self, index: int) -> float:
        """Give the seconds until the slot with this index, from 0, begins."""
        return self.first_in + index * self.spacing


def find_free_slots(
    limits: ProviderLimits, policy: LimitPolicy, wanted: int, now: datetime, lead: float = 0.0
) -> SendSlots:
    """Give the slots that a claim may take now: at most `wanted`, and none that begins later than in a moment.

    Nor does any begin within `lead` seconds, before which whoever takes them cannot use them.
    """
    if limits.held_until and limits.held_until > now:
        return SendSlots(0)
    if limits.open_until:
        wanted = min(wanted, 1) if limits.open_until <= now else 0
    rate = limits.per_second(policy)
    if rate is None or wanted <= 0:
        return SendSlots(max(wanted, 0))
    spacing = 1 / (rate * _USED)
    first_in = max(((limits.next_slot_at or now) - now).total_seconds(), lead)
    if first_in > spacing + _FARTHEST:  # it was taken when the rate was lower, or by a clock that was ahead
        first_in = lead
    reach = lead + _AHEAD - first_in
    within_reach = int(reach / spacing) + 1 if reach >= 0 else 0
    return SendSlots(min(wanted, within_reach), first_in, spacing)


def take_slots(
    limits: ProviderLimits, slots: SendSlots, taken: int, policy: LimitPolicy, now: datetime
) -> ProviderLimits:
    """Give the limits after a claim took some of the slots that were free."""
    if not taken:
        return limits
    if slots.spacing:
        limits = replace(limits, next_slot_at=now + timedelta(seconds=slots.begin_in(taken)))
    if limits.open_until:
        # Should this probe's worker die, another may probe when the exchange must be over.
        limits = replace(limits, probing=True, open_until=now + timedelta(seconds=2 * policy.longest + 1))
    return limits


class Signal(Enum):
    """What an exchange says of how its provider does, whatever it says of the request."""

    WELL = "it answers"
    FAILED = "it fails, or does not answer"
    SLOW_DOWN = "it wants less"
    NONE = "nothing was sent, though it was to be a probe"


def classify_outcome(outcome: Response | NoResponse | NotSent, now: datetime) -> tuple[Signal, float]:
    """Read the sign in what became of an exchange at `now` (UTC), and for how many seconds it asks to wait."""
    if isinstance(outcome, NotSent):
        return Signal.NONE, 0.0
    if isinstance(outcome, NoResponse):
        return Signal.FAILED, 0.0
    sign = _SIGNS.get(find_status_rule(outcome.status).meaning, Signal.WELL)
    return sign, parse_retry_after(outcome.headers.get("retry-after"), now) or 0.0


_SIGNS = {
    ResponseClass.SLOW_DOWN: Signal.SLOW_DOWN,
    ResponseClass.THEIR_FAULT: Signal.FAILED,
    ResponseClass.NOBODY_KNOWS: Signal.FAILED,
}


@dataclass(frozen=True, slots=True)
class ExchangeStats:
    """What exchanges with a provider, one after the other, say of it.

    `failures` are those after the last exchange that went well, or all if none did; `slowed` are those after which it
    wants less, and `wait`, in seconds, is the longest that it asked for. `unused` says that a probe was not sent.
    `per_second` is how many exchanges all workers began lately.
    """

    well: bool = False
    failures: int = 0
    slowed: int = 0
    wait: float = 0.0
    unused: bool = False
    per_second: float = 1.0

    @property
    def notable(self) -> bool:
        """Whether it matters to limits that are untroubled."""
        return self.failures > 0 or self.slowed > 0

    @classmethod
    def of(cls, signs: Iterable[tuple[Signal, float]], per_second: float) -> "ExchangeStats":
        """Count signs, each with the seconds that the provider asked to wait."""
        told = list(signs)
        given = [(sign, wait) for sign, wait in told if sign is not Signal.NONE]
        last_well = max((place for place, (sign, _) in enumerate(given, 1) if sign is not Signal.FAILED), default=0)
        waits = [wait for sign, wait in given if sign is Signal.SLOW_DOWN]
        return cls(
            well=last_well > 0,
            failures=len(given) - last_well,
            slowed=len(waits),
            wait=max(waits, default=0.0),
            unused=len(given) < len(told),
            per_second=max(per_second, len(given), 1.0),
        )


def apply_stats(limits: ProviderLimits, tally: ExchangeStats, policy: LimitPolicy, now: datetime) -> ProviderLimits:
    """Give the limits as what came of exchanges leaves them."""
    if not policy.adaptive:
        return limits
    return _rated(_switched(limits, tally, policy, now), tally, policy, now)


def _switched(limits: ProviderLimits, tally: ExchangeStats, policy: LimitPolicy, now: datetime) -> ProviderLimits:
    """Open or close the circuit. Of exchanges that were under way when it opened, only those that went well count.

    A probe that was not sent makes room for another.
    """
    if tally.well:
        limits = replace(limits, failures=0, consecutive_openings=0, open_until=None, probing=False)
    failures = limits.failures + tally.failures
    limits = replace(limits, failures=failures)
    if tally.unused and limits.probing and not tally.failures:
        return replace(limits, probing=False, open_until=now)
    if policy.circuit is None or not tally.failures:
        return limits
    fails_again = limits.probing
    trips = limits.open_until is None and failures >= policy.circuit.failures
    if not fails_again and not trips:
        return limits
    pause = min(policy.circuit.open_for * 2.0 ** min(limits.consecutive_openings, 60), policy.circuit.max)
    return replace(
        limits,
        consecutive_openings=limits.consecutive_openings + 1,
        open_until=now + timedelta(seconds=pause),
        probing=False,
    )


def _rated(limits: ProviderLimits, tally: ExchangeStats, policy: LimitPolicy, now: datetime) -> ProviderLimits:
    """Lower the rate by as much as exchanges are too many, or raise it once in a second."""
    if limits.held_until and limits.held_until <= now:
        limits = replace(limits, held_until=None)
    if tally.slowed:
        return _lowered(limits, tally, policy, now)
    raised_lately = limits.rate_changed_at is not None and now - limits.rate_changed_at < _ONCE_IN
    if limits.rate is None or limits.full_rate is None or limits.held_until or not tally.well or raised_lately:
        return limits
    rate = limits.rate * _RAISING
    if rate >= limits.full_rate:
        return replace(limits, rate=None, full_rate=None, rate_changed_at=now)
    return replace(limits, rate=rate, rate_changed_at=now)


def _lowered(limits: ProviderLimits, tally: ExchangeStats, policy: LimitPolicy, now: datetime) -> ProviderLimits:
    """Lower the rate by half the share of a second's exchanges that were too many (as RFC 8257, section 3.3, does)."""
    full = limits.full_rate or policy.max_per_second or max(tally.per_second, 1.0)
    too_many = min(tally.slowed / tally.per_second, 1.0)
    rate = max((limits.rate or full) * (1 - too_many / 2), min(_LOWEST, full))
    hold = min(tally.wait, _LONGEST_HOLD)
    held_until = max(limits.held_until or now, now + timedelta(seconds=hold)) if hold else limits.held_until
    return replace(limits, rate=rate, full_rate=full, rate_changed_at=now, held_until=held_until)


def compute_share(limit: int, live: int, taken: int) -> int:
    """Give how much of a provider's `max_concurrency` one worker may use.

    Args:
        limit: what all workers may use together.
        live: how many workers there are, this one included.
        taken: what the others use by now.
    """
    fair = -(-limit // live)
    return max(min(fair, limit - taken), 0)
