"""What every query needs: its statement, its parameters as jsonb or as a page, and its rows as objects.

A file `sql/AGGREGATE.sql` holds the statements of one aggregate. Each statement is a block: a line `-- name: find_job`,
a comment that describes the statement, and the statement itself. A block ends at the next name line or at the end of
the file. Names are unique over all files.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import orjson
from psycopg import Cursor as DatabaseCursor
from psycopg.rows import RowMaker

from receiver.domain.paging import PageRequest
from receiver.store.database import Unstorable

T = TypeVar("T")

_NAME_LINE = re.compile(rb"^-- name: (\w+)\n", re.MULTILINE)


@cache
def load_statement(name: str) -> bytes:
    """Return the text of the statement `name`, without its name line.

    Raises:
        LookupError: there is no statement of this name.
    """
    statement = load_statements().get(name)
    if statement is None:
        raise LookupError(f"receiver/store/sql has no statement {name!r}")
    return statement


@cache
def load_statements() -> Mapping[str, bytes]:
    """Return the texts of all statements by name. Each file is read once."""
    directory = files("receiver.store").joinpath("sql")
    return parse_statements(file.read_bytes() for file in directory.iterdir() if file.name.endswith(".sql"))


def parse_statements(texts: Iterable[bytes]) -> Mapping[str, bytes]:
    """Parse the texts of files into statements by name.

    Raises:
        ValueError: two statements have the same name, or a file does not begin with a name line.
    """
    statements: dict[str, bytes] = {}
    for text in texts:
        head, *blocks = _NAME_LINE.split(text)
        if head:
            raise ValueError(f"text before the first name line: {head!r}")
        for name, statement in zip(map(bytes.decode, blocks[::2]), blocks[1::2], strict=True):
            if name in statements:
                raise ValueError(f"two statements have the name {name!r}")
            statements[name] = statement.rstrip() + b"\n"
    return statements


def as_jsonb(value: object) -> str:
    """Return `value` as JSON text, with dataclasses as objects and bytes in base64.

    Raises:
        Unstorable: the value contains a lone surrogate or an integer beyond 64 bits, or is nested too deeply.
    """
    try:
        return orjson.dumps(value, default=_encode_bytes).decode()
    except orjson.JSONEncodeError as error:
        raise Unstorable(str(error)) from error


def build_page_parameters(page: PageRequest) -> Mapping[str, Any]:
    """Return the parameters for one page. The statement reads one item more, which shows whether the list continues."""
    cursor = page.cursor
    return {"before": cursor and cursor.time, "before_id": cursor and cursor.id, "limit": page.limit + 1}


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
