"""Fairness among connections: one whose data is always there already must not keep others from running.

gevent switches only when a greenlet has to wait, and a greenlet that merely yields is run again before sockets are
polled. So a connection that has run for too long without waiting waits for a timer, which ends after sockets were
polled, and only one such connection goes on each time.
"""

import time
from collections import deque

import gevent
from gevent.event import Event

_MAX_SLICE_S = 0.001
_PAUSE_S = 0.002
"""Seconds between two such connections: all together use only a part of the process, however many they are."""


class FairQueue:
    """The connections of one process that have run for too long, in the order in which they may go on."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._is_running = False

    def wait(self) -> None:
        """Wait until all that wait for their sockets have run, and all that have run for too long before this one."""
        may_run = Event()
        self._waiting.append(may_run)
        if not self._is_running:
            self._is_running = True
            gevent.spawn(self._run)
        may_run.wait()

    def _run(self) -> None:
        while self._waiting:
            gevent.sleep(_PAUSE_S)
            self._waiting.popleft().set()
        self._is_running = False


class TimeSlice:
    """The time that has passed since a connection last waited for anything."""

    __slots__ = ("_iteration", "_loop", "_queue", "_started_at")

    def __init__(self, queue: FairQueue) -> None:
        self._queue = queue
        self._loop = gevent.get_hub().loop
        self._iteration = -1
        self._started_at = 0.0

    def check(self) -> None:
        """Wait if the connection has run for too long; call this before each piece of work."""
        if self._loop.iteration == self._iteration:
            if time.perf_counter() - self._started_at < _MAX_SLICE_S:
                return
            self._queue.wait()
        self._iteration = self._loop.iteration
        self._started_at = time.perf_counter()
