"""The lock that one `migrate` at a time holds, and the watch over the connection that executes the migrations.

Three connections are open during `migrate`:

- One holds the lock, in a transaction that is open and idle. The lock ends with its transaction, so that it cannot stay
  behind on a connection that a pooler reuses.
- One executes the migrations. Its statements have no time limit: they may wait for locks, or build an index for hours.
- One observes. Its statements, and those of the connection with the lock, have a time limit on the client's side. If
  one of them is not answered in time, the connection that executes the migrations is aborted.

All of them work through PgBouncer in transaction mode: there are no startup options, no prepared statements, and no
settings that outlast a transaction.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import structlog
from psycopg.pq import TransactionStatus

from receiver.store.connections import Connection, connect, translate_errors
from receiver.store.errors import StoreUnavailable
from receiver.store.statements import load_statement

LOCK_TIMEOUT_S = 1.2
"""Longer than `deadlock_timeout` (1 s), after which Postgres cancels an autovacuum that holds the lock."""
ANSWER_TIMEOUT_S = 10.0
_IDLE_TIMEOUT_S = 60
_POLL_INTERVAL_S = 0.2
_FIRST_REPORT_AFTER_S = 5.0
_REPORT_INTERVAL_S = 30.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LockHolder:
    """A backend that holds a lock. What the role that migrates may not see is None."""

    pid: int
    application: str | None
    role: str | None
    state: str | None
    age_s: float | None
    query: str | None

    def __str__(self) -> str:
        if self.pid == 0:
            return "a prepared transaction (see pg_prepared_xacts)"
        age = None if self.age_s is None else f"transaction open for {self.age_s:.0f} s"
        details = [self.application, self.role, self.state, age, " ".join((self.query or "").split())]
        return f"process {self.pid} ({', '.join(detail for detail in details if detail)})"


class MigrationWatch:
    """Observes the connection that executes the migrations.

    Attributes:
        application: the application name of that connection.
        lock_holders: the backends for which that connection waited most recently.
    """

    def __init__(self, application: str, lock: Connection, observer: Connection) -> None:
        self.application = application
        self.lock_holders: Sequence[LockHolder] = ()
        self._lock = lock
        self._observer = observer
        self._ended = threading.Event()
        self._failure: StoreUnavailable | None = None

    @contextmanager
    def watching(self, connection: Connection) -> Iterator[None]:
        """Watch a connection, and abort it when it cannot succeed any more, until the context ends.

        Raises:
            StoreUnavailable: the connection was aborted, because Postgres does not answer or has lost the statement.
        """
        thread = threading.Thread(target=self._watch, args=(connection,), name="migration-watch", daemon=True)
        thread.start()
        try:
            yield
        except Exception as error:
            if self._failure is not None:
                raise self._failure from error
            raise
        finally:
            self._ended.set()
            thread.join()

    def _watch(self, connection: Connection) -> None:
        try:
            with translate_errors():
                self._observe(connection)
        except StoreUnavailable as error:
            self._failure = error
            connection.abort()

    def _observe(self, connection: Connection) -> None:
        """Return when `watching` ends.

        Raises:
            StoreUnavailable: Postgres does not answer, or does not execute the statement for which `connection` waits.
        """
        reports = _ReportTimes()
        was_seen = False  # false for ever behind a pooler that does not pass the application name on
        seen_at = time.monotonic()
        while not self._ended.wait(_POLL_INTERVAL_S):
            self._lock.execute(b"SHOW transaction_isolation")  # takes no snapshot, see `_take_lock`
            rows = self._observer.execute(
                load_statement("find_lock_holders"), {"application": self.application}
            ).fetchall()
            if rows or connection.info.transaction_status != TransactionStatus.ACTIVE:
                was_seen = was_seen or bool(rows)
                seen_at = time.monotonic()
            elif was_seen and time.monotonic() - seen_at > ANSWER_TIMEOUT_S:
                raise StoreUnavailable("Postgres has ended the statement of the migration, but its reply was lost.")
            holders = [LockHolder(*row) for row in rows if row[0] is not None]
            if not holders:
                reports = _ReportTimes()
                continue
            self.lock_holders = holders
            if reports.is_due():
                _log.warning("migration.blocked", lock_holders=[str(holder) for holder in holders])


@contextmanager
def hold_migration_lock(dsn: str) -> Iterator[MigrationWatch]:
    """Wait until no other process migrates this database, and hold the lock of migrations within the context.

    Raises:
        StoreUnavailable: Postgres cannot be reached, or did not answer in time.
    """
    application = f"receiver migrate {uuid4().hex[:8]}"
    with (
        closing(open_connection(dsn, f"{application} lock", ANSWER_TIMEOUT_S)) as lock,
        closing(open_connection(dsn, f"{application} watch", ANSWER_TIMEOUT_S)) as observer,
    ):
        with translate_errors():
            _take_lock(lock, observer)
        yield MigrationWatch(application, lock, observer)
        with suppress(psycopg.Error):
            lock.execute(b"ROLLBACK")


def _take_lock(lock: Connection, observer: Connection) -> None:
    """Begin a transaction that holds the lock and no snapshot.

    CREATE INDEX CONCURRENTLY waits for the end of every transaction that has a snapshot at a certain moment. Therefore,

    - each attempt to take the lock has a transaction of its own: a transaction that waits for the lock would wait for
      the process that builds an index, and that process for the transaction;
    - the transaction is READ COMMITTED, the statement that takes the lock has no parameters, because the unnamed portal
      of a statement with parameters keeps its snapshot, and only statements without a snapshot follow.
    """
    reports = _ReportTimes()
    while True:
        lock.execute(b"BEGIN ISOLATION LEVEL READ COMMITTED")
        lock.execute(load_statement("set_migration_limits"), get_migration_limits())
        if lock.execute(load_statement("try_migration_lock")).fetchone() == (True,):
            return
        lock.execute(b"ROLLBACK")
        if reports.is_due():
            rows = observer.execute(load_statement("find_migration_lock_holder")).fetchall()
            _log.info("migration_lock.awaited", lock_holders=[str(LockHolder(*row)) for row in rows])
        time.sleep(_POLL_INTERVAL_S)


def get_migration_limits() -> Mapping[str, str]:
    """Return the parameters of the statement `set_migration_limits`."""
    return {"lock_timeout": f"{LOCK_TIMEOUT_S * 1_000:.0f}ms", "idle_timeout": f"{_IDLE_TIMEOUT_S}s"}


def open_connection(dsn: str, application: str, limit_s: float | None = None) -> Connection:
    """Open a connection in autocommit mode that prepares no statements, with a time limit for each, in seconds.

    Raises:
        StoreUnavailable: Postgres does not answer or refuses the connection.
    """
    return connect(dsn, limit_s=limit_s, prepare="off", application=application)


class _ReportTimes:
    """When to report something that continues: after a few seconds, then at a longer interval."""

    def __init__(self) -> None:
        self._due_at = time.monotonic() + _FIRST_REPORT_AFTER_S

    def is_due(self) -> bool:
        """Return whether to report now."""
        now = time.monotonic()
        if now < self._due_at:
            return False
        self._due_at = now + _REPORT_INTERVAL_S
        return True
