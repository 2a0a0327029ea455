"""Where a list goes on: after the item that was shown last, known by its time and id."""

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
    """A place in a list that is ordered by time (UTC) and id, both descending."""

    time: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{max((self.time - _EPOCH) // _MICROSECOND, 0):0{_TIME_DIGITS}x}{self.id.hex}"

    @classmethod
    def of(cls, text: str) -> "Cursor":
        """Read the text of a cursor; everything that matches `CURSOR_PATTERN` is one."""
        return cls(_EPOCH + int(text[:_TIME_DIGITS], 16) * _MICROSECOND, UUID(text[_TIME_DIGITS:]))


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list, and where the list goes on; None at its end."""

    items: Sequence[T]
    next_cursor: Cursor | None = None

    @classmethod
    def of(cls, found: Sequence[T], limit: int, place: Callable[[T], Cursor]) -> "Page[T]":
        """Give the page of up to `limit` items of what was found; `place` tells where an item stands."""
        shown = found[:limit]
        return cls(shown, place(shown[-1]) if len(found) > limit else None)
