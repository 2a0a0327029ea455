"""Group commit: many callers, one transaction.

Callers append to the current batch and wait on one event that the batch shares. A single flusher per process takes all
that waits and writes it on a connection of its own. While it writes, the next batch gathers, so that batches grow with
the load and nobody waits for a timer.

It uses plain `threading`, which is greenlets under gevent and threads elsewhere.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog

from receiver.domain.errors import ReceiverError
from receiver.store.database import Connection, StoreConflict, StoreUnavailable, connect, translate_errors

T = TypeVar("T")

_CONFLICTS_ENDURED = 10
_log = structlog.get_logger(__name__)


class QueueFull(ReceiverError):
    """More callers wait for their commit than the queue takes; try again later."""


class _Batch(Generic[T]):
    def __init__(self) -> None:
        self.items: list[T] = []
        self.size = 0
        self.errors: dict[int, Exception] = {}
        self.done = threading.Event()


class GroupCommit(Generic[T]):
    """Writes items in batches.

    Args:
        dsn: the flusher's connection is opened with it at the first batch and again after a loss.
        write: stores a batch atomically on an autocommit connection. A batch that fails is written again in halves
            until the culprit stands alone, so it must leave nothing behind when it raises.
        max_waiting: how many items may wait, all batches together.
        max_batch: how many items one transaction takes.
        size_of: gives an item's size in bytes.
        max_batch_size: a batch takes no more items once it holds so many bytes.
    """

    def __init__(
        self,
        dsn: str,
        write: Callable[[Connection, Sequence[T]], None],
        *,
        max_waiting: int = 10_000,
        max_batch: int = 500,
        size_of: Callable[[T], int] = lambda _: 0,
        max_batch_size: int = 8 << 20,
    ) -> None:
        self._dsn = dsn
        self._write = write
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._size_of = size_of
        self._max_batch_size = max_batch_size
        self._lock = threading.Lock()
        self._batch: _Batch[T] = _Batch()
        self._full: list[_Batch[T]] = []
        self._waiting = 0
        self._arrived = threading.Event()
        self._closing = False
        self._connection: Connection | None = None
        self._flusher = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._flusher.start()

    @property
    def waiting(self) -> int:
        """How many items wait for their commit."""
        return self._waiting

    def commit(self, item: T, *, timeout: float | None = None) -> None:
        """Return when `item` is committed.

        Raises:
            QueueFull: too many wait already; `item` was not taken.
            StoreUnavailable: Postgres is away or `timeout` seconds passed; `item` may or may not be stored.
            Exception: what `write` raised for a batch of this one item; `item` is not stored.
        """
        with self._lock:
            if self._waiting >= self._max_waiting or self._closing:
                raise QueueFull("too many wait for their commit")
            self._waiting += 1
            batch = self._batch
            position = len(batch.items)
            batch.items.append(item)
            batch.size += self._size_of(item)
            if position == 0:
                self._arrived.set()
            if position + 1 >= self._max_batch or batch.size >= self._max_batch_size:
                self._full.append(batch)
                self._batch = _Batch()
        if not batch.done.wait(timeout):
            raise StoreUnavailable(f"no commit within {timeout} s")
        error = batch.errors.get(position)
        if error is not None:
            raise error

    def close(self) -> None:
        """Take no more items, write all that wait, and close the connection."""
        with self._lock:
            self._closing = True
            self._arrived.set()
        self._flusher.join()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._flush(batch, 0, len(batch.items))
            except Exception as error:  # a log that cannot be written must not end the flusher
                batch.errors.update(dict.fromkeys(range(len(batch.items)), StoreUnavailable(str(error))))
            with self._lock:
                self._waiting -= len(batch.items)
            batch.done.set()
        self._disconnect()

    def _next(self) -> _Batch[T] | None:
        """Wait for the oldest batch and take it; None when we are closing and all is written."""
        while True:
            self._arrived.wait()
            with self._lock:
                if self._full:
                    return self._full.pop(0)
                if self._batch.items:
                    batch, self._batch = self._batch, _Batch()
                    return batch
                if self._closing:
                    return None
                self._arrived.clear()

    def _flush(self, batch: _Batch[T], start: int, stop: int) -> None:
        try:
            self._store(batch.items[start:stop])
        except StoreUnavailable as error:
            _log.warning("store.unavailable", error=str(error), waiting=self._waiting)
            batch.errors.update(dict.fromkeys(range(start, stop), error))
        except Exception as error:
            if stop - start == 1:
                batch.errors[start] = error
                return
            middle = (start + stop) // 2
            self._flush(batch, start, middle)
            self._flush(batch, middle, stop)

    def _store(self, items: Sequence[T]) -> None:
        for _ in range(_CONFLICTS_ENDURED):
            try:
                self._store_once(items)
            except StoreConflict as error:
                _log.info("store.conflict", error=str(error))
                conflict = error
            else:
                return
        raise StoreUnavailable(f"gave up after {_CONFLICTS_ENDURED} conflicts: {conflict}")

    def _store_once(self, items: Sequence[T]) -> None:
        connection = self._connection = self._connection or connect(self._dsn)
        try:
            with translate_errors():
                self._write(connection, items)
        except StoreUnavailable:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
