"""Admission: shares that shrink, the rate of exchanges, and slots that many callers take in one batch."""

import math
import time
from collections.abc import Sequence

import gevent
import pytest

from receiver.domain.limits import LimitPolicy
from receiver.exchange.admission import Admission, LatencyEstimate, NotAdmitted, RateMeter, SlotQueue


@pytest.fixture
def admission() -> Admission:
    """An admission of two exchanges at once."""
    admission = Admission(LimitPolicy(max_concurrency=2, max_duration=1.0), lambda _: [])
    admission.extend_share(1, math.inf)
    admission.resize(2)
    return admission


def test_reduced_share_admits_nothing_until_enough_exchanges_ended(admission: Admission) -> None:
    with admission.admit(math.inf):
        with admission.admit(math.inf):
            admission.resize(1)
        with pytest.raises(NotAdmitted, match="in time"), admission.admit(time.monotonic() + 0.05):
            pytest.fail("admitted")
    with admission.admit(time.monotonic() + 0.05):
        assert admission.in_flight == 1


def admit_in_background(admission: Admission, begin_at: float | None = None) -> "gevent.Greenlet[..., str]":
    """Begin an exchange in a greenlet, which returns how it ended."""

    def admit() -> str:
        try:
            with admission.admit(time.monotonic() + 5.0, begin_at):
                return "admitted"
        except NotAdmitted as error:
            return str(error)

    greenlet = gevent.spawn(admit)
    gevent.sleep(0)
    return greenlet


def test_removed_provider_admits_nothing_and_refuses_what_waits(admission: Admission) -> None:
    with admission.admit(math.inf), admission.admit(math.inf):
        waiting = [admit_in_background(admission) for _ in range(3)]
        admission.withdraw()
        assert {greenlet.get(timeout=1.0) for greenlet in waiting} == {
            "the provider was removed from the configuration before the exchange could begin"
        }
    with pytest.raises(NotAdmitted, match="removed from the configuration"), admission.admit(math.inf):
        pytest.fail("admitted")
    admission.use(admission.policy)
    with admission.admit(math.inf), admission.admit(math.inf):
        third = admit_in_background(admission)
        assert admission.in_flight == 2
    assert third.get(timeout=1.0) == "admitted"


def test_removed_provider_refuses_an_exchange_at_its_slot(admission: Admission) -> None:
    waiting = admit_in_background(admission, time.monotonic() + 0.05)
    admission.withdraw()
    assert "removed from the configuration" in waiting.get(timeout=1.0)


def test_places_are_given_in_the_order_of_waiting(admission: Admission) -> None:
    admitted: list[int] = []

    def wait(number: int) -> None:
        with admission.admit(math.inf):
            admitted.append(number)

    with admission.admit(math.inf), admission.admit(math.inf):
        greenlets = [gevent.spawn(wait, number) for number in range(5)]
        gevent.sleep(0)
    gevent.joinall(greenlets)
    assert admitted == list(range(5))


def test_rate_counts_other_workers_as_equally_busy(admission: Admission) -> None:
    admission.extend_share(3, math.inf)
    for _ in range(40):
        with admission.admit(math.inf):
            pass
    assert admission.per_second in range(60, 121)


def test_rate_meter_halves_each_second_in_spite_of_few_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = RateMeter()
    for second, count in ((1, 40), (2, 1), (3, 1)):
        monkeypatch.setattr(time, "monotonic", lambda second=second: float(second))
        for _ in range(count):
            meter.count()
    assert meter.per_second == 20


def test_waiting_callers_share_one_transaction() -> None:
    counts: list[int] = []

    def take(count: int) -> Sequence[float]:
        counts.append(count)
        gevent.sleep(0.01)
        return [float(len(counts))] * min(count, 5)

    queue = SlotQueue(take)
    greenlets = [gevent.spawn(queue.next) for _ in range(8)]
    gevent.joinall(greenlets)
    assert counts == [1, 7]
    assert [greenlet.value for greenlet in greenlets] == [1.0] + [2.0] * 5 + [None] * 2
    assert all(isinstance(greenlet.exception, NotAdmitted) for greenlet in greenlets[-2:])


def test_failed_transaction_fails_only_its_callers() -> None:
    def take(count: int) -> Sequence[float]:
        gevent.sleep(0.01)
        if count > 1:
            raise ValueError("unavailable")
        return [1.0]

    queue = SlotQueue(take)
    greenlets = [gevent.spawn(queue.next) for _ in range(3)]
    gevent.joinall(greenlets)
    assert [type(greenlet.exception) for greenlet in greenlets] == [type(None), ValueError, ValueError]
    assert queue.next() == 1.0


def test_latency_estimate_follows_recent_latency_up_to_maximum() -> None:
    latency = LatencyEstimate()
    latency.observe(time.monotonic() - 0.2)
    assert latency.seconds == pytest.approx(0.2, abs=0.05)
    latency.observe(time.monotonic())
    assert latency.seconds == pytest.approx(0.18, abs=0.05)
    latency.observe(time.monotonic() - 60.0)
    assert latency.seconds == 1.0
