"""A fixture has one meaning: no two fixtures of one name have different scopes."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]


class Fixture(NamedTuple):
    """A fixture with its scope, and where it is defined."""

    name: str
    scope: str
    place: str


def find_fixtures(path: Path) -> Iterator[Fixture]:
    """Yield the fixtures that a module defines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else ast.Call(decorator, [], [])
                if ast.unparse(call.func) in {"pytest.fixture", "fixture"}:
                    options = {keyword.arg: ast.unparse(keyword.value).strip("'") for keyword in call.keywords}
                    scope = options.get("scope", "function")
                    yield Fixture(options.get("name", node.name), scope, f"{path}:{node.lineno}")


def find_ambiguous(root: Path) -> list[list[str]]:
    """Return the places of fixtures that have the same name, but not the same scope."""
    by_name: defaultdict[str, list[Fixture]] = defaultdict(list)
    for path in sorted(root.rglob("*.py")):
        for fixture in find_fixtures(path):
            by_name[fixture.name].append(fixture)
    return [
        [f"{fixture.place}: {fixture.name} ({fixture.scope})" for fixture in fixtures]
        for fixtures in by_name.values()
        if len({fixture.scope for fixture in fixtures}) > 1
    ]


def test_no_fixture_name_has_two_scopes() -> None:
    assert find_ambiguous(TESTS) == []


def test_fixtures_of_two_scopes_are_found(tmp_path: Path) -> None:
    scopes = {"one": "", "two": '(scope="module", autouse=True)', "three": "()"}
    for name, options in scopes.items():
        (tmp_path / f"{name}.py").write_text(f"import pytest\n\n@pytest.fixture{options}\ndef dsn():\n    return ''\n")
    [places] = find_ambiguous(tmp_path)
    assert [place.rpartition("/")[2] for place in places] == [
        "one.py:4: dsn (function)",
        "three.py:4: dsn (function)",
        "two.py:4: dsn (module)",
    ]
    (tmp_path / "two.py").unlink()
    assert find_ambiguous(tmp_path) == []
