"""A temporary database for a demonstration or a test, dropped at the end."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from uuid import uuid4

from psycopg import sql
from psycopg.conninfo import make_conninfo

from receiver.store.connections import connect, translate_errors


@contextmanager
def scratch_database(dsn: str, *, template: str | None = None) -> Iterator[str]:
    """Create a database and yield its DSN; drop the database at the end, even if connections to it are open.

    Args:
        dsn: any database of the server, with a role that may create databases.
        template: the database to copy; by default the server's own template.

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
