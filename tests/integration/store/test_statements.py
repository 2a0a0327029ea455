"""Every named statement is valid on the current schema and used by the code, and the code uses no other names."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import as_file, files

from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus

from receiver.store.connections import Connection
from receiver.store.statements import load_statements

TYPED_PARAMS = {"count": 1, "per_minute": 60}
"""Parameters whose types Postgres cannot infer from the statement; psycopg sends the types of their values."""


def test_every_statement_can_be_prepared(connection: Connection) -> None:
    errors = {}
    for name, statement in load_statements().items():
        query = PostgresQuery(Transformer(connection))
        query.convert(statement, defaultdict(lambda: None, TYPED_PARAMS))
        result = connection.pgconn.prepare(name.encode(), query.query, query.types)
        if result.status != ExecStatus.COMMAND_OK:
            errors[name] = result.error_message.decode()
    assert errors == {}


def test_code_uses_every_statement_and_no_others() -> None:
    used_names: set[str] = set()
    with as_file(files("receiver")) as directory:
        for path in directory.rglob("*.py"):
            source = path.read_text()
            if "load_statement" in source:
                used_names.update(list_statement_names(ast.parse(source)))
    assert used_names == set(load_statements())


def list_statement_names(module: ast.Module) -> Iterator[str]:
    """Yield the names that a module passes to `load_statement`, directly or through a variable named `statement`."""
    positions = {"load_statement": 0}
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            parameters = [parameter.arg for parameter in node.args.args]
            if "statement" in parameters:
                positions[node.name] = parameters.index("statement")
    for node in ast.walk(module):
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["statement"]:
            yield from list_strings(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in positions:
            argument = node.args[positions[node.func.id]]
            names = list_strings(argument)
            assert names or ast.unparse(argument) == "statement", ast.unparse(node)
            yield from names


def list_strings(expression: ast.expr) -> list[str]:
    """Return all string constants in an expression."""
    return [
        node.value for node in ast.walk(expression) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
