"""Who waits for jobs to end: one short poll per process serves them all.

A waiter costs a greenlet and an entry here, not a connection; no `NOTIFY` burdens those who record. Whoever waits is
given the job with its events by the poll itself, so that a thousand who are answered at once ask the database once.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from receiver.domain.jobs import JobEvent
from receiver.store.database import Database, StoreError, StoreUnavailable
from receiver.store.jobs import Job, find_events, find_waited_jobs

MAX_WAIT_S = 60.0
_EVERY = 0.2
_GATHERING = 0.01
_MOST = 5_000
_PATIENCE = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobDetail:
    """A job with its events in the order of receipt."""

    job: Job
    events: Collection[JobEvent]


@dataclass(eq=False, slots=True)
class _Waiter:
    """Somebody who waits; `detail` is what they are given, once `answered` is set."""

    job_id: UUID
    until: float
    visible: Callable[[Job], bool]
    detail: JobDetail | None = None
    answered: threading.Event = field(default_factory=threading.Event)


class JobWaiters:
    """Those who wait in one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._fresh: list[_Waiter] = []
        self._waiting: list[_Waiter] = []
        self._arrived = threading.Event()
        self._closing = False
        self._leaving: Callable[[], bool] = lambda: False
        self._poller = threading.Thread(target=self._run, name="waiters", daemon=True)
        self._poller.start()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._fresh) + len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether one more may wait."""
        return self.waiting < _MOST and not self._closing

    def wait(self, job_id: UUID, seconds: float, visible: Callable[[Job], bool]) -> JobDetail | None:
        """Give a job when it is final, or as it is after so many seconds; None if there is none that is visible.

        Raises:
            StoreUnavailable: the database cannot be asked.
        """
        waiter = _Waiter(job_id, time.monotonic() + seconds, visible)
        with self._lock:
            self._fresh.append(waiter)
        self._arrived.set()
        if not waiter.answered.wait(seconds + _PATIENCE):
            raise StoreUnavailable("the job could not be looked up")
        return waiter.detail

    def leave_when(self, leaving: Callable[[], bool]) -> None:
        """Answer all who wait with their jobs as they are, as soon as `leaving` is true."""
        self._leaving = leaving

    def close(self) -> None:
        """Answer all who wait with their jobs as they are, and stop."""
        self._closing = True
        self._arrived.set()
        self._poller.join()

    def _run(self) -> None:
        look_at_all = 0.0
        while not self._closing:
            if not self._waiting:
                self._arrived.wait()
            elif self._arrived.wait(max(look_at_all - time.monotonic(), 0.0)):
                time.sleep(_GATHERING)
            self._arrived.clear()
            try:
                self._greet()
                if time.monotonic() >= look_at_all:
                    self._look()
                    look_at_all = time.monotonic() + _EVERY
            except Exception as error:  # whoever waits is told when their time is over
                _log.warning("waiters.not_served", error=str(error), waiting=len(self._waiting))
                time.sleep(_EVERY)
        with suppress(StoreError):
            self._greet()
            self._look()

    def _greet(self) -> None:
        """Send those away who wait for what they cannot see; the others wait from now on."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        try:
            with self._database.connection() as connection:
                jobs = {job.id: job for job in find_waited_jobs(connection, (), {one.job_id for one in fresh})}
        except StoreError:
            now = time.monotonic()
            with self._lock:
                self._fresh += [waiter for waiter in fresh if waiter.until + _PATIENCE > now]
            self._arrived.set()  # so that they are looked after again, whoever else comes
            raise
        for waiter in fresh:
            job = jobs.get(waiter.job_id)
            if job and waiter.visible(job):
                self._waiting.append(waiter)
            else:
                waiter.answered.set()

    def _look(self) -> None:
        """Answer those whose job is final and those whose time is over."""
        now = time.monotonic()
        here = [waiter for waiter in self._waiting if waiter.until + _PATIENCE > now]
        leaving = self._closing or self._leaving()
        over = {waiter for waiter in here if leaving or waiter.until <= now + _EVERY / 2}
        stories = self._stories({waiter.job_id for waiter in here}, {waiter.job_id for waiter in over})
        for waiter in here:
            waiter.detail = stories.get(waiter.job_id)
            if waiter in over or (waiter.detail and waiter.detail.job.status.is_final):
                waiter.answered.set()
        self._waiting = [waiter for waiter in here if not waiter.answered.is_set()]

    def _stories(self, waited: Collection[UUID], asked: Collection[UUID]) -> dict[UUID, JobDetail]:
        with self._database.connection() as connection:
            jobs = find_waited_jobs(connection, waited, asked)
            events: dict[UUID, list[JobEvent]] = defaultdict(list)
            for event in find_events(connection, [job.id for job in jobs]) if jobs else ():
                events[event.job_id].append(event)
        return {job.id: JobDetail(job, events[job.id]) for job in jobs}
