"""A temporary database for a demonstration or a test, dropped at the end."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from uuid import uuid4

from psycopg import sql
from psycopg.conninfo import make_conninfo

from receiver.store.connections import Connection, connect, translate_errors


@contextmanager
def scratch_database(dsn: str, *, template: str | None = None, connection: Connection | None = None) -> Iterator[str]:
    """Create a database and yield its DSN; drop the database at the end, even if connections to it are open.

    Args:
        dsn: any database of the server, with a role that may create databases.
        template: the database to copy; by default the server's own template.
        connection: a connection to the server that creates and drops the database; by default a new one for each.

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
        with translate_errors(), _use_connection(dsn, connection) as creator:
            creator.execute(create)
        yield make_conninfo(dsn, dbname=name)
    finally:
        with translate_errors(), _use_connection(dsn, connection) as remover:
            remover.execute(drop)


def _use_connection(dsn: str, connection: Connection | None) -> AbstractContextManager[Connection]:
    return nullcontext(connection) if connection else closing(connect(dsn))
