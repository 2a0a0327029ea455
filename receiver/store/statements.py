"""The statements of `sql/`, and the parameters of a page.

A file `sql/AGGREGATE.sql` holds the statements of one aggregate. Each statement is a block: a line `-- name: find_job`,
a comment that describes the statement, and the statement itself. A block ends at the next name line or at the end of
the file. Names are unique over all files.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from receiver.domain.paging import Cursor, PageRequest

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


@cache
def find_migrations() -> Sequence[str]:
    """Return the names of all migrations of this release."""
    directory = files("receiver.store").joinpath("migrations")
    return sorted(file.name.removesuffix(".sql") for file in directory.iterdir() if file.name.endswith(".sql"))


def build_page_parameters(page: PageRequest[Cursor]) -> Mapping[str, Any]:
    """Return the parameters for one page. The statement reads one item more, which shows whether the list continues."""
    cursor = page.cursor
    return {"before": cursor and cursor.time, "before_id": cursor and cursor.id, "limit": page.limit + 1}
