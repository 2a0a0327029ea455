"""The database's clock, by which everything is dated.

The clocks of machines differ. A process measures how far its own is from the database's and reads its own, corrected:
what one machine dated then compares with what any other did, and with what the database did itself.
"""

import threading
import time
from datetime import UTC, datetime, timedelta

import structlog

from receiver.store.database import Connection, Database, StoreError
from receiver.store.statements import load_statement

_EVERY = 30.0
_AGAIN_AFTER = 1.0
_AT_FIRST = 0.5
_WORTH_TELLING = 1.0

_log = structlog.get_logger(__name__)


class Clock:
    """Tells the database's time; measures it in the background, and if it can before anybody asks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offset = 0.0
        self._measured = threading.Event()
        self._closing = threading.Event()
        threading.Thread(target=self._run, name="clock", daemon=True).start()
        self._measured.wait(_AT_FIRST)

    def now(self) -> datetime:
        """Give the time, UTC."""
        return datetime.fromtimestamp(time.time(), UTC) + timedelta(seconds=self._offset)

    def close(self) -> None:
        """Measure no more. A measurement under way is not waited for: while the database is away it takes long."""
        self._closing.set()

    def _run(self) -> None:
        while True:
            rest = self._measure()
            self._measured.set()
            if self._closing.wait(rest):
                return

    def _measure(self) -> float:
        """Measure; gives the seconds until the next time."""
        try:
            with self._database.connection() as connection:
                offset = _offset_of(connection)
        except StoreError as error:
            _log.info("clock.not_measured", error=str(error))
            return _AGAIN_AFTER
        if abs(offset - self._offset) > _WORTH_TELLING:
            _log.warning("clock.differs", seconds=round(offset, 3), remedy="synchronise this machine's clock")
        self._offset = offset
        return _EVERY


def _offset_of(connection: Connection) -> float:
    """Give by how many seconds the database's clock is ahead of ours; it was read midway between our readings."""
    before = time.time()
    row = connection.execute(load_statement("read_clock")).fetchone()
    after = time.time()
    if row is None:
        raise AssertionError("database_time gives a row")
    return float(row[0]) - (before + after) / 2
