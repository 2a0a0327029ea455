"""The events that the package's code logs: their names, levels and fields, read from its source."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.tooling.naming import Module

LEVELS = ("debug", "info", "warning", "error", "critical")
_TASKS = ("attempt", "lookup", "poll")
"""The names of the tasks of `ExchangeLoop`, which begin the names of some events."""
_RENDERED_FIELDS = {"exc_info": "exception"}


@dataclass(frozen=True)
class LogEvent:
    """An event. With `has_more_fields`, the code adds fields that only a run shows."""

    name: str
    level: str
    fields: frozenset[str]
    has_more_fields: bool


def find_log_events(modules: Iterable[Module]) -> Iterator[LogEvent]:
    """Yield the events of each call of a logger that is named `log` or `_log`."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and node.args and (levels := _find_levels(node)):
                yield from _build_events(node, levels)


def _find_levels(call: ast.Call) -> list[str]:
    match call.func:
        case ast.Attribute(value=ast.Name(id="_log") | ast.Attribute(attr="_log"), attr=method):
            return {"exception": ["error"], "log": ["any"]}.get(method, [method] if method in LEVELS else [])
        case ast.Name(id="log"):  # one of two methods of a logger
            return ["debug", "warning"]
    return []


def _build_events(call: ast.Call, levels: list[str]) -> Iterator[LogEvent]:
    argument = call.args[1 if levels == ["any"] else 0]
    fields = {_RENDERED_FIELDS.get(keyword.arg, keyword.arg) for keyword in call.keywords if keyword.arg}
    if isinstance(call.func, ast.Attribute) and call.func.attr == "exception":
        fields.add("exception")
    has_more_fields = any(keyword.arg is None for keyword in call.keywords)
    for name in _find_names(argument):
        for level in levels:
            yield LogEvent(name, level, frozenset(fields), has_more_fields)


def _find_names(argument: ast.expr) -> list[str]:
    match argument:
        case ast.Constant(value=str(name)):
            return [name]
        case ast.IfExp(body=body, orelse=orelse):
            return [*_find_names(body), *_find_names(orelse)]
        case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=str(end))]):
            return [f"{task}{end}" for task in _TASKS]
    raise AssertionError(f"not a constant name of an event: {ast.unparse(argument)}")


def parse_events_table(text: str) -> Iterator[LogEvent]:
    """Yield the events of a table of Markdown with the columns event, level, fields and meaning."""
    for line in text.splitlines():
        cells = line.split("|")
        if line.startswith("| `") and len(cells) == 6:
            _, names, levels, fields, _, _ = cells
            for name in re.findall(r"`([\w.]+)`", names):
                for level in levels.strip().split(", "):
                    yield LogEvent(name, level, frozenset(re.findall(r"`(\w+)`", fields)), has_more_fields=False)
