"""Keyset pagination: a cursor names the last item of a page by its time and id."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID

T = TypeVar("T")

CURSOR_PATTERN = "[0-9a-f]{45}"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME_DIGITS = 13


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a list that is sorted by time (UTC) and id, both descending."""

    time: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{max((self.time - _EPOCH) // _MICROSECOND, 0):0{_TIME_DIGITS}x}{self.id.hex}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Parse a cursor's text; every text that matches `CURSOR_PATTERN` is valid."""
        return cls(_EPOCH + int(text[:_TIME_DIGITS], 16) * _MICROSECOND, UUID(text[_TIME_DIGITS:]))


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a list to read: the first, or the one after a cursor, with at most `limit` items."""

    cursor: Cursor | None = None
    limit: int = 50


FIRST_PAGE = PageRequest()


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and the cursor of the next page; None for the last page."""

    items: Sequence[T]
    next_cursor: Cursor | None = None

    @classmethod
    def from_rows(cls, rows: Sequence[T], limit: int, get_cursor: Callable[[T], Cursor]) -> "Page[T]":
        """Build a page from rows.

        Args:
            rows: up to `limit + 1` rows; the extra row says that there is a next page.
            limit: the size of a page.
            get_cursor: returns the cursor of an item.
        """
        items = rows[:limit]
        return cls(items, get_cursor(items[-1]) if len(rows) > limit else None)
