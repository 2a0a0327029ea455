"""docs/logs.md lists the events that the code logs, with their levels and fields."""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterable

import pytest

from tests.tooling.log_events import LogEvent, find_log_events, parse_events_table
from tests.tooling.naming import ROOT, Module, read_modules

NAME = re.compile(r"[a-z_]+\.[a-z_]+")


def read_source(source: str) -> list[LogEvent]:
    return list(find_log_events([Module("receiver.example", source, ast.parse(source))]))


def collect_levels(events: Iterable[LogEvent]) -> dict[str, set[str]]:
    levels: dict[str, set[str]] = defaultdict(set)
    for event in events:
        levels[event.name].add(event.level)
    return dict(levels)


def collect_fields(events: Iterable[LogEvent]) -> dict[str, set[str]]:
    fields: dict[str, set[str]] = defaultdict(set)
    for event in events:
        fields[event.name] |= event.fields
    return dict(fields)


def test_table_of_events_is_that_of_the_code() -> None:
    logged = list(find_log_events(read_modules(ROOT)))
    documented = list(parse_events_table((ROOT / "docs" / "logs.md").read_text()))

    assert collect_levels(documented) == collect_levels(logged)
    open_names = {event.name for event in logged if event.has_more_fields}
    fields, documented_fields = collect_fields(logged), collect_fields(documented)
    for name in fields:
        missing, unknown = fields[name] - documented_fields[name], documented_fields[name] - fields[name]
        assert not missing, name
        assert not unknown or name in open_names, name


def test_example_line_has_documented_fields() -> None:
    guide = (ROOT / "docs" / "logs.md").read_text()
    [example] = re.findall(r"^```json\n(.*)\n```$", guide, re.MULTILINE)
    line = json.loads(example)
    common = re.findall(
        r"^\| `(\w+)` \|", guide.partition("## Fields of every line")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert "timestamp" in common
    assert line.keys() <= {*common, *collect_fields(parse_events_table(guide))[line["event"]]}


def test_names_of_events_are_constant() -> None:
    names = {event.name for event in find_log_events(read_modules(ROOT))}
    assert {name for name in names if not NAME.fullmatch(name)} == set()
    with pytest.raises(AssertionError, match="not a constant name"):
        read_source("_log.info(name)")


def test_events_are_read_from_calls() -> None:
    source = (
        "_log.info('a.done' if x else 'b.done', key=1)\nself._log.exception('c.failed', **more)\nother.info('d.done')"
    )
    assert read_source(source) == [
        LogEvent("a.done", "info", frozenset({"key"}), has_more_fields=False),
        LogEvent("b.done", "info", frozenset({"key"}), has_more_fields=False),
        LogEvent("c.failed", "error", frozenset({"exception"}), has_more_fields=True),
    ]
