"""Plans of the statements that a store function executes."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import Cursor as DatabaseCursor
from psycopg.rows import TupleRow, tuple_row

from receiver.store.connections import Connection

JOB_COUNT = 12_000
OPERATION_COUNT = 2
Plan = dict[str, Any]


@dataclass(frozen=True)
class ExecutedStatement:
    """A statement as a store function executed it."""

    query: bytes
    params: Mapping[str, Any] | None
    prepare: bool | None


@dataclass(frozen=True)
class PlanSummary:
    """What a plan reads: the indexes, the number of rows, and the tables that are scanned completely."""

    indexes: frozenset[str]
    rows: float
    scanned_tables: frozenset[str]
    text: str = field(repr=False)


@contextmanager
def record_statements(connection: Connection) -> Iterator[list[ExecutedStatement]]:
    """Record all statements that are executed within the context."""
    statements: list[ExecutedStatement] = []

    class RecordingCursor(DatabaseCursor[TupleRow]):
        def execute(self, query: Any, params: Any = None, *, prepare: bool | None = None, **options: Any) -> Any:
            statements.append(ExecutedStatement(query, params, prepare))
            return super().execute(query, params, prepare=prepare, **options)

    cursor_factory = connection.cursor_factory
    connection.cursor_factory = RecordingCursor
    try:
        yield statements
    finally:
        connection.cursor_factory = cursor_factory


def explain(connection: Connection, statement: ExecutedStatement) -> PlanSummary:
    """Execute a statement again in the same way, and summarize its plan."""
    cursor = connection.cursor(row_factory=tuple_row)
    query = b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement.query
    ((plans,),) = cursor.execute(query, statement.params, prepare=statement.prepare).fetchall()
    nodes = list(iterate_nodes(plans[0]["Plan"]))
    return PlanSummary(
        frozenset(node["Index Name"] for node in nodes if "Index Name" in node),
        sum(map(count_rows, nodes)),
        frozenset(node["Relation Name"] for node in nodes if node["Node Type"].endswith("Seq Scan")),
        json.dumps(plans, indent=1),
    )


def iterate_nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from iterate_nodes(child)


def count_rows(node: Plan) -> float:
    """Return the number of table rows that a node has plan."""
    if "Relation Name" not in node:
        return 0.0
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])
