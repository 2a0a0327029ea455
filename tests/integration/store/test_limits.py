"""Providers' limits in the database, and the transaction that locks them."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

from receiver.store.connections import Connection, connect
from receiver.store.limits import insert_providers, lock_limits


def test_locked_limits_come_with_time_after_the_lock(dsn: str, connection: Connection) -> None:
    insert_providers(connection, ["a", "b"])
    waiting = Event()

    def hold_limits() -> None:
        with closing(connect(dsn)) as holder, holder.transaction():
            lock_limits(holder, ["b"])
            waiting.set()
            time.sleep(0.3)

    with ThreadPoolExecutor() as threads:
        future = threads.submit(hold_limits)
        waiting.wait()
        with connection.transaction():
            times = [now for _, now in lock_limits(connection, ["a", "b"])]
            (until,) = connection.execute("SELECT clock_timestamp() - interval '0.15 seconds'").fetchone() or ()
        future.result()
    assert min(times) > until


def test_locked_limits_have_idle_transaction_timeout(connection: Connection) -> None:
    insert_providers(connection, ["a"])
    setting = "SHOW idle_in_transaction_session_timeout"
    with connection.transaction():
        lock_limits(connection, ["a"])
        assert connection.execute(setting).fetchone() == ("5s",)
    assert connection.execute(setting).fetchone() == ("0",)
