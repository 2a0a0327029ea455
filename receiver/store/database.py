"""Connections to Postgres: parameters as jsonb, rows as objects, and the driver's errors as `StoreError`s."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import orjson
import psycopg
from psycopg import Cursor as DatabaseCursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import RowMaker, TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from receiver.domain.errors import ReceiverError

Connection = psycopg.Connection[TupleRow]
T = TypeVar("T")

_CONNECTION_PARAMETERS: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": 0,
    "connect_timeout": 5,
    "application_name": "callback-receiver",
    # Notice a lost server within seconds, not after the many minutes of the kernel's defaults.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}
_RETRYABLE = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
_UNSTORABLE = (
    psycopg.DataError,
    psycopg.errors.ProgramLimitExceeded,  # an OperationalError in the driver, although the value is what is too large
)
_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,  # this process hung within a transaction: see `lock_limits`
    PoolTimeout,
    TooManyRequests,
)


def _build_connection_parameters(dsn: str) -> dict[str, Any]:
    """Return the parameters of every connection; the `options` of the DSN are kept."""
    options = conninfo_to_dict(dsn).get("options") or ""
    return {**_CONNECTION_PARAMETERS, "options": f"{options} -c timezone=UTC".strip()}


class StoreError(ReceiverError):
    """An operation on Postgres failed."""


class StoreUnavailable(StoreError):
    """Postgres cannot be reached or cannot commit; it is unknown whether anything was stored. Try again later."""


class StoreConflict(StoreError):
    """Postgres aborted the transaction to end a deadlock or a serialization conflict; it may be run again."""


class Unstorable(StoreError):
    """A value cannot be stored in Postgres, such as a NUL in text or an integer beyond 64 bits."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise the driver's errors as `StoreError`s; programming errors pass unchanged."""
    try:
        yield
    except _RETRYABLE as error:
        raise StoreConflict(_get_first_line(error)) from error
    except _UNSTORABLE as error:
        raise Unstorable(_get_first_line(error)) from error
    except _UNAVAILABLE as error:
        raise StoreUnavailable(_get_first_line(error)) from error


def connect(dsn: str) -> Connection:
    """Open a connection in autocommit mode that prepares each statement at its first use.

    Raises:
        StoreUnavailable: Postgres does not answer or refuses the connection.
    """
    with translate_errors():
        return psycopg.connect(dsn, **_build_connection_parameters(dsn))


class Database:
    """A pool of connections; create it after a fork and close it before exit."""

    def __init__(self, dsn: str, *, size: int = 10) -> None:
        self.dsn = dsn
        self._pool = ConnectionPool(
            dsn,
            min_size=0,
            max_size=size,
            max_waiting=10 * size,
            timeout=5.0,
            reconnect_timeout=5.0,  # the default of minutes would go on after Postgres is back
            kwargs=_build_connection_parameters(dsn),
            check=ConnectionPool.check_connection,
            open=False,
        )
        self._pool.open()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield a connection in autocommit mode.

        Raises:
            StoreUnavailable: no connection is available, or it was lost while in use.
            StoreConflict: Postgres aborted a statement to end a conflict.
            Unstorable: Postgres cannot store a value.
        """
        with translate_errors(), self._pool.connection() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection within a transaction, which is committed at the end; raises what `connection` raises."""
        with self.connection() as connection, connection.transaction():
            yield connection

    def close(self) -> None:
        """Close all connections; a connection in use is closed when it is returned."""
        self._pool.close()


def as_jsonb(value: object) -> str:
    """Return `value` as JSON text, with dataclasses as objects and bytes in base64.

    Raises:
        Unstorable: the value contains a lone surrogate or an integer beyond 64 bits, or is nested too deeply.
    """
    try:
        return orjson.dumps(value, default=_encode_bytes).decode()
    except orjson.JSONEncodeError as error:
        raise Unstorable(str(error)) from error


def row_factory(
    kind: Callable[..., T], **converters: Callable[[Any], Any]
) -> Callable[[DatabaseCursor[Any]], RowMaker[T]]:
    """Return a row factory that calls `kind` with the columns as keywords.

    Args:
        kind: a dataclass, or any other callable.
        converters: functions by column name, applied to values that are not null.
    """

    def build_row_maker(cursor: DatabaseCursor[Any]) -> RowMaker[T]:
        names = [column.name for column in cursor.description or ()]
        indexed_converters = [(index, converters[name]) for index, name in enumerate(names) if name in converters]

        def build_row(values: Sequence[Any]) -> T:
            converted = list(values)
            for index, convert in indexed_converters:
                if converted[index] is not None:
                    converted[index] = convert(converted[index])
            return kind(**dict(zip(names, converted, strict=True)))

        return build_row

    return build_row_maker


def _encode_bytes(value: object) -> str:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    raise TypeError(f"not storable as JSON: {type(value).__name__}")


def _get_first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
