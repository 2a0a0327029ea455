"""Clients that follow the changes of requests, callbacks and jobs: one short poll per process serves all of them.

Nothing is polled while nobody follows. A position comes and goes with each call, so that any process can continue.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from receiver.domain.tail import TailCursor
from receiver.store.database import Database
from receiver.store.errors import StoreError, StoreUnavailable
from receiver.store.tail import Change, Changes, read_changes

_POLL_INTERVAL_S = 1.0
_TIMEOUT_S = 10.0
_MAX_FOLLOWERS = 1_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TailPage:
    """The changes after a position, in order of time, and the position after them.

    `has_gap`: changes between the positions may be missing, because the first one is old or there are too many changes.
    """

    items: Sequence[Change]
    cursor: TailCursor
    has_gap: bool = False


@dataclass(eq=False, slots=True)
class _Follower:
    """A following client; `page` is its result once `finished` is set. Without a cursor it follows from now on."""

    cursor: TailCursor | None
    until: float
    select: Callable[[Sequence[Change]], Sequence[Change]]
    page: TailPage | None = None
    finished: threading.Event = field(default_factory=threading.Event)


class Followers:
    """The following clients of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._followers: list[_Follower] = []
        self._wake_up = threading.Event()
        self._closing = False
        self._should_release: Callable[[], bool] = lambda: False
        self._thread = threading.Thread(target=self._run, name="followers", daemon=True)
        self._thread.start()

    @property
    def has_capacity(self) -> bool:
        """Whether one more client may follow."""
        return len(self._followers) < _MAX_FOLLOWERS and not self._closing

    def follow(
        self,
        cursor: TailCursor | None,
        seconds: float,
        select: Callable[[Sequence[Change]], Sequence[Change]],
    ) -> TailPage:
        """Wait until there are changes after a position, for `seconds` at most, and return them.

        Args:
            cursor: the position; None for now.
            seconds: how long to wait.
            select: returns those of the changes that the client wants and may see.

        Raises:
            StoreUnavailable: the database cannot be read.
        """
        follower = _Follower(cursor, time.monotonic() + seconds, select)
        with self._lock:
            self._followers.append(follower)
        self._wake_up.set()
        if not follower.finished.wait(seconds + _TIMEOUT_S) or follower.page is None:
            with self._lock:
                self._followers = [each for each in self._followers if each is not follower]
            raise StoreUnavailable("the changes could not be read")
        return follower.page

    def release_when(self, should_release: Callable[[], bool]) -> None:
        """Answer all following clients as soon as `should_release` returns True."""
        self._should_release = should_release

    def close(self) -> None:
        """Answer all following clients, and stop."""
        self._closing = True
        self._wake_up.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            if not self._followers:
                self._wake_up.wait()
            self._wake_up.clear()
            try:
                self._poll()
            except StoreError:  # logged by the health of the store; clients see their timeout
                pass
            except Exception as error:  # whatever it is, the thread must go on
                _log.warning("followers.poll_failed", error=str(error), following=len(self._followers))
            if not self._closing:
                time.sleep(_POLL_INTERVAL_S)
        with self._lock:
            followers, self._followers = self._followers, []
        for follower in followers:
            follower.finished.set()

    def _poll(self) -> None:
        """Read the changes that any follower waits for, and answer those that get some or whose time is up."""
        with self._lock:
            followers = list(self._followers)
        if not followers:
            return
        changes = read_changes(self._database, [each.cursor for each in followers if each.cursor is not None])
        release_all = self._closing or self._should_release()
        answered = {
            follower
            for follower in followers
            if _advance(follower, changes) or release_all or follower.until <= time.monotonic()
        }
        with self._lock:
            self._followers = [each for each in self._followers if each not in answered]
        for follower in answered:
            follower.finished.set()


def _advance(follower: _Follower, changes: Changes) -> bool:
    """Move a follower to a new position; return whether it has something to answer with."""
    cursor, follower.cursor = follower.cursor, changes.cursor
    if cursor is None:
        follower.page = TailPage((), changes.cursor)
        return False
    items = follower.select([change for change in changes.items if change.is_after(cursor)])
    has_gap = changes.is_cut or cursor.time < changes.since
    follower.page = TailPage(items, changes.cursor, has_gap)
    return bool(items) or has_gap
