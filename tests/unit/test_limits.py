"""How much providers are sent: slots, rates, circuits and shares."""

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
    Signal,
    apply_stats,
    classify_outcome,
    compute_share,
    find_free_slots,
    take_slots,
)
from receiver.domain.sending import NoResponse, Response
from tests.factories import NOON

CIRCUIT = CircuitPolicy(failures=3, open_for=1.0, max=5.0)
FREE = LimitPolicy(16, max_duration=10.0, circuit=CIRCUIT)
PACED = LimitPolicy(16, max_duration=10.0, max_per_second=20.0, circuit=CIRCUIT)
UNTROUBLED = ProviderLimits("acme")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def claimed(
    limits: ProviderLimits, policy: LimitPolicy, wanted: int, seconds: float
) -> tuple[ProviderLimits, list[float]]:
    """Claim at a moment; give the limits afterwards and the moments at which the exchanges begin."""
    now = at(seconds)
    slots = find_free_slots(limits, policy, wanted, now)
    begins = [seconds + slots.begin_in(index) for index in range(slots.count)]
    return take_slots(limits, slots, slots.count, policy, now), begins


def tally(*signs: Signal, wait: float = 0.0, per_second: float = 1.0) -> ExchangeStats:
    return ExchangeStats.from_signals([(sign, wait) for sign in signs], per_second)


def told(limits: ProviderLimits, policy: LimitPolicy, *steps: tuple[float, ExchangeStats]) -> ProviderLimits:
    for seconds, what in steps:
        limits = apply_stats(limits, what, policy, at(seconds))
    return limits


def test_without_a_limit_all_may_begin_at_once() -> None:
    assert claimed(UNTROUBLED, FREE, 100, 0.0) == (UNTROUBLED, [0.0] * 100)


@given(st.lists(st.tuples(st.floats(0.0, 0.3), st.integers(1, 50)), max_size=200))
def test_no_second_holds_more_slots_than_are_allowed_whatever_is_claimed_when(
    claims: Iterable[tuple[float, int]],
) -> None:
    limits, now, begins = UNTROUBLED, 0.0, []
    for pause, wanted in claims:
        now += pause
        limits, more = claimed(limits, PACED, wanted, now)
        begins += more
    assert begins == sorted(begins)
    # Each may begin a little late, which brings it closer to the next.
    assert all(later - earlier >= 1.0 + 0.025 for earlier, later in zip(begins, begins[20:], strict=False))


def test_who_always_claims_uses_nearly_all_that_is_allowed() -> None:
    limits, begins = UNTROUBLED, []
    for step in range(1_000):
        limits, more = claimed(limits, PACED, 16, step * 0.02)
        begins += more
    assert 20 * 20 * 0.97 < len(begins) <= 20 * 20


def test_slots_that_nobody_took_are_not_saved_up() -> None:
    limits, _ = claimed(UNTROUBLED, PACED, 1, 0.0)
    _, begins = claimed(limits, PACED, 100, 60.0)
    assert len(begins) <= 6


def test_a_slot_that_was_taken_at_a_far_lower_rate_keeps_nobody_from_the_present_one() -> None:
    hourly = replace(PACED, max_per_second=1 / 3_600)
    limits, _ = claimed(UNTROUBLED, hourly, 1, 0.0)
    assert claimed(limits, hourly, 1, 60.0)[1] == []
    assert len(claimed(limits, PACED, 100, 60.0)[1]) > 1


def test_no_slot_begins_before_who_takes_it_can_use_it() -> None:
    slots = find_free_slots(UNTROUBLED, PACED, 100, at(0.0), lead=0.5)
    assert (slots.count > 1, slots.first_in) == (True, 0.5)
    taken = take_slots(UNTROUBLED, slots, slots.count, PACED, at(0.0))
    assert find_free_slots(taken, PACED, 100, at(0.0), lead=0.5).count == 0
    assert find_free_slots(taken, PACED, 100, at(0.1), lead=0.5).first_in > 0.5


def test_a_provider_of_which_all_exchanges_were_too_many_gets_half_of_what_it_got() -> None:
    assert told(UNTROUBLED, PACED, (0.0, tally(Signal.SLOW_DOWN))).rate == 10.0
    lowered = told(UNTROUBLED, FREE, (0.0, tally(*[Signal.SLOW_DOWN] * 300)))
    assert (lowered.rate, lowered.full_rate) == (150.0, 300.0)
    _, begins = claimed(lowered, FREE, 1_000, 0.0)
    assert len(begins) < 40


def test_it_is_slowed_by_half_the_share_that_was_too_much_whatever_batches_it_is_told_in() -> None:
    at_once = told(UNTROUBLED, PACED, (0.0, tally(*[Signal.SLOW_DOWN] * 20, per_second=100.0)))
    one_by_one = told(UNTROUBLED, PACED, *[(n / 20, tally(Signal.SLOW_DOWN, per_second=100.0)) for n in range(20)])
    assert at_once.rate == 20.0 * 0.9
    assert one_by_one.rate == pytest.approx(20.0 * 0.905, abs=0.02)


def test_a_rate_never_falls_so_low_that_it_could_not_recover() -> None:
    lowest = told(UNTROUBLED, PACED, *[(float(second), tally(Signal.SLOW_DOWN)) for second in range(100)])
    assert lowest.rate == 0.1
    slow = replace(PACED, max_per_second=0.01)
    assert told(UNTROUBLED, slow, (0.0, tally(Signal.SLOW_DOWN))).rate == 0.01


def test_retry_after_holds_everything_back_for_as_long_but_a_minute_at_most() -> None:
    held = told(UNTROUBLED, FREE, (0.0, tally(Signal.SLOW_DOWN, wait=5.0)))
    assert held.closed_for(at(0.0)) == 5.0
    assert find_free_slots(held, FREE, 10, at(4.9)).count == 0
    assert find_free_slots(held, FREE, 10, at(5.1)).count > 0
    assert told(UNTROUBLED, FREE, (0.0, tally(Signal.SLOW_DOWN, wait=86_400.0))).closed_for(at(0.0)) == 60.0


def test_success_raises_the_rate_step_by_step_until_it_is_as_it_was() -> None:
    limits = told(UNTROUBLED, PACED, (0.0, tally(Signal.SLOW_DOWN)))
    rates = []
    for second in range(1, 10):
        limits = told(limits, PACED, (float(second), tally(Signal.OK)), (second + 0.5, tally(Signal.OK)))
        rates.append(limits.rate)
    assert rates[:4] == [12.5, 15.625, 19.53125, None]
    assert not limits.is_degraded
    assert limits.full_rate is None


def test_a_circuit_opens_on_failures_in_a_row_and_not_on_others() -> None:
    two = tally(Signal.FAILED, Signal.FAILED)
    interrupted = told(UNTROUBLED, FREE, (0.0, two), (0.1, tally(Signal.FAILED, Signal.OK)), (0.2, two))
    assert (interrupted.circuit(at(0.2)), interrupted.failures) == (CircuitState.CLOSED, 2)
    opened = told(interrupted, FREE, (0.3, tally(Signal.FAILED)))
    assert opened.circuit(at(0.3)) == CircuitState.OPEN
    assert find_free_slots(opened, FREE, 10, at(1.2)).count == 0


def test_an_open_circuit_lets_one_probe_through_when_its_time_is_over() -> None:
    opened = told(UNTROUBLED, FREE, (0.0, tally(*[Signal.FAILED] * 3)))
    probing, begins = claimed(opened, FREE, 10, 1.1)
    assert (len(begins), probing.circuit(at(1.1))) == (1, CircuitState.HALF_OPEN)
    assert probing.closed_for(at(1.1)) == 0.0
    assert find_free_slots(probing, FREE, 10, at(5.0)).count == 0
    closed = told(probing, FREE, (2.0, tally(Signal.OK)))
    assert closed.circuit(at(2.0)) == CircuitState.CLOSED
    assert closed == UNTROUBLED


def test_each_probe_that_fails_doubles_the_time_up_to_the_most() -> None:
    limits, now, pauses = told(UNTROUBLED, FREE, (0.0, tally(*[Signal.FAILED] * 3))), 0.0, []
    for _ in range(5):
        pauses.append(limits.closed_for(at(now)))
        now += pauses[-1]
        limits, (_,) = claimed(limits, FREE, 10, now)
        limits = told(limits, FREE, (now, tally(Signal.FAILED)))
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_failures_of_what_was_under_way_when_the_circuit_opened_change_nothing() -> None:
    opened = told(UNTROUBLED, FREE, (0.0, tally(*[Signal.FAILED] * 3)))
    later = told(opened, FREE, (0.5, tally(*[Signal.FAILED] * 5)))
    assert (later.open_until, later.consecutive_openings) == (opened.open_until, 1)


def test_a_probe_whose_worker_died_makes_room_for_another_in_the_end() -> None:
    opened = told(UNTROUBLED, FREE, (0.0, tally(*[Signal.FAILED] * 3)))
    probing, _ = claimed(opened, FREE, 10, 1.0)
    assert find_free_slots(probing, FREE, 10, at(1.0 + 2 * FREE.max_duration)).count == 0
    assert find_free_slots(probing, FREE, 10, at(3.0 + 2 * FREE.max_duration)).count == 1


def test_a_probe_that_was_not_sent_makes_room_for_another_at_once() -> None:
    opened = told(UNTROUBLED, FREE, (0.0, tally(*[Signal.FAILED] * 3)))
    probing, _ = claimed(opened, FREE, 10, 1.0)
    unused = told(probing, FREE, (1.5, tally(Signal.NOT_SENT)))
    assert (unused.consecutive_openings, unused.failures, unused.probing) == (1, 3, False)
    assert find_free_slots(unused, FREE, 10, at(1.5)).count == 1


def test_a_probe_that_was_not_sent_says_nothing_beside_one_that_was() -> None:
    opened = told(UNTROUBLED, FREE, (0.0, tally(*[Signal.FAILED] * 3)))
    probing, _ = claimed(opened, FREE, 10, 1.0)
    assert told(probing, FREE, (1.5, tally(Signal.NOT_SENT, Signal.OK))) == UNTROUBLED
    failed = told(probing, FREE, (1.5, tally(Signal.FAILED, Signal.NOT_SENT)))
    assert failed.closed_for(at(1.5)) == 2.0
    assert told(opened, FREE, (0.5, tally(Signal.NOT_SENT))) == opened


def test_a_provider_without_a_circuit_is_never_left_alone() -> None:
    failing = told(UNTROUBLED, replace(FREE, circuit=None), (0.0, tally(*[Signal.FAILED] * 1_000)))
    assert find_free_slots(failing, FREE, 10, at(0.0)).count == 10


def test_a_provider_that_is_not_adaptive_is_sent_as_much_as_ever() -> None:
    policy = replace(FREE, adaptive=False)
    signs = tally(*[Signal.FAILED] * 1_000, Signal.SLOW_DOWN, wait=10.0)
    assert told(UNTROUBLED, policy, (0.0, signs)) == UNTROUBLED


@pytest.mark.parametrize(
    ("outcome", "sign"),
    [
        (Response(202, {}, b""), (Signal.OK, 0.0)),
        (Response(404, {"retry-after": "3"}, b""), (Signal.OK, 3.0)),
        (Response(401, {}, b""), (Signal.OK, 0.0)),
        (Response(429, {"retry-after": "7"}, b""), (Signal.SLOW_DOWN, 7.0)),
        (Response(408, {}, b""), (Signal.SLOW_DOWN, 0.0)),
        (Response(500, {}, b""), (Signal.FAILED, 0.0)),
        (Response(504, {}, b""), (Signal.FAILED, 0.0)),
        (NoResponse("refused", sent=False), (Signal.FAILED, 0.0)),
        (NoResponse("timeout", sent=True), (Signal.FAILED, 0.0)),
    ],
)
def test_the_sign_in_an_outcome(outcome: Response | NoResponse, sign: tuple[Signal, float]) -> None:
    assert classify_outcome(outcome, NOON) == sign


@given(st.integers(1, 40), st.integers(1, 12))
def test_shares_never_exceed_the_limit_and_use_all_of_it_in_the_end(limit: int, workers: int) -> None:
    shares = [0] * workers
    for _ in range(3):
        for mine in range(workers):
            shares[mine] = compute_share(limit, workers, sum(shares) - shares[mine])
            assert sum(shares) <= limit
    assert sum(shares) == limit
    assert max(shares) - min(shares) <= -(-limit // workers)


def test_a_worker_that_joins_is_given_room_by_those_that_were_there() -> None:
    first = compute_share(16, 1, 0)
    second = compute_share(16, 2, first)
    assert (first, second) == (16, 0)
    first = compute_share(16, 2, second)
    second = compute_share(16, 2, first)
    assert (first, second) == (8, 8)


def test_slots_are_evenly_spaced() -> None:
    _, begins = claimed(UNTROUBLED, PACED, 16, 0.0)
    gaps = [later - earlier for earlier, later in pairwise(begins)]
    assert gaps == pytest.approx([1 / 19.5] * len(gaps))
