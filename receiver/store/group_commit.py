"""Group commit: many callers, one transaction.

Callers append to the current batch and wait on one event per batch. A single flusher per process writes the batch on
its own connection. Meanwhile the next batch fills, so that batches grow with the load and no caller waits for a timer.

The module uses plain `threading`, which means greenlets under gevent and threads elsewhere.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog

from receiver.domain.errors import ReceiverError
from receiver.store.database import Connection, StoreConflict, StoreUnavailable, connect, translate_errors

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_MAX_CONFLICTS = 10
_log = structlog.get_logger(__name__)


class QueueFull(ReceiverError):
    """The queue of items to commit is full or closed; the item was not queued. Try again later."""


class _Batch(Generic[ItemT, ResultT]):
    """Items with their results and errors, by position: once done, each item has a result or an error."""

    def __init__(self) -> None:
        self.items: list[ItemT] = []
        self.size = 0
        self.results: dict[int, ResultT] = {}
        self.errors: dict[int, Exception] = {}
        self.done = threading.Event()


class GroupCommit(Generic[ItemT, ResultT]):
    """Writes items in batches.

    Args:
        dsn: where the flusher connects to, at the first batch and after the connection was lost.
        write: a function that stores a batch atomically on an autocommit connection, and returns the result of each
            item. A batch that fails is split in halves until the item at fault stands alone, so that `write` must leave
            nothing behind when it raises. It is called again for the same items after a conflict.
        max_waiting: the maximum number of items that wait, in all batches together.
        max_batch: the maximum number of items in one transaction.
        get_size: a function that returns an item's size in bytes.
        max_batch_bytes: the size in bytes at which a batch takes no more items.
    """

    def __init__(
        self,
        dsn: str,
        write: Callable[[Connection, Sequence[ItemT]], Sequence[ResultT]],
        *,
        max_waiting: int = 10_000,
        max_batch: int = 500,
        get_size: Callable[[ItemT], int] = lambda _: 0,
        max_batch_bytes: int = 8 << 20,
    ) -> None:
        self._dsn = dsn
        self._write = write
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._get_size = get_size
        self._max_batch_bytes = max_batch_bytes
        self._lock = threading.Lock()
        self._batch: _Batch[ItemT, ResultT] = _Batch()
        self._full_batches: list[_Batch[ItemT, ResultT]] = []
        self._waiting_count = 0
        self._wakeup = threading.Event()
        self._closing = False
        self._connection: Connection | None = None
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
            Exception: what `write` raised for a batch of only this item; `item` is not stored.
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
                self._wakeup.set()
            if position + 1 >= self._max_batch or batch.size >= self._max_batch_bytes:
                self._full_batches.append(batch)
                self._batch = _Batch()
        if not batch.done.wait(timeout):
            raise StoreUnavailable(f"no commit within {timeout} s")
        error = batch.errors.get(position)
        if error is not None:
            raise error
        return batch.results[position]

    def close(self) -> None:
        """Accept no more items, write all waiting items, and close the connection."""
        with self._lock:
            self._closing = True
            self._wakeup.set()
        self._flusher.join()

    def _run(self) -> None:
        while (batch := self._take_batch()) is not None:
            try:
                self._flush(batch, 0, len(batch.items))
            except Exception as error:  # any other error, such as a failing log, must not end the flusher
                batch.errors.update(dict.fromkeys(range(len(batch.items)), StoreUnavailable(str(error))))
            with self._lock:
                self._waiting_count -= len(batch.items)
            batch.done.set()
        self._disconnect()

    def _take_batch(self) -> _Batch[ItemT, ResultT] | None:
        """Wait for the oldest batch and remove it from the queue; return None once closed and empty."""
        while True:
            self._wakeup.wait()
            with self._lock:
                if self._full_batches:
                    return self._full_batches.pop(0)
                if self._batch.items:
                    batch, self._batch = self._batch, _Batch()
                    return batch
                if self._closing:
                    return None
                self._wakeup.clear()

    def _flush(self, batch: _Batch[ItemT, ResultT], start: int, stop: int) -> None:
        """Write the items from `start` up to `stop`; if that fails, write each half by itself."""
        try:
            results = self._store(batch.items[start:stop])
        except StoreUnavailable as error:
            _log.warning("commit.failed", error=str(error), waiting=self._waiting_count)
            batch.errors.update(dict.fromkeys(range(start, stop), error))
        except Exception as error:
            if stop - start == 1:
                batch.errors[start] = error
                return
            middle = (start + stop) // 2
            self._flush(batch, start, middle)
            self._flush(batch, middle, stop)
        else:
            batch.results.update(zip(range(start, stop), results, strict=True))

    def _store(self, items: Sequence[ItemT]) -> Sequence[ResultT]:
        for _ in range(_MAX_CONFLICTS):
            try:
                return self._store_once(items)
            except StoreConflict as error:
                _log.info("commit.retried", error=str(error))
                conflict = error
        raise StoreUnavailable(f"gave up after {_MAX_CONFLICTS} conflicts: {conflict}")

    def _store_once(self, items: Sequence[ItemT]) -> Sequence[ResultT]:
        connection = self._connection = self._connection or connect(self._dsn)
        try:
            with translate_errors():
                return self._write(connection, items)
        except StoreUnavailable:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
