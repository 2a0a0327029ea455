"""Taking slots: in batches for many callers, and far enough ahead to be usable."""

import time
from collections.abc import Sequence

import gevent
import pytest

from receiver.exchange.admission import LatencyEstimate, SlotQueue


class NoSlotLeft(Exception):
    pass


def test_waiting_callers_share_one_transaction() -> None:
    counts: list[int] = []

    def take(count: int) -> Sequence[float]:
        counts.append(count)
        gevent.sleep(0.01)
        return [float(len(counts))] * min(count, 5)

    queue = SlotQueue(take, NoSlotLeft)
    greenlets = [gevent.spawn(queue.next) for _ in range(8)]
    gevent.joinall(greenlets)
    assert counts == [1, 7]
    assert [greenlet.value for greenlet in greenlets] == [1.0] + [2.0] * 5 + [None] * 2
    assert all(isinstance(greenlet.exception, NoSlotLeft) for greenlet in greenlets[-2:])


def test_failed_transaction_fails_only_its_callers() -> None:
    def take(count: int) -> Sequence[float]:
        gevent.sleep(0.01)
        if count > 1:
            raise ValueError("unavailable")
        return [1.0]

    queue = SlotQueue(take, NoSlotLeft)
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
