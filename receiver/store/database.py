"""The pool of a process's connections to Postgres."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from uuid_utils.compat import uuid7

from receiver.store.connections import (
    Connection,
    StatementTimedOut,
    begin,
    connect,
    ensure_durability,
    finish_transaction,
    prefer_host,
    translate_errors,
)
from receiver.store.errors import FailureKind, NotMigrated, StoreConflict, StoreUnavailable
from receiver.store.health import StoreHealth
from receiver.store.statements import find_migrations, load_statement

T = TypeVar("T")

API_LIMIT_S = 10.0
"""How long a statement of an API call may take, in seconds."""
BATCH_LIMIT_S = 120.0
"""How long a statement of `receiver audit`, `prune` and `recover` may take, in seconds: it handles a batch of rows."""
WORKER_LIMIT_S = 5.0
"""How long a statement of the worker may take, in seconds: soon after its shares have expired."""

_CHECK_LIMIT_S = 2.0
_MAX_IDLE_S = 50.0
_POOL_TIMEOUT_S = 5.0
_MAX_WAITING_FACTOR = 10
_PROBE_LIMIT_S = 2.0
_PROBE_COMMIT_LIMIT_S = 5.0
_PROBE_BODY_BYTES = 64 << 10


class Database:
    """A pool of connections to Postgres, and what is known about its health.

    Create it after a fork and close it before exit. A connection is opened by the caller that needs one, and closed
    after a minute without use. A connection that was lost, did not answer or is read-only is closed, together with
    those that are idle, which have probably met the same fate.

    Args:
        dsn: a libpq URL or connection string.
        size: the maximum number of connections in the pool.
        limit_s: the time limit of each statement in seconds; None for no limit.
        prepare: see `connect`.
        is_monitored: whether a background thread closes unused connections and probes Postgres after a failure, for
            processes that run for long.

    Attributes:
        health: whether Postgres can be reached and commits succeed, as far as this process knows.
        is_closed: whether the process is stopping, and nothing more can be read or stored.
    """

    def __init__(
        self,
        dsn: str,
        *,
        size: int = 10,
        limit_s: float | None = API_LIMIT_S,
        prepare: str = "auto",
        is_monitored: bool = True,
    ) -> None:
        self.health = StoreHealth(self._probe, self._close_unused)
        self.dsn = dsn
        self._preferred_dsn = dsn
        self._size = size
        self._limit_s = limit_s
        self._prepare = prepare
        self._is_monitored = is_monitored
        self._slots = threading.BoundedSemaphore(size)
        self._waiting_count = 0
        self._in_use_count = 0
        self._idle: list[tuple[Connection, float]] = []
        self._discarded_at = float("-inf")
        self._open: WeakSet[Connection] = WeakSet()
        self.is_closed = False

    @property
    def in_use_count(self) -> int:
        """The number of connections of the pool that are in use."""
        return self._in_use_count

    def connect(self, *, limit_s: float | None) -> Connection:
        """Open a connection that does not belong to the pool, with a time limit in seconds for each statement.

        Raises:
            StoreUnavailable: Postgres does not answer or refuses the connection.
        """
        if self.is_closed:
            raise StoreUnavailable("the process is stopping", FailureKind.CONNECT_FAILED)
        if self._is_monitored:
            self.health.start()
        connection = connect(self._preferred_dsn, limit_s=limit_s, prepare=self._prepare)
        self._open.add(connection)
        # Of several hosts, the one that works now comes first: each that does not answer would cost its timeout again.
        self._preferred_dsn = prefer_host(self.dsn, connection.info.host, connection.info.port)
        return connection

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield a connection of the pool, in autocommit mode.

        Raises:
            StoreUnavailable: no connection is available, or it was lost while in use.
            StoreConflict: Postgres aborted a statement to end a conflict.
            Unstorable: Postgres cannot store a value.
        """
        with self._borrow(_ping) as connection:
            yield connection

    @contextmanager
    def _borrow(self, check: Callable[[Connection], None]) -> Iterator[Connection]:
        """Yield a connection of the pool; one that was idle must pass the check."""
        self.health.require_reachable()
        self._acquire_slot()
        connection = None
        try:
            with translate_errors():
                connection = self._take_idle(check) or self.connect(limit_s=self._limit_s)
                yield connection
        except (StoreUnavailable, StoreConflict) as error:
            if connection is not None and error.is_repeatable:
                connection.close()
            self.health.record_error(error.kind)
            raise
        finally:
            if connection is not None:
                self._put_back(connection)
            self._in_use_count -= 1
            self._slots.release()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection within a transaction, which is committed at the end; raises what `connection` raises."""
        self.health.require_writable()
        # The first statement of a transaction tells whether the connection works, and may be repeated on another one.
        with self._borrow(begin) as connection:
            if connection.info.transaction_status is TransactionStatus.IDLE:
                begin(connection)
            with finish_transaction(connection):
                yield connection

    def run_repeatably(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction, and once more on another connection if the first one is lost.

        If the reply to a commit is lost, nobody knows whether the commit was done. Therefore `work` must do no harm if
        it runs again after its own commit: all ids are made before, and inserts ignore rows that exist.
        """
        try:
            with self.transaction() as connection:
                result = work(connection)
        except StoreUnavailable as error:
            if not error.is_repeatable:
                raise
            with self.transaction() as connection:
                result = work(connection)
                ensure_durability(connection)
        self.health.record_commit()
        return result

    def close(self) -> None:
        """Close all connections; a connection in use is closed when it is returned."""
        self.is_closed = True
        self.health.close()
        self._discard_idle()

    def abort(self) -> None:
        """Fail all statements that wait for Postgres, on connections outside the pool too, and open no more."""
        self.close()
        for connection in list(self._open):
            connection.abort()

    def _acquire_slot(self) -> None:
        if not self._slots.acquire(blocking=False):
            is_acquired = False
            if self._waiting_count < _MAX_WAITING_FACTOR * self._size:
                self._waiting_count += 1
                is_acquired = self._slots.acquire(timeout=_POOL_TIMEOUT_S)
                self._waiting_count -= 1
            if not is_acquired:
                self.health.record_error(FailureKind.POOL_EXHAUSTED)
                message = f"all {self._size} connections are in use"
                raise StoreUnavailable(message, FailureKind.POOL_EXHAUSTED)
        self._in_use_count += 1

    def _take_idle(self, check: Callable[[Connection], None]) -> Connection | None:
        """Return the connection that was used last, or None if none is idle and working."""
        while self._idle:
            connection, _ = self._idle.pop()
            connection.limit_s = _CHECK_LIMIT_S
            try:
                check(connection)
            except BaseException as error:
                connection.close()
                self._put_back(connection)
                if not isinstance(error, psycopg.Error):
                    raise
            else:
                connection.limit_s = self._limit_s
                return connection
        return None

    def _put_back(self, connection: Connection) -> None:
        if connection.closed:
            self._discarded_at = time.monotonic()
            self._discard_idle()
        elif (
            self.is_closed
            or connection.opened_at < self._discarded_at
            or connection.info.transaction_status is not TransactionStatus.IDLE
        ):
            connection.close()
        else:
            self._idle.append((connection, time.monotonic()))

    def _discard_idle(self) -> None:
        while self._idle:
            self._idle.pop()[0].close()

    def _close_unused(self) -> None:
        """Close the connections that nobody has used for a while: those that were returned first."""
        while self._idle and time.monotonic() - self._idle[0][1] > _MAX_IDLE_S:
            self._idle.pop(0)[0].close()

    def _connect_for_probe(self) -> Connection:
        """Open a connection. That there are too many matters only to a process that has none itself."""
        try:
            return self.connect(limit_s=_PROBE_LIMIT_S)
        except StoreUnavailable as error:
            has_connections = any(not connection.closed for connection in list(self._open))
            if error.kind is FailureKind.TOO_MANY_CONNECTIONS and not has_connections:
                raise StoreUnavailable(str(error), FailureKind.CONNECT_FAILED) from error
            raise

    def _probe(self, failure: FailureKind | None) -> None:
        """Check that a new connection is answered and commits, and after a failure that callbacks can be stored."""
        with closing(self._connect_for_probe()) as connection, translate_errors():
            check_state(connection)
            connection.limit_s = _PROBE_COMMIT_LIMIT_S
            try:
                if failure is not None:
                    check_tables(connection, _PROBE_BODY_BYTES if failure is FailureKind.DISK_FULL else 0)
                ensure_durability(connection)
            except StatementTimedOut as error:
                raise StoreUnavailable(str(error), FailureKind.COMMIT_TIMED_OUT) from error
        if failure is FailureKind.READ_ONLY:
            self._discarded_at = time.monotonic()  # connections that only read went on, and would fail to write now
            self._discard_idle()


def _ping(connection: Connection) -> None:
    connection.execute("")


def check_state(connection: Connection) -> None:
    """Check that the server takes writes and has all tables.

    Raises:
        StoreUnavailable: it is read-only.
        NotMigrated: migrations are missing.
    """
    row = connection.execute(load_statement("read_state"), {"migrations": list(find_migrations())}).fetchone()
    if row is None:
        raise AssertionError("read_state returns a row")
    is_read_only, is_migrated = row
    if is_read_only:
        raise StoreUnavailable("the server is read-only", FailureKind.READ_ONLY)
    if not is_migrated:
        raise NotMigrated


def check_tables(connection: Connection, body_bytes: int) -> None:
    """Check that a callback can be stored: that nobody has locked its tables, and that there is room for its body."""
    params = {"id": uuid7(), "body": os.urandom(body_bytes)}
    with connection.transaction(force_rollback=True):
        connection.execute(load_statement("lock_tables_of_callbacks"))
        connection.execute(load_statement("write_callback"), params)
