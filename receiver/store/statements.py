"""Named statements: `sql/NAME.sql` holds exactly one statement, with a comment that describes it."""

from functools import cache
from importlib.resources import files


@cache
def load_statement(name: str) -> bytes:
    """Return the text of the statement `name`. Each file is read once."""
    return files("receiver.store").joinpath("sql", f"{name}.sql").read_bytes()
