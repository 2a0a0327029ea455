"""Connections to Postgres, and the driver's errors as errors of the store."""

import time

import pytest

from receiver.store.database import Database, StoreUnavailable
from receiver.store.limits import lock_limits


def test_terminated_transaction_raises_store_unavailable(database: Database) -> None:
    def terminate_transaction() -> None:
        with database.transaction() as connection:
            lock_limits(connection, ["a"])
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10ms'")
            time.sleep(0.1)
            connection.execute("SELECT")

    with pytest.raises(StoreUnavailable):
        terminate_transaction()
