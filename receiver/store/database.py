"""Connections to Postgres and the one place where the driver's errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from receiver.domain.errors import ReceiverError

Connection = psycopg.Connection[TupleRow]

_CONNECTING: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": 0,
    "connect_timeout": 5,
    "application_name": "callback-receiver",
    # A server that vanished is noticed within seconds, not after the kernel's many minutes.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}
_RETRYABLE = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
_UNSTORABLE = (
    psycopg.DataError,
    psycopg.errors.ProgramLimitExceeded,  # an operational error to the driver, but it is the value that is too large
)
_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,  # we were stopped within a transaction: see `lock_limits`
    PoolTimeout,
    TooManyRequests,
)


def _connecting(dsn: str) -> dict[str, Any]:
    """Give what every connection is made with; the `options` of the DSN stay."""
    options = conninfo_to_dict(dsn).get("options") or ""
    return {**_CONNECTING, "options": f"{options} -c timezone=UTC".strip()}


class StoreError(ReceiverError):
    """Something went wrong between us and Postgres."""


class StoreUnavailable(StoreError):
    """Postgres cannot be reached or cannot commit now; nothing is known to be stored. Try again later."""


class StoreConflict(StoreError):
    """Postgres broke a deadlock or a serialization conflict at our cost; the same transaction may be run again."""


class Unstorable(StoreError):
    """A value cannot be stored in Postgres, such as a NUL in text or an integer beyond 64 bits."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn the driver's errors into `StoreError`s; programming errors pass through as they are."""
    try:
        yield
    except _RETRYABLE as error:
        raise StoreConflict(_first_line(error)) from error
    except _UNSTORABLE as error:
        raise Unstorable(_first_line(error)) from error
    except _UNAVAILABLE as error:
        raise StoreUnavailable(_first_line(error)) from error


def connect(dsn: str) -> Connection:
    """Open a connection in autocommit whose statements are prepared at first use.

    Raises:
        StoreUnavailable: Postgres does not answer or refuses us.
    """
    with translate_errors():
        return psycopg.connect(dsn, **_connecting(dsn))


class Database:
    """A pool of connections, to be made after a fork and closed before exit."""

    def __init__(self, dsn: str, *, size: int = 10) -> None:
        self.dsn = dsn
        self._pool = ConnectionPool(
            dsn,
            min_size=0,
            max_size=size,
            max_waiting=10 * size,
            timeout=5.0,
            reconnect_timeout=5.0,  # by default it would pause for minutes, and so still when Postgres is back
            kwargs=_connecting(dsn),
            check=ConnectionPool.check_connection,
            open=False,
        )
        self._pool.open()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection in autocommit.

        Raises:
            StoreUnavailable: none can be had, or it was lost while in use.
            StoreConflict, Unstorable: as Postgres says.
        """
        with translate_errors(), self._pool.connection() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Lend a connection inside one transaction, committed at the end; raises as `connection` does."""
        with self.connection() as connection, connection.transaction():
            yield connection

    def close(self) -> None:
        """Close every connection; those in use are closed when they come back."""
        self._pool.close()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
