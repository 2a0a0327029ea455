"""Fairness among connections: one whose data is always there already must not keep others from running.

gevent switches only when a greenlet has to wait, and a greenlet that merely yields is run again before sockets are
polled. So a connection that has run for too long without waiting waits for the next iteration of the event loop, and
only one such connection runs in each iteration. All that wait for their sockets run in every iteration.
"""

import time
from collections import deque

import gevent
from gevent.event import Event

_MAX_SLICE_S = 0.002
_PAUSE_S = 1e-6
"""Any timer ends after the event loop has polled the sockets."""


class Turns:
    """The connections of one process that have run for too long, in the order in which they may go on."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._is_running = False

    def wait(self) -> None:
        """Wait for an iteration of the event loop in which no other such connection runs."""
        turn = Event()
        self._waiting.append(turn)
        if not self._is_running:
            self._is_running = True
            gevent.spawn(self._run)
        turn.wait()

    def _run(self) -> None:
        while self._waiting:
            gevent.sleep(_PAUSE_S)
            self._waiting.popleft().set()
        self._is_running = False


class Slice:
    """The processor time that has passed since a connection last waited for anything."""

    __slots__ = ("_iteration", "_loop", "_started_at", "_turns")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._loop = gevent.get_hub().loop
        self._iteration = -1
        self._started_at = 0.0

    def check(self) -> None:
        """Wait if the connection has run for too long; call this before each piece of work."""
        if self._loop.iteration == self._iteration:
            if time.thread_time() - self._started_at < _MAX_SLICE_S:
                return
            self._turns.wait()
        self._iteration = self._loop.iteration
        self._started_at = time.thread_time()
