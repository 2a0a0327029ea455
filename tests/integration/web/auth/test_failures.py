"""Invalid API keys: limited and logged by address, while valid keys from there work."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
import structlog
from structlog.testing import LogCapture

from receiver.domain.access import Scope
from receiver.store.connections import Connection
from receiver.store.database import Database
from receiver.store.keys import NewApiKey, create_key, find_active_hashes
from receiver.web.auth import api_keys, failures
from receiver.web.auth.api_keys import ApiKeyAuthenticator, InvalidApiKey, generate_key, hash_key
from receiver.web.auth.failures import BURST_FAILURES, FailureLimiter, TooManyInvalidKeys

ADDRESS = "2001:db8::1"


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Sequence[Mapping[str, Any]]:
    """The lines of the log, whatever level another test has configured."""
    capture, wrapper = LogCapture(), structlog.make_filtering_bound_logger(0)
    logger = structlog.wrap_logger(structlog.PrintLogger(), processors=[capture], wrapper_class=wrapper)
    monkeypatch.setattr(failures, "_log", logger)
    return capture.entries


def store_key(connection: Connection) -> str:
    key = generate_key()
    stored = NewApiKey(uuid4(), "shop", "shop", hash_key(key), key[:10], [Scope.READ], None, 60_000, None)
    create_key(connection, stored)
    return key


def use_up_failures(authenticator: ApiKeyAuthenticator, address: str = ADDRESS) -> None:
    for number in range(BURST_FAILURES):
        with pytest.raises(InvalidApiKey):
            authenticator.authenticate(f"wrong-{number}", address)


def test_failures_of_an_address_are_limited_and_valid_keys_are_not(
    dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "FAILURES_PER_S", 0.01)  # so that a slow machine allows no further one
    with closing(Database(dsn)) as database:
        authenticator = ApiKeyAuthenticator(database, "the-admin-key-of-it", 60_000)
        cached = store_key(connection)
        authenticator.authenticate(cached, ADDRESS)
        use_up_failures(authenticator)
        for neighbour in (ADDRESS, "2001:db8::ffff"):
            with pytest.raises(TooManyInvalidKeys) as caught:
                authenticator.authenticate("wrong", neighbour)
            assert 90 < caught.value.retry_after <= 100
        with pytest.raises(InvalidApiKey):
            authenticator.authenticate("wrong", "2001:db8:0:1::1")
        for key in (cached, store_key(connection), "the-admin-key-of-it"):
            authenticator.authenticate(key, ADDRESS)


def test_new_valid_key_is_not_slowed_by_guesses(
    dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_slowly(*arguments: Any) -> frozenset[bytes]:
        time.sleep(0.1)
        return find_active_hashes(*arguments)

    monkeypatch.setattr(api_keys, "find_active_hashes", find_slowly)
    key = store_key(connection)
    with closing(Database(dsn)) as database, ThreadPoolExecutor(21) as pool:
        authenticator = ApiKeyAuthenticator(database, None, 60_000)
        guesses = [pool.submit(authenticator.authenticate, f"wrong-{number}", ADDRESS) for number in range(20)]
        started = time.monotonic()
        authenticator.authenticate(key, ADDRESS)
        assert time.monotonic() - started < 1.0  # each guess by itself would take 0.1 s
        assert all(isinstance(guess.exception(), InvalidApiKey) for guess in guesses)


def test_failures_are_logged_with_their_number(log_lines: Sequence[Mapping[str, Any]]) -> None:
    limiter = FailureLimiter()
    for _ in range(BURST_FAILURES):
        limiter.record("203.0.113.7")
    assert {line["event"] for line in log_lines} == {"api_key.rejected"}
    assert len(log_lines) <= 4
    assert log_lines[0]["caller"] == "203.0.113.7"


def test_many_addresses_take_limited_memory() -> None:
    limiter = FailureLimiter()
    for number in range(10_050):
        limiter.record(f"10.{number // 65_536}.{number // 256 % 256}.{number % 256}")
    assert len(limiter._callers) == 10_000
