"""Named statements: `sql/NAME.sql` holds exactly one, with a comment that says what it takes and gives."""

from functools import cache
from importlib.resources import files


@cache
def load_statement(name: str) -> bytes:
    """Give the text of the statement `name`, read once."""
    return files("receiver.store").joinpath("sql", f"{name}.sql").read_bytes()
