"""Readiness: one check for all that ask."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import Mock

import pytest

from receiver.store.database import Database, StoreUnavailable
from receiver.web import health
from receiver.web.health import ReadinessCheck

CALLERS = 50


class CountingDatabase:
    """Counts how many connections are taken, and fails if it is down."""

    def __init__(self) -> None:
        self.checks = 0
        self.is_down = False
        self.released = threading.Event()

    @contextmanager
    def connection(self) -> Iterator[Any]:
        self.checks += 1
        self.released.wait()
        if self.is_down:
            raise StoreUnavailable("connection refused")
        yield Mock()


def test_callers_share_a_check() -> None:
    database = CountingDatabase()
    readiness = ReadinessCheck(cast(Database, database))
    with ThreadPoolExecutor(CALLERS) as pool:
        waiting = [pool.submit(readiness.check) for _ in range(CALLERS)]
        time.sleep(0.05)
        database.released.set()
        for future in waiting:
            future.result(5.0)
    assert database.checks == 1


def test_check_is_repeated_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_CHECK_INTERVAL_S", 0.05)
    database = CountingDatabase()
    database.released.set()
    readiness = ReadinessCheck(cast(Database, database))
    readiness.check()
    database.is_down = True
    time.sleep(0.06)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="connection refused"):
            readiness.check()
    assert database.checks == 2
