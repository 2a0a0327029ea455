"""Clients that wait for jobs to finish, with `Prefer: wait`: one short poll per process serves all of them.

A waiting client costs a greenlet and an entry in a list, not a database connection, and no `NOTIFY` slows down the
commits of callbacks. The poll itself reads the jobs with their events, so that the database is asked once even if a
thousand clients are answered at the same time.
"""

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from receiver.domain.paging import PageRequest
from receiver.schemas.api.jobs import MAX_SHOWN_EVENTS
from receiver.store.database import Database
from receiver.store.errors import StoreError, StoreUnavailable
from receiver.store.events import NewestEvents, find_newest_events
from receiver.store.jobs import Job, find_awaited_jobs

MAX_WAIT_S = 60.0
_POLL_INTERVAL_S = 0.2
_COLLECT_DELAY_S = 0.01
_MAX_WAITERS = 5_000
_TIMEOUT_S = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobDetail:
    """A job with its newest events."""

    job: Job
    events: NewestEvents


@dataclass(eq=False, slots=True)
class _Waiter:
    """A waiting client; `detail` is its result once `finished` is set."""

    job_id: UUID
    until: float
    is_visible: Callable[[Job], bool]
    detail: JobDetail | None = None
    finished: threading.Event = field(default_factory=threading.Event)


class JobWaiters:
    """The waiting clients of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._new: list[_Waiter] = []
        self._waiting: list[_Waiter] = []
        self._wake_up = threading.Event()
        self._closing = False
        self._should_release: Callable[[], bool] = lambda: False
        self._thread = threading.Thread(target=self._run, name="job-waiters", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """The number of waiting clients."""
        return len(self._new) + len(self._waiting)

    @property
    def has_capacity(self) -> bool:
        """Whether one more client may wait."""
        return self.count < _MAX_WAITERS and not self._closing

    def wait(self, job_id: UUID, seconds: float, is_visible: Callable[[Job], bool]) -> JobDetail | None:
        """Wait until a job is final, for `seconds` at most.

        Returns:
            The job, final or not; None if no job has this id or the job is not visible.

        Raises:
            StoreUnavailable: the database cannot be read.
        """
        waiter = _Waiter(job_id, time.monotonic() + seconds, is_visible)
        with self._lock:
            self._new.append(waiter)
        self._wake_up.set()
        if not waiter.finished.wait(seconds + _TIMEOUT_S):
            raise StoreUnavailable("the job could not be looked up")
        return waiter.detail

    def release_when(self, should_release: Callable[[], bool]) -> None:
        """Answer all waiting clients with their jobs as they are, as soon as `should_release` returns True."""
        self._should_release = should_release

    def close(self) -> None:
        """Answer all waiting clients with their jobs as they are, and stop."""
        self._closing = True
        self._wake_up.set()
        self._thread.join()

    def _run(self) -> None:
        next_poll_at = 0.0
        while not self._closing:
            if not self._waiting:
                self._wake_up.wait()
            elif self._wake_up.wait(max(next_poll_at - time.monotonic(), 0.0)):
                time.sleep(_COLLECT_DELAY_S)  # clients that come at the same time share one query
            self._wake_up.clear()
            try:
                self._admit_new()
                if time.monotonic() >= next_poll_at:
                    self._poll()
                    next_poll_at = time.monotonic() + _POLL_INTERVAL_S
            except StoreUnavailable:  # logged by the health of the store; clients see their timeout
                time.sleep(_POLL_INTERVAL_S)
            except Exception as error:  # whatever it is, the thread must go on
                _log.warning("job_waiters.poll_failed", error=str(error), waiting=len(self._waiting))
                time.sleep(_POLL_INTERVAL_S)
        with suppress(StoreError):
            self._admit_new()
            self._poll()

    def _admit_new(self) -> None:
        """Answer new waiters whose job does not exist or is not visible; the others wait from now on."""
        with self._lock:
            new, self._new = self._new, []
        if not new:
            return
        try:
            with self._database.connection() as connection:
                jobs = {job.id: job for job in find_awaited_jobs(connection, (), {waiter.job_id for waiter in new})}
        except StoreError:
            now = time.monotonic()
            with self._lock:
                self._new += [waiter for waiter in new if waiter.until + _TIMEOUT_S > now]
            self._wake_up.set()  # they are tried again even if nobody else comes
            raise
        for waiter in new:
            job = jobs.get(waiter.job_id)
            if job and waiter.is_visible(job):
                self._waiting.append(waiter)
            else:
                waiter.finished.set()

    def _poll(self) -> None:
        """Answer the waiters whose job is final and those whose time is up."""
        now = time.monotonic()
        # A client whose timeout has passed was answered with an error already.
        waiters = [waiter for waiter in self._waiting if waiter.until + _TIMEOUT_S > now]
        if not waiters:  # without the database, reading for nobody would only delay the stop
            self._waiting = []
            return
        release_all = self._closing or self._should_release()
        due = {waiter for waiter in waiters if release_all or waiter.until <= now + _POLL_INTERVAL_S / 2}
        details = self._find_details({waiter.job_id for waiter in waiters}, {waiter.job_id for waiter in due})
        for waiter in waiters:
            waiter.detail = details.get(waiter.job_id)
            if waiter in due or (waiter.detail and waiter.detail.job.status.is_final):
                waiter.finished.set()
        self._waiting = [waiter for waiter in waiters if not waiter.finished.is_set()]

    def _find_details(self, job_ids: Collection[UUID], due_ids: Collection[UUID]) -> dict[UUID, JobDetail]:
        """Read the final ones among the jobs, and those that are due in any state."""
        with self._database.connection() as connection:
            jobs = find_awaited_jobs(connection, job_ids, due_ids)
            job_ids = [job.id for job in jobs]
            events = find_newest_events(connection, job_ids, PageRequest(limit=MAX_SHOWN_EVENTS)) if jobs else {}
        return {job.id: JobDetail(job, events[job.id]) for job in jobs}
