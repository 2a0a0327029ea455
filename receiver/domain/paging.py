"""Keyset pagination: a cursor names the last item of a page by the values that the list is sorted by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Generic, TypeVar
from uuid import UUID

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME_DIGITS = 13
_POSITION_DIGITS = 8
_ID_DIGITS = 32
_POSITION_PATTERN = "[0-7][0-9a-f]{7}"


class BaseCursor:
    """A position in a list; its text contains only hexadecimal digits."""

    __slots__ = ()

    PATTERN: ClassVar[str]
    """The texts that `parse` takes."""

    @classmethod
    def parse(cls, text: str) -> "BaseCursor":
        """Parse a cursor's text; every text that matches `PATTERN` is valid."""
        raise NotImplementedError


CursorT = TypeVar("CursorT", bound=BaseCursor)


@dataclass(frozen=True, slots=True)
class Cursor(BaseCursor):
    """A position in a list that is sorted by time (UTC) and id, both descending."""

    PATTERN: ClassVar[str] = "[0-9a-f]{45}"

    time: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{format_time(self.time)}{self.id.hex}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        return cls(parse_time(text[:_TIME_DIGITS]), UUID(text[_TIME_DIGITS:]))


@dataclass(frozen=True, slots=True)
class ReceiptCursor(BaseCursor):
    """A position among the events of a job, sorted by receive time (UTC), position and key, all descending."""

    PATTERN: ClassVar[str] = f"[0-9a-f]{{13}}{_POSITION_PATTERN}[0-9a-f]{{32}}"

    received_at: datetime
    position: int
    key: UUID

    def __str__(self) -> str:
        return f"{format_time(self.received_at)}{self.position:0{_POSITION_DIGITS}x}{self.key.hex}"

    @classmethod
    def parse(cls, text: str) -> "ReceiptCursor":
        time, position, key = text[:_TIME_DIGITS], text[_TIME_DIGITS:-_ID_DIGITS], text[-_ID_DIGITS:]
        return cls(parse_time(time), int(position, 16), UUID(key))


@dataclass(frozen=True, slots=True)
class PositionCursor(BaseCursor):
    """A position among the events of a callback, sorted by position in the body, job and key, all ascending."""

    PATTERN: ClassVar[str] = f"{_POSITION_PATTERN}[0-9a-f]{{64}}"

    position: int
    job_id: UUID
    key: UUID

    def __str__(self) -> str:
        return f"{self.position:0{_POSITION_DIGITS}x}{self.job_id.hex}{self.key.hex}"

    @classmethod
    def parse(cls, text: str) -> "PositionCursor":
        position, job_id, key = text[:_POSITION_DIGITS], text[_POSITION_DIGITS:-_ID_DIGITS], text[-_ID_DIGITS:]
        return cls(int(position, 16), UUID(job_id), UUID(key))


@dataclass(frozen=True, slots=True)
class NameCursor(BaseCursor):
    """A position in a list of providers, sorted by name."""

    PATTERN: ClassVar[str] = "([2-7][0-9a-f]){1,127}"

    name: str

    def __str__(self) -> str:
        return self.name.encode("ascii").hex()

    @classmethod
    def parse(cls, text: str) -> "NameCursor":
        return cls(bytes.fromhex(text).decode("ascii"))


@dataclass(frozen=True, slots=True)
class PageRequest(Generic[CursorT]):
    """Which page of a list to read: the first, or the one after a cursor, with at most `limit` items."""

    cursor: CursorT | None = None
    limit: int = 50


FIRST_PAGE: PageRequest[Cursor] = PageRequest()


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and the cursor of the next page; None for the last page."""

    items: Sequence[T]
    next_cursor: BaseCursor | None = None

    @classmethod
    def from_rows(cls, rows: Sequence[T], limit: int, get_cursor: Callable[[T], BaseCursor]) -> "Page[T]":
        """Build a page from rows.

        Args:
            rows: up to `limit + 1` rows; the extra row says that there is a next page.
            limit: the size of a page.
            get_cursor: returns the cursor of an item.
        """
        items = rows[:limit]
        return cls(items, get_cursor(items[-1]) if len(rows) > limit else None)


def format_time(time: datetime) -> str:
    """Return the hexadecimal microseconds since 1970 of a time; one before that becomes 0."""
    return f"{max((time - _EPOCH) // _MICROSECOND, 0):0{_TIME_DIGITS}x}"


def parse_time(text: str) -> datetime:
    """Return the time (UTC) of a text that `format_time` returned."""
    return _EPOCH + int(text, 16) * _MICROSECOND
