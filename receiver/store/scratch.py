"""A database of its own for a demonstration or a test, dropped at the end."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from uuid import uuid4

from psycopg import sql
from psycopg.conninfo import make_conninfo

from receiver.store.database import connect, translate_errors


@contextmanager
def scratch_database(dsn: str, *, template: str | None = None) -> Iterator[str]:
    """Create a database on the server of `dsn` and give its DSN; it is dropped at the end, whoever still uses it.

    Args:
        dsn: any database of the server, with the right to create databases.
        template: the database to copy; the server's own template unless given.

    Raises:
        StoreUnavailable: the server does not answer.
        psycopg.errors.InsufficientPrivilege: the role may not create databases.
    """
    name = f"receiver_scratch_{uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template or "template1")
    )
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    try:
        with translate_errors(), closing(connect(dsn)) as connection:
            connection.execute(create)
        yield make_conninfo(dsn, dbname=name)
    finally:
        with translate_errors(), closing(connect(dsn)) as connection:
            connection.execute(drop)
