"""The proxy forwards, falls silent, stands still and cuts connections, as tests of failures need it."""

import select
import socket
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg.rows import TupleRow

from receiver.store.database import Connection
from tests.support.proxy import Proxy

SILENCE_S = 0.1
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
INSERT = "INSERT INTO providers (name) VALUES ('acme')"
COUNT = "SELECT count(*) FROM providers"


@pytest.fixture
def proxy(dsn: str) -> Iterator[Proxy]:
    with Proxy(dsn) as proxy:
        yield proxy


@pytest.fixture
def proxied_connection(proxy: Proxy) -> Iterator[psycopg.Connection[TupleRow]]:
    with closing(psycopg.connect(proxy.dsn, autocommit=True)) as connection:
        yield connection


def receives_data(connection: psycopg.Connection[TupleRow] | socket.socket, timeout_s: float) -> bool:
    """Return whether data, or the end of the connection, arrives within a time."""
    return bool(select.select([connection.fileno()], [], [], timeout_s)[0])


def test_proxy_forwards_in_both_directions(proxied_connection: psycopg.Connection[TupleRow]) -> None:
    text = "x" * 1_000_000
    assert proxied_connection.execute("SELECT %s", [text]).fetchone() == (text,)


def test_silent_connection_stays_open_and_new_one_passes(
    proxy: Proxy, proxied_connection: psycopg.Connection[TupleRow]
) -> None:
    assert proxy.silence() == 1
    proxied_connection.pgconn.send_query(b"SELECT 1")
    assert not receives_data(proxied_connection, SILENCE_S)
    with closing(psycopg.connect(proxy.dsn)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_stalled_connection_goes_on_after_go(proxy: Proxy, proxied_connection: psycopg.Connection[TupleRow]) -> None:
    proxy.stall()
    proxied_connection.pgconn.send_query(b"SELECT 1")
    address = (proxied_connection.info.hostaddr, proxied_connection.info.port)
    with closing(socket.create_connection(address)) as new_connection:
        new_connection.sendall(SSL_REQUEST)
        assert not receives_data(proxied_connection, SILENCE_S)
        assert not receives_data(new_connection, SILENCE_S)
        proxy.go()
        assert receives_data(proxied_connection, 5.0)
        assert receives_data(new_connection, 5.0)


def test_cut_closes_open_connections(proxy: Proxy, proxied_connection: psycopg.Connection[TupleRow]) -> None:
    assert proxy.cut() == 1
    with pytest.raises(psycopg.OperationalError):
        proxied_connection.execute("SELECT 1")
    with closing(psycopg.connect(proxy.dsn)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("marker", [INSERT.encode(), b"COMMIT"])
def test_cut_after_marker_loses_only_the_reply(
    proxy: Proxy, proxied_connection: psycopg.Connection[TupleRow], connection: Connection, marker: bytes
) -> None:
    happened = proxy.cut_after(marker)
    proxied_connection.execute(COUNT)
    assert not happened.is_set()
    with pytest.raises(psycopg.OperationalError), proxied_connection.transaction():
        proxied_connection.execute(INSERT)
    assert happened.is_set()
    assert connection.execute(COUNT).fetchone() == (int(marker == b"COMMIT"),)
    with closing(psycopg.connect(proxy.dsn)) as later, later.transaction():
        later.execute("DELETE FROM providers")
