"""What a process knows about Postgres: whether it can be reached, whether commits succeed, and since when.

Everything that uses the store reports failures and commits here. Readiness, metrics, fast errors and log events are
derived from it. While something fails, a background thread probes Postgres, so that the process recovers without any
traffic.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import structlog

from receiver.store.errors import FailureKind, NotMigrated, StoreUnavailable

MAX_COMMIT_AGE_S = 5.0
"""How long the oldest waiting commit may wait before the store counts as failing."""

_PROBE_INTERVAL_S = 0.5
_MAINTENANCE_INTERVAL_S = 10.0
_PROBE_VALIDITY_S = 1.0
_CHECK_TIMEOUT_S = 3.5

_log = structlog.get_logger(__name__)


class Part(StrEnum):
    """A part of the store that can fail by itself."""

    CONNECTION = "connection"
    COMMITS = "commits"
    SCHEMA = "schema"


_PARTS = {
    FailureKind.CONNECT_FAILED: Part.CONNECTION,
    FailureKind.CONNECTION_LOST: Part.CONNECTION,
    FailureKind.TIMED_OUT: Part.CONNECTION,
    FailureKind.NOT_MIGRATED: Part.SCHEMA,
}
"""The part of each kind of failure; all other kinds are failures of commits."""
_REMEDIES = {
    Part.CONNECTION: "none if Postgres comes back: the process recovers by itself; else see the server of DATABASE_URL",
    Part.COMMITS: "see that the server is the primary, has room on its disk and its standbys, and no table is locked",
    Part.SCHEMA: "apply the migrations of this release; the process recovers by itself then",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the store cannot be used; `since` is a time of the monotonic clock."""

    part: Part
    kind: FailureKind
    message: str
    since: float

    def as_error(self) -> StoreUnavailable:
        """Return the problem as an error, for callers that do not wait for another failure."""
        if self.part is Part.SCHEMA:
            return NotMigrated()
        return StoreUnavailable(f"{self.part}: {self.message}", self.kind)


class StoreHealth:
    """The state of Postgres as one process sees it.

    Args:
        probe: opens a new connection and commits; is told the kind of the present failure, and raises StoreUnavailable.
        maintain: called every ten seconds by the background thread.

    Attributes:
        error_counts: how many operations failed, by kind.
    """

    def __init__(
        self, probe: Callable[[FailureKind | None], None], maintain: Callable[[], None] = lambda: None
    ) -> None:
        self.error_counts: Counter[FailureKind] = Counter()
        self._probe = probe
        self._maintain = maintain
        self._problem: Problem | None = None
        self._last_commit_at = float("-inf")
        self._last_probe_at = float("-inf")
        self._commit_ages: list[Callable[[], float]] = []
        self._lock = threading.Lock()
        self._probed = threading.Condition(self._lock)
        self._probe_count = 0
        self._is_probe_requested = False
        self._closing = threading.Event()
        self._wakeup = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> Problem | None:
        """Why this process cannot commit now, as far as it knows."""
        return self._problem or self._find_late_commit()

    @property
    def oldest_commit_age(self) -> float:
        """How many seconds the oldest waiting commit of this process has waited; 0 if none waits."""
        return max((get_age() for get_age in self._commit_ages), default=0.0)

    def watch_commits(self, get_age: Callable[[], float]) -> None:
        """Include a queue of commits, of which `get_age` returns the seconds that the oldest one has waited."""
        self._commit_ages.append(get_age)

    def start(self) -> None:
        """Start the background thread, once."""
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="store-health", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop the background thread, without waiting for a probe."""
        with self._lock:
            self._closing.set()
        self._wakeup.set()

    def require_reachable(self) -> None:
        """Raise StoreUnavailable at once while Postgres cannot be reached, so that no caller waits for a time limit."""
        problem = self._problem
        if problem is not None and problem.part is Part.CONNECTION:
            raise problem.as_error()

    def require_no_problem(self) -> None:
        """Raise StoreUnavailable at once while a problem is known, of whatever part."""
        problem = self._problem
        if problem is not None:
            raise problem.as_error()

    def require_writable(self) -> None:
        """Raise StoreUnavailable at once while commits fail or hang."""
        problem = self.problem
        if problem is not None:
            raise problem.as_error()

    def check(self) -> Problem | None:
        """Return why this process cannot commit now, or None; probe Postgres at most once a second."""
        problem = self.problem
        if problem is not None or time.monotonic() - self._last_probe_at < _PROBE_VALIDITY_S:
            return problem
        self.start()
        with self._lock:
            count = self._probe_count
            self._is_probe_requested = True
            self._wakeup.set()
            is_probed = self._probed.wait_for(lambda: self._probe_count > count, _CHECK_TIMEOUT_S)
        if not is_probed and self._problem is None:
            message = f"no response within {_CHECK_TIMEOUT_S} s"
            return Problem(Part.CONNECTION, FailureKind.TIMED_OUT, message, time.monotonic())
        return self._problem

    def record_commit(self) -> None:
        """Record that a commit succeeded."""
        self._last_commit_at = time.monotonic()
        if self._problem is not None:
            self._recover()

    def record_commit_failure(self, error: StoreUnavailable) -> None:
        """Record that a commit failed which was repeated where that was possible."""
        kind = FailureKind.COMMIT_TIMED_OUT if error.kind is FailureKind.TIMED_OUT else error.kind
        self._fail(kind, str(error))

    def record_error(self, kind: FailureKind) -> None:
        """Count a failure; probe Postgres if the failure may concern everything else too."""
        self.error_counts[kind] += 1
        if self._thread is not None and kind not in {FailureKind.POOL_EXHAUSTED, FailureKind.CONFLICT}:
            self._is_probe_requested = True
            self._wakeup.set()

    def _find_late_commit(self) -> Problem | None:
        age = self.oldest_commit_age
        if age <= MAX_COMMIT_AGE_S:
            return None
        message = f"the oldest waiting commit has waited for {age:.0f} s"
        return Problem(Part.COMMITS, FailureKind.COMMIT_TIMED_OUT, message, time.monotonic() - age)

    def _run(self) -> None:
        maintained_at = time.monotonic()
        while not self._closing.wait(_PROBE_INTERVAL_S):
            if self._problem is None:
                self._wakeup.wait(_MAINTENANCE_INTERVAL_S)
            self._wakeup.clear()
            if self._closing.is_set():
                return
            if time.monotonic() - maintained_at >= _MAINTENANCE_INTERVAL_S:
                self._maintain()
                maintained_at = time.monotonic()
            if self._problem is not None or self._is_probe_requested:
                self._is_probe_requested = False
                self._run_probe()

    def _run_probe(self) -> None:
        started_at = time.monotonic()
        try:
            self._probe(self._problem.kind if self._problem else None)
        except StoreUnavailable as error:
            # A process that has connections can go on without another one, and a commit since then is better evidence.
            if error.kind is not FailureKind.TOO_MANY_CONNECTIONS and self._last_commit_at < started_at:
                self._fail(error.kind, str(error))
        except Exception:  # whatever it is, the thread must go on probing
            with suppress(Exception):
                _log.exception("store.probe_crashed")
        else:
            self._last_probe_at = time.monotonic()
            self.record_commit()
        with self._lock:
            self._probe_count += 1
            self._probed.notify_all()

    def _fail(self, kind: FailureKind, message: str) -> None:
        part = _PARTS.get(kind, Part.COMMITS)
        with self._lock:
            previous = self._problem
            since = previous.since if previous else time.monotonic()
            self._problem = Problem(part, kind, message, since)
        if previous is None:
            self.start()
            self._wakeup.set()
        if previous is None or previous.part is not part:
            with suppress(Exception):  # a disk that is full may be the log's too
                _log.error("store.failed", part=part, kind=kind, error=message, remedy=_REMEDIES[part])

    def _recover(self) -> None:
        with self._lock:
            problem, self._problem = self._problem, None
        if problem is not None:
            with suppress(Exception):
                _log.warning("store.recovered", part=problem.part, seconds=round(time.monotonic() - problem.since, 1))
