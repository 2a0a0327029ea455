"""The database's clock, which dates everything.

The clocks of machines differ. Each process measures the offset of its own clock from the database's clock and corrects
what it reads by it. Times from different machines, and from the database itself, can then be compared.
"""

import threading
import time
from datetime import UTC, datetime

import structlog

from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.errors import StoreError
from receiver.store.statements import load_statement

_MEASURE_INTERVAL_S = 30.0
_RETRY_INTERVAL_S = 1.0
_FIRST_MEASUREMENT_TIMEOUT_S = 0.5
_WARN_CHANGE_S = 1.0

_log = structlog.get_logger(__name__)


class Clock:
    """The database's time, measured in the background.

    The constructor waits briefly for the first measurement. If the database is not available by then, the machine's own
    time is used until it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offset = 0.0
        self._measured = threading.Event()
        self._closing = threading.Event()
        threading.Thread(target=self._run, name="clock", daemon=True).start()
        self._measured.wait(_FIRST_MEASUREMENT_TIMEOUT_S)

    def now(self) -> datetime:
        """Return the current time, UTC."""
        return datetime.fromtimestamp(time.time() + self._offset, UTC)

    def close(self) -> None:
        """Stop measuring, without waiting for a measurement in progress: it takes long while the database is away."""
        self._closing.set()

    def _run(self) -> None:
        while True:
            pause = self._measure()
            self._measured.set()
            if self._closing.wait(pause):
                return

    def _measure(self) -> float:
        """Measure the offset and return the seconds until the next measurement."""
        try:
            with self._database.connection() as connection:
                offset, uncertainty = _measure_offset(connection)
        except StoreError:  # logged by the health of the store
            return _RETRY_INTERVAL_S
        except Exception:  # whatever it is, the thread must go on measuring
            _log.exception("clock.measurement_failed")
            return _RETRY_INTERVAL_S
        # Noise must not move the clocks of processes on one machine apart: one of two callbacks that come right after
        # another would be dated before the other.
        if abs(offset - self._offset) <= uncertainty:
            return _MEASURE_INTERVAL_S
        if abs(offset - self._offset) > _WARN_CHANGE_S:
            _log.warning("clock.skew_detected", seconds=round(offset, 3), remedy="synchronize this machine's clock")
        self._offset = offset
        return _MEASURE_INTERVAL_S


def _measure_offset(connection: Connection) -> tuple[float, float]:
    """Return by how many seconds the database's clock is ahead of this machine's clock, and how uncertain that is.

    The database's clock is assumed to have been read midway between two readings of our own; it was read at some time
    between them.
    """
    before = time.time()
    row = connection.execute(load_statement("read_clock")).fetchone()
    after = time.time()
    if row is None:
        raise AssertionError("read_clock returns a row")
    return float(row[0]) - (before + after) / 2, (after - before) / 2
