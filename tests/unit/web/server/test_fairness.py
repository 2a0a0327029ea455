"""Fairness among connections that never wait."""

import time

import gevent

from receiver.web.server.fairness import FairQueue, TimeSlice

_STEPS = 20
_WORK_S = 0.003


def work(slice_: TimeSlice, name: str, log: list[str]) -> None:
    for _ in range(_STEPS):
        slice_.check()
        log.append(name)
        until = time.thread_time() + _WORK_S
        while time.thread_time() < until:
            pass


def test_busy_connections_run_one_after_another() -> None:
    queue, log = FairQueue(), list[str]()
    names = ["a", "b", "c"]
    gevent.joinall([gevent.spawn(work, TimeSlice(queue), name, log) for name in names], raise_error=True)
    for start in range(3, len(log), 3):
        assert sorted(log[start : start + 3]) == names


def test_busy_connections_do_not_delay_others() -> None:
    queue, log = FairQueue(), list[str]()
    busy = [gevent.spawn(work, TimeSlice(queue), name, log) for name in "abcdefgh"]

    def count_iterations() -> int:
        count = 0
        while not all(greenlet.dead for greenlet in busy):
            gevent.sleep(1e-6)
            count += 1
        return count

    iterations = gevent.spawn(count_iterations).get()
    gevent.joinall(busy, raise_error=True)
    assert iterations > len(busy) * _STEPS / 2


def test_connection_that_waits_is_never_delayed() -> None:
    queue = FairQueue()
    own = TimeSlice(queue)
    own.check()
    own.check()
    assert not queue._waiting
