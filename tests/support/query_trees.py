"""Statements as Postgres understands them: with every function resolved, also those behind operators and casts.

Postgres stores the analysed statements of a function with an SQL-standard body; see pg_proc.prosqlbody. A node is a
dict of its fields, with its type under `TYPE`; every field is a list.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus

from receiver.store.connections import Connection

TYPE = ""
COMMANDS = {"1": "SELECT", "2": "UPDATE", "3": "INSERT", "4": "DELETE"}
TYPED_PARAMS = {"count": 1, "per_minute": 60}
"""Parameters whose types Postgres cannot infer from the statement; psycopg sends the types of their values."""

_TOKEN = re.compile(r'[{}()]|"(?:\\.|[^"\\])*"|(?:\\.|[^\s{}()\\])+')


def prepare(connection: Connection, name: str, statement: bytes) -> str:
    """Prepare a named statement; return the error, or nothing."""
    query = _convert(connection, statement)
    result = connection.pgconn.prepare(name.encode(), query.query, query.types)
    return "" if result.status == ExecStatus.COMMAND_OK else result.error_message.decode()


def load_tree(connection: Connection, name: str, statement: bytes) -> Any:
    """Return the tree of a statement that `prepare` has prepared under this name."""
    select_types = "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = %s"
    ((types,),) = connection.execute(select_types, [name]).fetchall()
    text = _convert(connection, statement).query.decode()
    function_name = f"{name}_statement"  # a migration may create a function with the name of the statement
    function = (
        f'CREATE FUNCTION "{function_name}"({", ".join(types)}) RETURNS void LANGUAGE sql BEGIN ATOMIC {text};\nEND'
    )
    connection.execute(function.encode(), prepare=False)
    select_body = "SELECT prosqlbody::text FROM pg_proc WHERE proname = %s"
    ((body,),) = connection.execute(select_body, [function_name]).fetchall()
    return parse_tree(body)


def parse_tree(text: str) -> Any:
    """Parse a value of the type pg_node_tree."""
    return _parse(iter(_TOKEN.findall(text)))


def iterate_queries(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every query in a tree, from the outermost on."""
    for node in _iterate(tree):
        if node[TYPE] == "QUERY":
            yield node


def iterate_expressions(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of expressions, except for those in subqueries."""
    return _iterate(tree, stop_at="QUERY")


def _convert(connection: Connection, statement: bytes) -> PostgresQuery:
    query = PostgresQuery(Transformer(connection))
    query.convert(statement, defaultdict(lambda: None, TYPED_PARAMS))
    return query


def _parse(tokens: Iterator[str]) -> Any:
    token = next(tokens)
    return _parse_token(token, tokens)


def _parse_token(token: str, tokens: Iterator[str]) -> Any:
    if token == "(":
        return [_parse_token(item, tokens) for item in iter(lambda: next(tokens), ")")]
    if token != "{":
        return token
    node: dict[str, Any] = {TYPE: next(tokens)}
    for item in iter(lambda: next(tokens), "}"):
        if item.startswith(":"):
            values = node[item[1:]] = []
        else:
            values.append(_parse_token(item, tokens))
    return node


def _iterate(tree: Any, *, stop_at: str | None = None) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        if tree[TYPE] == stop_at:
            return
        yield tree
        tree = [value for field, value in tree.items() if field != TYPE]
    if isinstance(tree, list):
        for value in tree:
            yield from _iterate(value, stop_at=stop_at)
