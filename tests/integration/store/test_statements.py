"""Every named statement is valid on the current schema and used by the code, and the code uses no other names."""

import ast
from collections.abc import Iterator
from importlib.resources import as_file, files

from receiver.store.connections import Connection
from receiver.store.statements import load_statements
from tests.support.citus import Catalog, find_refused_forms
from tests.support.query_trees import load_tree, prepare

UTILITY_STATEMENTS = {"lock_tables_of_callbacks"}
"""Statements that are not planned, and that have no tree."""


REFUSED_FORMS = [
    (b"UPDATE jobs SET poll_at = deadline_at - interval '1 s'", "SET: timestamptz_mi_interval of a column"),
    (b"UPDATE jobs SET location = concat_ws(';', location, 'x')", "SET: concat_ws of a column"),
    (b"UPDATE jobs SET poll_at = CASE WHEN disputed THEN now() END", "SET, CASE: now"),
    (b"UPDATE jobs SET poll_at = coalesce(poll_at, CURRENT_TIMESTAMP)", "SET, coalesce: current_timestamp"),
    (b"DELETE FROM jobs WHERE polls > random()", "WHERE: volatile random"),
    (b"DELETE FROM jobs WHERE location::timestamptz < now()", "WHERE: a time from text of a column"),
    (b"WITH a AS (UPDATE jobs SET polls = 0 RETURNING now()) SELECT FROM a", "RETURNING: now"),
    (
        b"INSERT INTO providers (name) VALUES ('a') ON CONFLICT (name) DO UPDATE SET paused_at = now()",
        "ON CONFLICT: now",
    ),
    (b"SELECT FROM pg_views FOR UPDATE", "row lock on a view"),
]


def test_every_statement_can_be_prepared(connection: Connection) -> None:
    errors = {name: prepare(connection, name, statement) for name, statement in load_statements().items()}
    assert {name: error for name, error in errors.items() if error} == {}


def test_statements_have_forms_that_citus_takes(connection: Connection) -> None:
    catalog, refused_forms = Catalog.load(connection), {}
    for name, statement in load_statements().items():
        prepare(connection, name, statement)
        if name not in UTILITY_STATEMENTS:
            refused_forms[name] = find_refused_forms(catalog, load_tree(connection, name, statement))
    assert {name: forms for name, forms in refused_forms.items() if forms} == {}


def test_forms_that_citus_refuses_are_found(connection: Connection) -> None:
    catalog = Catalog.load(connection)
    for number, (statement, form) in enumerate(REFUSED_FORMS):
        name = f"refused_{number}"
        assert prepare(connection, name, statement) == ""
        assert form in find_refused_forms(catalog, load_tree(connection, name, statement))


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
