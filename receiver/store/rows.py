"""Rows become frozen dataclasses at the store's edge."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from psycopg import Cursor
from psycopg.rows import RowMaker

T = TypeVar("T")


def row_factory(kind: Callable[..., T], **converters: Callable[[Any], Any]) -> Callable[[Cursor[Any]], RowMaker[T]]:
    """Give a row factory that makes `kind` by column names; `converters` turn columns that are not null."""

    def factory(cursor: Cursor[Any]) -> RowMaker[T]:
        names = [column.name for column in cursor.description or ()]
        convert = [(index, converters[name]) for index, name in enumerate(names) if name in converters]

        def make(values: Sequence[Any]) -> T:
            given = list(values)
            for index, converter in convert:
                if given[index] is not None:
                    given[index] = converter(given[index])
            return kind(**dict(zip(names, given, strict=True)))

        return make

    return factory
