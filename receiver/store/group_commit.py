"""Group commit: many callers, one transaction.

Callers append to the current batch and wait on one event per batch. A single flusher per process writes the batch on
its own connection. Meanwhile the next batch fills, so that batches grow with the load and no caller waits for a timer.

The module uses plain `threading`, which means greenlets under gevent and threads elsewhere.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import gevent
import structlog

from receiver.domain.errors import ReceiverError
from receiver.logs import is_debug
from receiver.store.connections import Connection, ensure_durability, translate_errors
from receiver.store.database import Database
from receiver.store.errors import StoreConflict, StoreUnavailable

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

COMMIT_LIMIT_S = 5.0
"""How long a statement of a group commit may take, in seconds."""

_MAX_CONFLICTS = 10
_MAX_IDLE_S = 50.0
_MAX_GATHER_S = 0.01
_CLOSE_TIMEOUT_S = 3.0
_log = structlog.get_logger(__name__)


class QueueFull(ReceiverError):
    """The queue of items to commit is full or closed; the item was not queued. Try again later."""


class CommitStats:
    """Counts of a group commit since it was created: batches, their items, and the seconds that writing them took."""

    def __init__(self) -> None:
        self.batches = 0
        self.items = 0
        self.seconds = 0.0


class Batch(Generic[ItemT, ResultT]):
    """Items with their results and errors, by position: once `done`, each item has a result or an error.

    `created_at` is the time of the first item, of the monotonic clock.
    """

    def __init__(self) -> None:
        self.items: list[ItemT] = []
        self.size = 0
        self.created_at = 0.0
        self.results: dict[int, ResultT] = {}
        self.errors: dict[int, Exception] = {}
        self.done = threading.Event()


class GroupCommit(Generic[ItemT, ResultT]):
    """Writes items in batches.

    Args:
        database: where the flusher connects to, at the first batch and after the connection was lost.
        write: a function that stores a batch atomically on an autocommit connection, and returns the result of each
            item. A batch that fails is split in halves until the item at fault stands alone, so that `write` must leave
            nothing behind when it raises. It is called again for the same items after a conflict, and once after the
            connection was lost, and must do no harm then if the items are stored already.
        max_waiting: the maximum number of items that wait, in all batches together.
        max_batch: the maximum number of items in one transaction.
        limit_s: the time limit of each statement in seconds.
        get_size: a function that returns an item's size in bytes.
        max_batch_bytes: the size in bytes at which a batch takes no more items.
        gathers: whether a commit waits for items that are on their way, as they are where callers wait for the commit.
        decides_health: whether the process counts as unable to commit while these items cannot be committed, and then
            refuses items of all kinds.

    Attributes:
        stats: what was written, or failed to be.
    """

    def __init__(
        self,
        database: Database,
        write: Callable[[Connection, Sequence[ItemT]], Sequence[ResultT]],
        *,
        max_waiting: int = 10_000,
        max_batch: int = 500,
        limit_s: float = COMMIT_LIMIT_S,
        get_size: Callable[[ItemT], int] = lambda _: 0,
        max_batch_bytes: int = 8 << 20,
        gathers: bool = True,
        decides_health: bool = True,
    ) -> None:
        self._database = database
        self._health = database.health
        self._write = write
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._limit_s = limit_s
        self._get_size = get_size
        self._max_batch_bytes = max_batch_bytes
        self._gathers = gathers
        self._decides_health = decides_health
        self._lock = threading.Lock()
        self._batch: Batch[ItemT, ResultT] = Batch()
        self._full_batches: list[Batch[ItemT, ResultT]] = []
        self._flushed_batch: Batch[ItemT, ResultT] | None = None
        self._waiting_count = 0
        self._wakeup = threading.Event()
        self._closing = False
        self._connection: Connection | None = None
        self.stats = CommitStats()
        if decides_health:
            self._health.watch_commits(self._compute_age)
        self._flusher = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._flusher.start()

    @property
    def waiting(self) -> int:
        """The number of items that wait to be committed."""
        return self._waiting_count

    def commit(self, item: ItemT, *, timeout: float | None = None) -> ResultT:
        """Store `item`, and return the result that `write` returned for it once it is committed.

        Raises:
            QueueFull: too many items are waiting, or the queue is closed; `item` was not queued.
            StoreUnavailable: Postgres is not available, or no commit within `timeout` seconds; `item` may be stored.
                While commits are known to fail, the error is raised at once.
            Exception: what `write` raised for a batch of only this item; `item` is not stored.
        """
        self._health.require_writable()
        batch, position = self.enqueue(item)
        if not batch.done.wait(timeout):
            raise StoreUnavailable(f"no commit within {timeout} s")
        error = batch.errors.get(position)
        if error is not None:
            raise error
        return batch.results[position]

    def enqueue(self, item: ItemT) -> tuple[Batch[ItemT, ResultT], int]:
        """Queue `item` without waiting; return its batch and its position in the batch.

        Raises:
            QueueFull: see `commit`.
        """
        with self._lock:
            if self._waiting_count >= self._max_waiting or self._closing:
                raise QueueFull("the commit queue is full")
            self._waiting_count += 1
            batch = self._batch
            position = len(batch.items)
            batch.items.append(item)
            batch.size += self._get_size(item)
            if position == 0:
                batch.created_at = time.monotonic()
                self._wakeup.set()
            if position + 1 >= self._max_batch or batch.size >= self._max_batch_bytes:
                self._full_batches.append(batch)
                self._batch = Batch()
        return batch, position

    def close(self) -> None:
        """Accept no more items, write all waiting items, and close the connection.

        A connection on which nothing happens for a few seconds is given up, so that a server that does not answer
        cannot keep the process from stopping.
        """
        with self._lock:
            self._closing = True
            self._wakeup.set()
        while self._flusher.is_alive():
            batch = self._flushed_batch
            self._flusher.join(_CLOSE_TIMEOUT_S)
            if batch is not None and batch is self._flushed_batch and self._connection is not None:
                self._connection.abort()

    def _run(self) -> None:
        while (batch := self._take_batch()) is not None:
            started_at = time.monotonic()
            try:
                self._flush(batch, 0, len(batch.items))
            except Exception as error:  # any other error, such as a failing log, must not end the flusher
                batch.errors.update(dict.fromkeys(range(len(batch.items)), StoreUnavailable(str(error))))
            self.stats.batches += 1
            self.stats.items += len(batch.items)
            self.stats.seconds += time.monotonic() - started_at
            with self._lock:
                self._waiting_count -= len(batch.items)
                self._flushed_batch = None
            batch.done.set()
            if is_debug():
                _log_batch(batch, time.monotonic() - started_at)
        self._disconnect()

    def _take_batch(self) -> Batch[ItemT, ResultT] | None:
        """Wait for the oldest batch and remove it from the queue; return None once closed and empty."""
        while True:
            if not self._wakeup.wait(_MAX_IDLE_S):
                self._disconnect()
                continue
            if self._gathers and not self._full_batches:
                _gather()
            with self._lock:
                if self._full_batches:
                    self._flushed_batch = self._full_batches.pop(0)
                elif self._batch.items:
                    self._flushed_batch, self._batch = self._batch, Batch()
                elif self._closing:
                    return None
                else:
                    self._wakeup.clear()
                    continue
                return self._flushed_batch

    def _flush(self, batch: Batch[ItemT, ResultT], start: int, stop: int) -> None:
        """Write the items from `start` up to `stop`; if that fails, write each half by itself."""
        try:
            results = self._store(batch.items[start:stop])
        except StoreUnavailable as error:
            batch.errors.update(dict.fromkeys(range(start, stop), error))
        except Exception as error:
            if stop - start == 1:
                batch.errors[start] = error
                return
            middle = (start + stop) // 2
            self._flush(batch, start, middle)
            self._flush(batch, middle, stop)
        else:
            self._health.record_commit()
            batch.results.update(zip(range(start, stop), results, strict=True))

    def _store(self, items: Sequence[ItemT]) -> Sequence[ResultT]:
        for _ in range(_MAX_CONFLICTS):
            try:
                return self._store_repeatably(items)
            except StoreConflict as error:
                _log.info("commit.retried", error=str(error))
                conflict = error
        raise StoreUnavailable(f"gave up after {_MAX_CONFLICTS} conflicts: {conflict}")

    def _store_repeatably(self, items: Sequence[ItemT]) -> Sequence[ResultT]:
        """Store the items, and once more if the connection is lost: the commit may have been done or not."""
        self._health.require_no_problem()  # every batch that waited meanwhile would wait for the time limit again
        try:
            return self._store_once(items)
        except StoreUnavailable as error:
            if not error.is_repeatable:
                self._record_failure(error)
                raise
        try:
            return self._store_once(items, is_repetition=True)
        except StoreUnavailable as error:
            self._record_failure(error)
            raise

    def _record_failure(self, error: StoreUnavailable) -> None:
        if self._decides_health:
            self._health.record_commit_failure(error)

    def _store_once(self, items: Sequence[ItemT], *, is_repetition: bool = False) -> Sequence[ResultT]:
        try:
            connection = self._connection = self._connection or self._database.connect(limit_s=self._limit_s)
            with translate_errors():
                results = self._write(connection, items)
                if is_repetition:
                    ensure_durability(connection)
                return results
        except StoreUnavailable as error:
            self._health.record_error(error.kind)
            self._disconnect()
            raise

    def _compute_age(self) -> float:
        """Return how many seconds the oldest item has waited."""
        batches = [self._flushed_batch, *self._full_batches, self._batch]
        created_at = next((batch.created_at for batch in batches if batch and batch.items), None)
        return 0.0 if created_at is None else max(time.monotonic() - created_at, 0.0)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def close_together(*groups: GroupCommit[Any, Any]) -> None:
    """Close groups at the same time: where the server does not answer, one after another would take too long."""
    closers = [threading.Thread(target=group.close) for group in groups]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()


def _log_batch(batch: Batch[Any, Any], seconds: float) -> None:
    kinds = Counter(type(item).__name__ for item in batch.items)
    _log.debug("batch.committed", items=kinds, bytes=batch.size, failed=len(batch.errors), seconds=round(seconds, 3))


def _gather() -> None:
    """Wait for the items that are on their way: until no other greenlet can run, for at most `_MAX_GATHER_S`.

    A commit costs as much as many items, and under load the callers that the last commit released come back at once.
    Without load there is no wait.
    """
    with gevent.Timeout(_MAX_GATHER_S, False):  # type: ignore[arg-type]  # as gevent documents it
        gevent.idle()
