"""Connections to Postgres with time limits, transactions, the driver's errors as `StoreError`s, parameters and rows.

No statement waits for the server longer than its connection's time limit. A limit on our side is needed, because
Postgres's own `statement_timeout` and TCP keepalives do not help where a proxy, a pooler or a frozen server leaves the
connection open. Nothing depends on the state of a session, so that everything works through a pooler that assigns a
server connection to each transaction: no parameters at startup, no session-level locks, and prepared statements only
where no pooler is in between.
"""

import os
import re
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

import orjson
import psycopg
from psycopg import Cursor as DatabaseCursor
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import RowMaker, TupleRow
from psycopg.types.json import set_json_loads

from receiver.store.errors import FailureKind, LockTimedOut, NotMigrated, StoreConflict, StoreUnavailable, Unstorable
from receiver.store.statements import load_statement

T = TypeVar("T")

set_json_loads(orjson.loads)  # three times as fast as Python's own parser

# A process that hangs within a transaction would keep its locks, as would one whose connection fell silent.
_BEGIN = b"BEGIN; SET LOCAL idle_in_transaction_session_timeout = 5000"

_CANCEL_LIMIT_S = 1.0


class StatementTimedOut(psycopg.OperationalError):
    """The server did not respond within the time limit of the connection, which was closed."""


_CONNECTION_PARAMETERS: dict[str, Any] = {
    "connect_timeout": 3,
    "application_name": "callback-receiver",
    "client_encoding": "UTF8",
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
_NOT_MIGRATED = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction)
_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,  # this process hung within a transaction
    psycopg.errors.InsufficientPrivilege,
)
_KINDS = (
    (psycopg.errors.ReadOnlySqlTransaction, FailureKind.READ_ONLY),
    (psycopg.errors.DiskFull, FailureKind.DISK_FULL),
    (StatementTimedOut, FailureKind.TIMED_OUT),
    (psycopg.errors.QueryCanceled, FailureKind.OTHER),
    (psycopg.errors.InsufficientResources, FailureKind.OTHER),
    (psycopg.errors.InsufficientPrivilege, FailureKind.OTHER),
    (psycopg.errors.LockNotAvailable, FailureKind.OTHER),
)

# An error at startup has no SQLSTATE. In this order: max_connections, its reserve, a role's or database's own limit,
# and PgBouncer.
_TOO_MANY = re.compile(
    "too many clients already|connection slots are reserved|too many connections|no more connections allowed"
)

# libpq sends these at startup as parameters that poolers accept, unlike `options`.
os.environ["PGTZ"] = "UTC"
os.environ["PGDATESTYLE"] = "ISO"  # the only one that the driver reads


class Connection(psycopg.Connection[TupleRow]):
    """A connection on which no statement takes longer than `limit_s` seconds; None means no limit.

    When the limit is reached the statement is cancelled, if the server answers within a second, and the connection is
    closed: nobody knows what it would return next.
    """

    limit_s: float | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened_at = time.monotonic()

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        limit = self.limit_s if timeout is None else timeout
        started_at = time.monotonic()
        try:
            return super().wait(gen, interval, limit)
        except psycopg.OperationalError:
            if limit is None or time.monotonic() - started_at < limit:  # the class of the driver's error is private
                raise
            # Otherwise the server would go on: a statement that waits for a lock or for a standby occupies one of the
            # server's connections until it gets it, however many follow. A cancelled commit may be done, but not be on
            # the standby: see `ensure_durability`.
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=_CANCEL_LIMIT_S)
            self.close()
            raise StatementTimedOut(f"no response from Postgres within {limit:g} s") from None

    def abort(self) -> None:
        """Shut the socket down: a statement that waits for the server fails at once."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise the driver's errors as `StoreError`s; programming errors pass unchanged."""
    try:
        yield
    except _RETRYABLE as error:
        raise StoreConflict(_get_first_line(error)) from error
    except _UNSTORABLE as error:
        raise Unstorable(_get_first_line(error)) from error
    except _NOT_MIGRATED as error:
        raise NotMigrated from error
    except _UNAVAILABLE as error:
        raise StoreUnavailable(_get_first_line(error), _find_kind(error)) from error


def connect(
    dsn: str, *, limit_s: float | None = None, prepare: str = "auto", application: str | None = None
) -> Connection:
    """Open a connection in autocommit mode.

    Args:
        dsn: a libpq URL or connection string; its parameters take precedence over ours.
        limit_s: the time limit of each statement in seconds; None for no limit.
        application: the application name, whatever the DSN has.
        prepare: whether each statement is prepared at its first use: `on`, `off`, or `auto`, which means where no
            pooler is in between. A pooler may run each transaction on another server connection, which knows other
            prepared statements or none.

    Raises:
        StoreUnavailable: Postgres does not answer or refuses the connection.
    """
    try:
        parameters = {**_CONNECTION_PARAMETERS, **conninfo_to_dict(dsn)}
        if application is not None:
            parameters["application_name"] = application
        connection = Connection.connect(make_conninfo("", **parameters), autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        kind = FailureKind.TOO_MANY_CONNECTIONS if _TOO_MANY.search(str(error)) else FailureKind.CONNECT_FAILED
        raise StoreUnavailable(_get_first_line(error), kind) from error
    connection.limit_s = limit_s
    try:
        with translate_errors():
            if connection.pgconn.parameter_status(b"TimeZone") != b"UTC":  # the pooler ignored what libpq sent
                connection.execute("SET TIME ZONE 'UTC'")
            if prepare == "on" or (prepare == "auto" and _is_direct(connection)):
                connection.prepare_threshold = 0
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Run the context in a transaction: the one that is open, or else a new one.

    An error must leave the context in which the transaction began, which rolls back. There are no savepoints, because
    rows that are inserted within one have the id of a transaction that no snapshot lists, see `receiver.store.tail`.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        yield
        return
    begin(connection)
    with finish_transaction(connection):
        yield


def begin(connection: Connection) -> None:
    """Begin a transaction, which Postgres ends if this process sends nothing for 5 seconds."""
    connection.execute(_BEGIN, prepare=False)


@contextmanager
def timed_transaction(connection: Connection, *, lock_limit_s: float | None = None) -> Iterator[datetime]:
    """Run the context in a new transaction, and yield the time of the transaction, which `now()` returns in it.

    Raises:
        LockTimedOut: a statement waited for a lock for more than `lock_limit_s` seconds; None means no limit.
    """
    lock_limit = b"" if lock_limit_s is None else b"; SET LOCAL lock_timeout = %d" % (lock_limit_s * 1_000)
    cursor = connection.execute(_BEGIN + lock_limit + b"; SELECT now()", prepare=False)
    while cursor.nextset():  # the results of the other statements
        pass
    row = cursor.fetchone()
    if row is None:
        raise AssertionError("SELECT returns a row")
    with finish_transaction(connection):
        try:
            yield row[0]
        except psycopg.errors.LockNotAvailable as error:
            if lock_limit_s is None:
                raise
            raise LockTimedOut(_get_first_line(error)) from error


@contextmanager
def finish_transaction(connection: Connection) -> Iterator[None]:
    """Commit the transaction that is open at the end of the context; roll it back if the context raises an error."""
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error):
            connection.rollback()
        raise
    connection.commit()


def ensure_durability(connection: Connection) -> None:
    """Commit something, so that all commits before are on disk and on the synchronous standbys.

    A commit whose reply was lost may be visible before it is durable. Whoever finds its rows and stores nothing itself
    must not report them as stored before this.
    """
    connection.execute(load_statement("commit_nothing"))


def prefer_host(dsn: str, host: str, port: int) -> str:
    """Return a DSN of several hosts with the given one first; a DSN of one host or with `hostaddr` stays as it is."""
    params = conninfo_to_dict(dsn)
    hosts = str(params.get("host", "")).split(",")
    ports = str(params.get("port", "")).split(",")
    if len(hosts) < 2 or "hostaddr" in params or "load_balance_hosts" in params:
        return dsn
    addresses = list(zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True))
    addresses.sort(key=lambda address: address not in {(host, str(port)), (host, "")})
    return make_conninfo(
        dsn, host=",".join(name for name, _ in addresses), port=",".join(number for _, number in addresses)
    )


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


def _is_direct(connection: Connection) -> bool:
    """Return whether the server at the other end is the one that runs the statements, and no pooler is in between.

    A pooler makes up the process id and the key for cancel requests that it sends to its clients.
    """
    return connection.execute("SELECT pg_backend_pid()").fetchone() == (connection.info.backend_pid,)


def _find_kind(error: Exception) -> FailureKind:
    return next(
        (kind for kind_of_error, kind in _KINDS if isinstance(error, kind_of_error)), FailureKind.CONNECTION_LOST
    )


def _get_first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
