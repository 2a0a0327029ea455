"""Conversion of rows to frozen dataclasses."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from psycopg import Cursor
from psycopg.rows import RowMaker

T = TypeVar("T")


def row_factory(kind: Callable[..., T], **converters: Callable[[Any], Any]) -> Callable[[Cursor[Any]], RowMaker[T]]:
    """Return a row factory that calls `kind` with the columns as keywords.

    Args:
        kind: a dataclass, or any other callable.
        converters: functions by column name, applied to values that are not null.
    """

    def build_row_maker(cursor: Cursor[Any]) -> RowMaker[T]:
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
