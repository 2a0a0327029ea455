"""Forms of statements that Citus refuses, as its planner checks them (`multi_router_planner.c`).

What a statement changes, and where it changes it, must not depend on when or on which node an expression is evaluated:

- no volatile function, and no stable function of a column, in SET and WHERE of UPDATE and in WHERE of DELETE;
- nothing but immutable functions in CASE and coalesce there, in ON CONFLICT, and in RETURNING;
- no row lock on a view.

The usual stable functions are now(), the sum of a time and an interval, and concat_ws.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from receiver.store.connections import Connection
from tests.support.query_trees import COMMANDS, TYPE, iterate_expressions, iterate_queries

_IMMUTABLE, _VOLATILE = "i", "v"
_TABLE_KIND, _RELATION = "r", "0"
_BRANCHES = {"CASE": "CASE", "CASEEXPR": "CASE", "COALESCE": "coalesce", "COALESCEEXPR": "coalesce"}
"""The types of nodes, with and without the suffix that newer versions of Postgres append."""

_MUTABLE_TEXT_TYPES = {"1082", "1083", "1114", "1184", "1186", "1266"}
"""The OIDs of the types of dates, times and intervals: reading one from text depends on the session."""


@dataclass(frozen=True)
class Catalog:
    """The volatility and name of functions, and the kind of relations, by OID."""

    functions: Mapping[str, tuple[str, str]]
    relations: Mapping[str, str]

    @classmethod
    def load(cls, connection: Connection) -> "Catalog":
        """Load the catalog of a database."""
        functions = connection.execute("SELECT oid::text, provolatile::text, proname FROM pg_proc")
        relations = connection.execute("SELECT oid::text, relkind::text FROM pg_class")
        return cls({oid: (volatility, name) for oid, volatility, name in functions}, dict(relations.fetchall()))


def find_refused_forms(catalog: Catalog, tree: Any) -> list[str]:
    """Return the forms in a statement that Citus refuses, each with its clause."""
    forms = [form for query in iterate_queries(tree) for form in _check_query(catalog, query)]
    return list(dict.fromkeys(forms))


def _check_query(catalog: Catalog, query: Mapping[str, Any]) -> Iterator[str]:
    command = COMMANDS.get(query["commandType"][0])
    if command == "UPDATE":
        yield from _check_change(catalog, "SET", query["targetList"])
    if command in {"UPDATE", "DELETE"}:
        yield from _check_change(catalog, "WHERE", query["jointree"])
    yield from _check_immutable(catalog, "RETURNING", query["returningList"])
    yield from _check_immutable(catalog, "ON CONFLICT", query["onConflict"])
    (tables,) = query["rtable"]
    for mark in iterate_expressions(query["rowMarks"]):
        table = tables[int(mark["rti"][0]) - 1]
        if table["rtekind"] == [_RELATION] and catalog.relations[table["relid"][0]] != _TABLE_KIND:
            yield "row lock on a view"


def _check_change(catalog: Catalog, clause: str, expressions: Any) -> Iterator[str]:
    for node in iterate_expressions(expressions):
        volatility, name = _find_function(catalog, node)
        if volatility == _VOLATILE:
            yield f"{clause}: volatile {name}"
        elif volatility != _IMMUTABLE and any(inner[TYPE] == "VAR" for inner in iterate_expressions(node)):
            yield f"{clause}: {name} of a column"
        if node[TYPE] in _BRANCHES:
            yield from _check_immutable(catalog, f"{clause}, {_BRANCHES[node[TYPE]]}", node)


def _check_immutable(catalog: Catalog, clause: str, expressions: Any) -> Iterator[str]:
    for node in iterate_expressions(expressions):
        volatility, name = _find_function(catalog, node)
        if volatility != _IMMUTABLE:
            yield f"{clause}: {name}"


def _find_function(catalog: Catalog, node: Mapping[str, Any]) -> tuple[str, str]:
    """Return the volatility and the name of the function that a node calls."""
    if node[TYPE] == "COERCEVIAIO" and node["resulttype"][0] in _MUTABLE_TEXT_TYPES:
        return "s", "a time from text"
    if node[TYPE] == "SQLVALUEFUNCTION":
        return "s", "current_timestamp"
    (oid,) = node.get("funcid") or node.get("opfuncid") or ["0"]
    return catalog.functions.get(oid, (_IMMUTABLE, ""))
