"""A nonce is used for one callback only, whichever of several transactions commits first."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from receiver.store.connections import Connection, connect
from receiver.store.nonces import UsedNonce, find_reused_nonces
from tests.support.factories import NOON
from tests.support.processes import wait_for

FIND_WAITERS = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def build_nonce(content: bytes, nonce: str = "n-1", provider: str = "acme") -> UsedNonce:
    return UsedNonce.build(provider, nonce, [content], NOON)


def test_nonce_is_reused_only_by_another_callback(connection: Connection) -> None:
    first, other = build_nonce(b"first"), build_nonce(b"other")
    assert find_reused_nonces(connection, [first]) == set()
    assert find_reused_nonces(connection, [first]) == set()
    assert find_reused_nonces(connection, [other]) == {other}
    assert find_reused_nonces(connection, [build_nonce(b"other", "n-2"), build_nonce(b"other", provider="b")]) == set()


def test_first_callback_of_a_batch_uses_the_nonce(connection: Connection) -> None:
    first, other = build_nonce(b"first"), build_nonce(b"other")
    assert find_reused_nonces(connection, [first, other, first]) == {other}
    assert find_reused_nonces(connection, [other, first]) == {other}


@pytest.mark.parametrize("is_committed", [True, False])
def test_concurrent_use_waits_for_the_first_transaction(dsn: str, connection: Connection, is_committed: bool) -> None:
    first, other = build_nonce(b"first"), build_nonce(b"other")
    with closing(connect(dsn)) as second_connection, ThreadPoolExecutor(1) as pool:
        with connection.transaction(force_rollback=not is_committed):
            assert find_reused_nonces(connection, [first]) == set()
            second = pool.submit(find_reused_nonces, second_connection, [other])
            wait_for(lambda: connection.execute(FIND_WAITERS).fetchall())
        assert second.result(10) == ({other} if is_committed else set())


def test_nonces_of_crossing_batches_do_not_deadlock(dsn: str) -> None:
    batch = [build_nonce(b"first", f"n-{number}") for number in range(50)]

    def save(nonces: list[UsedNonce]) -> int:
        with closing(connect(dsn)) as connection:
            return sum(len(find_reused_nonces(connection, nonces)) for _ in range(20))

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(save, [batch, batch[::-1]])) == 0
