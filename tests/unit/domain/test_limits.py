"""Limits of what providers are sent: slots, rates, circuits and shares."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.limits import (
    CircuitPolicy,
    CircuitState,
    ExchangeStats,
    LimitPolicy,
    ProviderLimits,
    SendSlots,
    Signal,
    apply_stats,
    classify_outcome,
    compute_share,
    find_free_slots,
    take_slots,
)
from receiver.domain.responses import ResponseClass
from receiver.domain.sending import NoResponse, NotSent, Response
from tests.support.factories import NOON

CIRCUIT = CircuitPolicy(failures=3, open_for=1.0, max=5.0)
UNLIMITED = LimitPolicy(16, max_duration=10.0, circuit=CIRCUIT)
RATE_LIMITED = LimitPolicy(16, max_duration=10.0, max_per_second=20.0, circuit=CIRCUIT)
INITIAL = ProviderLimits("acme")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def claim(
    limits: ProviderLimits, policy: LimitPolicy, count: int, seconds: float
) -> tuple[ProviderLimits, list[float]]:
    """Claim slots at a time; return the limits afterwards and the times at which the exchanges begin."""
    now = at(seconds)
    slots = find_free_slots(limits, policy, count, now)
    begins = [seconds + slots.begin_in(index) for index in range(slots.count)]
    return take_slots(limits, slots, slots.count, policy, now), begins


def build_stats(*signals: Signal, wait: float = 0.0, per_second: float = 1.0) -> ExchangeStats:
    return ExchangeStats.from_signals([(signal, wait) for signal in signals], per_second)


def apply_steps(limits: ProviderLimits, policy: LimitPolicy, *steps: tuple[float, ExchangeStats]) -> ProviderLimits:
    for seconds, stats in steps:
        limits = apply_stats(limits, stats, policy, at(seconds))
    return limits


@pytest.mark.parametrize(
    ("signals", "per_second", "stats"),
    [
        ([], 0.5, ExchangeStats()),
        ([(Signal.OK, 0.0)], 0.5, ExchangeStats(succeeded=True)),
        ([(Signal.NOT_SENT, 0.0)], 2.0, ExchangeStats(unused_probe=True, per_second=2.0)),
        (
            [(Signal.FAILED, 9.0), (Signal.OK, 9.0), (Signal.FAILED, 9.0)],
            0.5,
            ExchangeStats(succeeded=True, failures=1, per_second=3.0),
        ),
        (
            [(Signal.SLOW_DOWN, 2.0), (Signal.SLOW_DOWN, 3.0), (Signal.SLOW_DOWN, 1.0)],
            40.0,
            ExchangeStats(succeeded=True, throttled=3, wait=3.0, per_second=40.0),
        ),
    ],
)
def test_signals_are_counted(signals: list[tuple[Signal, float]], per_second: float, stats: ExchangeStats) -> None:
    assert ExchangeStats.from_signals(signals, per_second) == stats


def test_unlimited_exchanges_begin_at_once() -> None:
    assert claim(INITIAL, UNLIMITED, 100, 0.0) == (INITIAL, [0.0] * 100)


@given(st.lists(st.tuples(st.floats(0.0, 0.3), st.integers(1, 50)), max_size=200))
def test_no_second_contains_more_slots_than_the_limit(
    claims: Iterable[tuple[float, int]],
) -> None:
    limits, now, begins = INITIAL, 0.0, []
    for pause, count in claims:
        now += pause
        limits, more = claim(limits, RATE_LIMITED, count, now)
        begins += more
    assert begins == sorted(begins)
    # Each may begin slightly late, which moves it closer to the next.
    assert all(later - earlier >= 1.0 + 0.025 for earlier, later in zip(begins, begins[20:], strict=False))


def test_constant_claims_use_nearly_the_whole_rate() -> None:
    limits, begins = INITIAL, []
    for step in range(1_000):
        limits, more = claim(limits, RATE_LIMITED, 16, step * 0.02)
        begins += more
    assert 20 * 20 * 0.97 < len(begins) <= 20 * 20


def test_unused_slots_are_not_saved() -> None:
    limits, _ = claim(INITIAL, RATE_LIMITED, 1, 0.0)
    _, begins = claim(limits, RATE_LIMITED, 100, 60.0)
    assert len(begins) <= 6


def test_claim_takes_the_slots_of_a_quarter_of_a_second() -> None:
    limits, begins = claim(INITIAL, RATE_LIMITED, 100, 0.0)
    assert (len(begins), begins[0]) == (5, 0.0)
    assert claim(replace(limits, next_slot_at=at(0.25)), RATE_LIMITED, 100, 0.0)[1] == [0.25]
    assert claim(replace(limits, next_slot_at=at(0.250001)), RATE_LIMITED, 100, 0.0)[1] == []


def test_next_slot_is_ignored_beyond_five_seconds() -> None:
    policy = replace(RATE_LIMITED, max_per_second=1 / 0.975)  # slots are one second apart
    assert claim(replace(INITIAL, next_slot_at=at(6.0)), policy, 1, 0.0)[1] == []
    assert claim(replace(INITIAL, next_slot_at=at(6.000001)), policy, 1, 0.0)[1] == [0.0]


def test_next_slot_of_a_lower_rate_is_ignored() -> None:
    hourly = replace(RATE_LIMITED, max_per_second=1 / 3_600)
    limits, _ = claim(INITIAL, hourly, 1, 0.0)
    assert claim(limits, hourly, 1, 60.0)[1] == []
    assert len(claim(limits, RATE_LIMITED, 100, 60.0)[1]) > 1


def test_slots_begin_after_the_lead_time() -> None:
    slots = find_free_slots(INITIAL, RATE_LIMITED, 100, at(0.0), lead=0.5)
    assert (slots.count > 1, slots.first_in) == (True, 0.5)
    limits = take_slots(INITIAL, slots, slots.count, RATE_LIMITED, at(0.0))
    assert find_free_slots(limits, RATE_LIMITED, 100, at(0.0), lead=0.5).count == 0
    assert find_free_slots(limits, RATE_LIMITED, 100, at(0.1), lead=0.5).first_in > 0.5


def test_rate_halves_if_all_exchanges_are_throttled() -> None:
    halved = apply_steps(INITIAL, RATE_LIMITED, (0.0, build_stats(Signal.SLOW_DOWN)))
    assert halved == replace(INITIAL, rate=10.0, full_rate=20.0, rate_changed_at=NOON)
    single = apply_steps(INITIAL, UNLIMITED, (0.0, build_stats(Signal.SLOW_DOWN)))
    assert (single.rate, single.full_rate) == (0.5, 1.0)
    lowered = apply_steps(INITIAL, UNLIMITED, (0.0, build_stats(*[Signal.SLOW_DOWN] * 300)))
    assert (lowered.rate, lowered.full_rate) == (150.0, 300.0)
    _, begins = claim(lowered, UNLIMITED, 1_000, 0.0)
    assert len(begins) < 40


def test_rate_drop_does_not_depend_on_batches() -> None:
    at_once = apply_steps(INITIAL, RATE_LIMITED, (0.0, build_stats(*[Signal.SLOW_DOWN] * 20, per_second=100.0)))
    one_by_one = apply_steps(
        INITIAL, RATE_LIMITED, *[(n / 20, build_stats(Signal.SLOW_DOWN, per_second=100.0)) for n in range(20)]
    )
    assert at_once.rate == 20.0 * 0.9
    assert one_by_one.rate == pytest.approx(20.0 * 0.905, abs=0.02)


def test_rate_has_a_minimum() -> None:
    lowest = apply_steps(
        INITIAL, RATE_LIMITED, *[(float(second), build_stats(Signal.SLOW_DOWN)) for second in range(100)]
    )
    assert lowest.rate == 0.1
    slow = replace(RATE_LIMITED, max_per_second=0.01)
    assert apply_steps(INITIAL, slow, (0.0, build_stats(Signal.SLOW_DOWN))).rate == 0.01


def test_retry_after_holds_exchanges_at_most_a_minute() -> None:
    limits = apply_steps(INITIAL, UNLIMITED, (0.0, build_stats(Signal.SLOW_DOWN, wait=5.0)))
    assert limits.closed_for(at(0.0)) == 5.0
    assert find_free_slots(limits, UNLIMITED, 10, at(4.9)).count == 0
    assert find_free_slots(limits, UNLIMITED, 10, at(5.0)).count > 0
    assert limits.closed_until(at(5.0)) is None
    assert (
        apply_steps(INITIAL, UNLIMITED, (0.0, build_stats(Signal.SLOW_DOWN, wait=86_400.0))).closed_for(at(0.0)) == 60.0
    )


def test_success_restores_the_rate_step_by_step() -> None:
    limits = apply_steps(INITIAL, RATE_LIMITED, (0.0, build_stats(Signal.SLOW_DOWN)))
    rates = []
    for second in range(1, 10):
        limits = apply_steps(
            limits, RATE_LIMITED, (float(second), build_stats(Signal.OK)), (second + 0.5, build_stats(Signal.OK))
        )
        rates.append(limits.rate)
    assert rates[:4] == [12.5, 15.625, 19.53125, None]
    assert limits == replace(INITIAL, rate_changed_at=at(4.0))
    assert not limits.is_degraded


def test_rate_is_restored_when_it_reaches_the_full_rate() -> None:
    limits = replace(INITIAL, rate=16.0, full_rate=20.0)
    assert apply_steps(limits, RATE_LIMITED, (0.0, build_stats(Signal.OK))).rate is None


def test_rate_rises_by_successes_after_a_second_and_the_hold() -> None:
    lowered = apply_steps(INITIAL, RATE_LIMITED, (0.0, build_stats(Signal.SLOW_DOWN, wait=5.0)))
    free = replace(lowered, held_until=None)
    assert apply_steps(free, RATE_LIMITED, (0.9, build_stats(Signal.OK))) == free
    assert apply_steps(free, RATE_LIMITED, (1.0, build_stats(Signal.OK))).rate == 12.5
    assert apply_steps(free, RATE_LIMITED, (9.0, build_stats(Signal.FAILED))).rate == 10.0
    assert apply_steps(lowered, RATE_LIMITED, (4.9, build_stats(Signal.OK))) == lowered
    assert apply_steps(lowered, RATE_LIMITED, (5.0, build_stats(Signal.OK))) == replace(
        free, rate=12.5, rate_changed_at=at(5.0)
    )


def test_circuit_opens_on_consecutive_failures_only() -> None:
    two = build_stats(Signal.FAILED, Signal.FAILED)
    interrupted = apply_steps(INITIAL, UNLIMITED, (0.0, two), (0.1, build_stats(Signal.FAILED, Signal.OK)), (0.2, two))
    assert (interrupted.circuit(at(0.2)), interrupted.failures) == (CircuitState.CLOSED, 2)
    opened = apply_steps(interrupted, UNLIMITED, (0.3, build_stats(Signal.FAILED)))
    assert opened.circuit(at(0.3)) == CircuitState.OPEN
    assert opened.circuit(at(1.3)) == CircuitState.HALF_OPEN
    assert find_free_slots(opened, UNLIMITED, 10, at(1.2)).count == 0
    assert find_free_slots(opened, RATE_LIMITED, 10, at(1.2)) == SendSlots(0)


def test_open_circuit_admits_one_probe_after_its_pause() -> None:
    opened = apply_steps(INITIAL, UNLIMITED, (0.0, build_stats(*[Signal.FAILED] * 3)))
    probing, begins = claim(opened, UNLIMITED, 10, 1.1)
    assert (len(begins), probing.circuit(at(1.1))) == (1, CircuitState.HALF_OPEN)
    assert probing.closed_for(at(1.1)) == 0.0
    assert find_free_slots(probing, UNLIMITED, 10, at(5.0)).count == 0
    closed = apply_steps(probing, UNLIMITED, (2.0, build_stats(Signal.OK)))
    assert closed.circuit(at(2.0)) == CircuitState.CLOSED
    assert closed == INITIAL


def test_failed_probes_double_the_pause_up_to_the_maximum() -> None:
    limits, now, pauses = apply_steps(INITIAL, UNLIMITED, (0.0, build_stats(*[Signal.FAILED] * 3))), 0.0, []
    for _ in range(5):
        pauses.append(limits.closed_for(at(now)))
        now += pauses[-1]
        limits, (_,) = claim(limits, UNLIMITED, 10, now)
        limits = apply_steps(limits, UNLIMITED, (now, build_stats(Signal.FAILED)))
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_failures_in_flight_do_not_extend_an_open_circuit() -> None:
    opened = apply_steps(INITIAL, UNLIMITED, (0.0, build_stats(*[Signal.FAILED] * 3)))
    later = apply_steps(opened, UNLIMITED, (0.5, build_stats(*[Signal.FAILED] * 5)))
    assert (later.open_until, later.consecutive_openings) == (opened.open_until, 1)


def test_lost_probe_is_replaced_after_a_timeout() -> None:
    opened = apply_steps(INITIAL, UNLIMITED, (0.0, build_stats(*[Signal.FAILED] * 3)))
    probing, _ = claim(opened, UNLIMITED, 10, 1.0)
    assert find_free_slots(probing, UNLIMITED, 10, at(1.9 + 2 * UNLIMITED.max_duration)).count == 0
    assert find_free_slots(probing, UNLIMITED, 10, at(2.0 + 2 * UNLIMITED.max_duration)).count == 1


def test_unsent_probe_is_replaced_at_once() -> None:
    opened = apply_steps(INITIAL, UNLIMITED, (0.0, build_stats(*[Signal.FAILED] * 3)))
    probing, _ = claim(opened, UNLIMITED, 10, 1.0)
    unused = apply_steps(probing, UNLIMITED, (1.5, build_stats(Signal.NOT_SENT)))
    assert (unused.consecutive_openings, unused.failures, unused.probing) == (1, 3, False)
    assert find_free_slots(unused, UNLIMITED, 10, at(1.5)).count == 1


def test_unsent_probe_does_not_affect_a_sent_probe() -> None:
    opened = apply_steps(INITIAL, UNLIMITED, (0.0, build_stats(*[Signal.FAILED] * 3)))
    probing, _ = claim(opened, UNLIMITED, 10, 1.0)
    assert apply_steps(probing, UNLIMITED, (1.5, build_stats(Signal.NOT_SENT, Signal.OK))) == INITIAL
    failed = apply_steps(probing, UNLIMITED, (1.5, build_stats(Signal.FAILED, Signal.NOT_SENT)))
    assert (failed.closed_for(at(1.5)), failed.probing) == (2.0, False)
    assert apply_steps(opened, UNLIMITED, (0.5, build_stats(Signal.NOT_SENT))) == opened


def test_provider_without_circuit_is_never_suspended() -> None:
    failing = apply_steps(INITIAL, replace(UNLIMITED, circuit=None), (0.0, build_stats(*[Signal.FAILED] * 1_000)))
    assert find_free_slots(failing, UNLIMITED, 10, at(0.0)).count == 10


def test_limits_of_non_adaptive_provider_never_change() -> None:
    policy = replace(UNLIMITED, adaptive=False)
    signals = build_stats(*[Signal.FAILED] * 1_000, Signal.SLOW_DOWN, wait=10.0)
    assert apply_steps(INITIAL, policy, (0.0, signals)) == INITIAL


@pytest.mark.parametrize(
    ("outcome", "signal"),
    [
        (Response(202, {}, b""), (Signal.OK, 0.0)),
        (Response(404, {"retry-after": "3"}, b""), (Signal.OK, 3.0)),
        (Response(401, {}, b""), (Signal.OK, 0.0)),
        (Response(429, {"retry-after": "7"}, b""), (Signal.SLOW_DOWN, 7.0)),
        (Response(429, {"retry-after": "Mon, 23 Nov 2026 12:00:09 GMT"}, b""), (Signal.SLOW_DOWN, 9.0)),
        (Response(408, {}, b""), (Signal.SLOW_DOWN, 0.0)),
        (Response(500, {}, b""), (Signal.FAILED, 0.0)),
        (Response(504, {}, b""), (Signal.FAILED, 0.0)),
        (NoResponse("refused", sent=False), (Signal.FAILED, 0.0)),
        (NoResponse("timeout", sent=True), (Signal.FAILED, 0.0)),
        (NotSent("paused"), (Signal.NOT_SENT, 0.0)),
    ],
)
def test_outcome_is_classified(outcome: Response | NoResponse | NotSent, signal: tuple[Signal, float]) -> None:
    assert classify_outcome(outcome, NOON, {}) == signal


@pytest.mark.parametrize(
    ("response_class", "response", "signal"),
    [
        (ResponseClass.RETRY, Response(403, {"retry-after": "7"}, b""), (Signal.SLOW_DOWN, 7.0)),
        (ResponseClass.RETRY, Response(403, {}, b""), (Signal.OK, 0.0)),
        (ResponseClass.RETRY, Response(503, {}, b""), (Signal.FAILED, 0.0)),
        (ResponseClass.RETRY, Response(429, {}, b""), (Signal.SLOW_DOWN, 0.0)),
        (ResponseClass.REJECTED, Response(500, {}, b""), (Signal.OK, 0.0)),
        (ResponseClass.ACCEPTED, Response(504, {}, b""), (Signal.OK, 0.0)),
        (ResponseClass.PAUSE, Response(503, {"retry-after": "7"}, b""), (Signal.OK, 7.0)),
    ],
)
def test_configured_class_of_status_decides_about_limits(
    response_class: ResponseClass, response: Response, signal: tuple[Signal, float]
) -> None:
    assert classify_outcome(response, NOON, {response.status: response_class}) == signal


@given(st.integers(1, 40), st.integers(1, 12))
def test_shares_converge_to_the_limit_and_never_exceed_it(limit: int, workers: int) -> None:
    shares = [0] * workers
    for _ in range(3):
        for worker in range(workers):
            shares[worker] = compute_share(limit, workers, sum(shares) - shares[worker])
            assert sum(shares) <= limit
    assert sum(shares) == limit
    assert max(shares) - min(shares) <= -(-limit // workers)


def test_new_worker_gets_its_share_from_existing_workers() -> None:
    first = compute_share(16, 1, 0)
    second = compute_share(16, 2, first)
    assert (first, second) == (16, 0)
    first = compute_share(16, 2, second)
    second = compute_share(16, 2, first)
    assert (first, second) == (8, 8)


def test_slots_are_evenly_spaced() -> None:
    _, begins = claim(INITIAL, RATE_LIMITED, 16, 0.0)
    gaps = [later - earlier for earlier, later in pairwise(begins)]
    assert gaps == pytest.approx([1 / 19.5] * len(gaps))
