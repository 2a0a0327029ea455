"""Errors of the store, and the kinds of failures that are counted."""

from enum import StrEnum

from receiver.domain.errors import ReceiverError


class FailureKind(StrEnum):
    """Why Postgres could not do what was asked."""

    CONNECT_FAILED = "connect_failed"
    CONNECTION_LOST = "connection_lost"
    TIMED_OUT = "timed_out"
    COMMIT_TIMED_OUT = "commit_timed_out"
    READ_ONLY = "read_only"
    DISK_FULL = "disk_full"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    POOL_EXHAUSTED = "pool_exhausted"
    NOT_MIGRATED = "not_migrated"
    CONFLICT = "conflict"
    OTHER = "other"


class StoreError(ReceiverError):
    """An operation on Postgres failed."""


class StoreUnavailable(StoreError):
    """Postgres cannot be reached or cannot commit; it is unknown whether anything was stored. Try again later.

    `kind` is the cause as far as it is known.
    """

    def __init__(self, message: str, kind: FailureKind = FailureKind.OTHER) -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def is_repeatable(self) -> bool:
        """Whether the statement may succeed on another connection; the failed connection was open before."""
        return self.kind in {FailureKind.CONNECTION_LOST, FailureKind.TIMED_OUT, FailureKind.READ_ONLY}


class NotMigrated(StoreUnavailable):
    """The database lacks tables or columns of the current schema."""

    def __init__(self) -> None:
        message = "The database schema is not up to date. Run `receiver migrate`."
        super().__init__(message, FailureKind.NOT_MIGRATED)


class StoreConflict(StoreError):
    """Postgres aborted the transaction to end a deadlock or a serialization conflict; it may be run again."""

    kind = FailureKind.CONFLICT
    is_repeatable = False


class LockTimedOut(StoreError):
    """Another transaction held a lock for longer than the transaction may wait; nothing is stored."""


class Unstorable(StoreError):
    """A value cannot be stored in Postgres, such as a NUL in text or an integer beyond 64 bits."""
