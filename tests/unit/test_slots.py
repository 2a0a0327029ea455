"""Taking slots: few at a time for many, and far enough ahead to be used."""

import time
from collections.abc import Sequence

import gevent
import pytest

from receiver.exchange.slots import LatencyEstimate, SlotQueue


class NoneLeft(Exception):
    pass


def test_all_who_wait_are_served_by_one_taking_and_the_last_of_them_get_none() -> None:
    asked: list[int] = []

    def take(wanted: int) -> Sequence[float]:
        asked.append(wanted)
        gevent.sleep(0.01)
        return [float(len(asked))] * min(wanted, 5)

    queue = SlotQueue(take, NoneLeft)
    greenlets = [gevent.spawn(queue.next) for _ in range(8)]
    gevent.joinall(greenlets)
    assert asked == [1, 7]
    assert [one.value for one in greenlets] == [1.0] + [2.0] * 5 + [None] * 2
    assert all(isinstance(one.exception, NoneLeft) for one in greenlets[-2:])


def test_a_taking_that_fails_fails_for_all_it_was_for_and_for_nobody_after() -> None:
    def take(wanted: int) -> Sequence[float]:
        gevent.sleep(0.01)
        if wanted > 1:
            raise ValueError("away")
        return [1.0]

    queue = SlotQueue(take, NoneLeft)
    greenlets = [gevent.spawn(queue.next) for _ in range(3)]
    gevent.joinall(greenlets)
    assert [type(one.exception) for one in greenlets] == [type(None), ValueError, ValueError]
    assert queue.next() == 1.0


def test_the_lead_is_what_slots_took_of_late_but_never_long() -> None:
    lead = LatencyEstimate()
    lead.observe(time.monotonic() - 0.2)
    assert lead.seconds == pytest.approx(0.2, abs=0.05)
    lead.observe(time.monotonic())
    assert lead.seconds == pytest.approx(0.18, abs=0.05)
    lead.observe(time.monotonic() - 60.0)
    assert lead.seconds == 1.0
