"""The pages for contributors name what exists: files, commands, and the definitions of terms."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.tooling.test_commands import RECIPES, find_problems

ROOT = Path(__file__).parents[2]
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "docs/decisions.md", "docs/glossary.md")
each_page = pytest.mark.parametrize("page", PAGES)
DEFINITION = re.compile(r"\[`(\w+)`\]\(\.\./([\w/]+\.py)\)")


def read_page(page: str) -> str:
    return (ROOT / page).read_text()


def list_anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def find_broken_links(page: str) -> Iterator[str]:
    for link in re.findall(r"\]\(((?!https:)[^)]+)\)", read_page(page)):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in list_anchors(target)):
            yield link


@cache
def list_definitions(path: str) -> set[str]:
    """Return the names of the classes, functions and constants of a module."""
    names = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
    return names


@each_page
def test_links_lead_to_pages_and_sections(page: str) -> None:
    assert list(find_broken_links(page)) == []


@each_page
def test_named_paths_exist(page: str) -> None:
    paths = re.findall(
        r"(?<![\w./])((?:receiver|schemas|tests|docs|\.github|\.ci)/[\w./-]+)(?![\w…/-])", read_page(page)
    )
    placeholders = {path for path in paths if "NNNN" in path or "NAME" in path}
    assert [path for path in paths if path not in placeholders and not (ROOT / path).exists()] == []


def test_commands_of_contributors_exist() -> None:
    text = read_page("CONTRIBUTING.md")
    assert set(re.findall(r"^\| `make ([a-z-]+)` \|", text, re.MULTILINE)) == RECIPES.keys() - {"setup"}
    commands = re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", text, re.MULTILINE)
    assert {first or second for first, second in commands} == set(RECIPES)
    modules = re.findall(r"^\| `(tests\.[\w.]+)` \|", text, re.MULTILINE)
    paths = [ROOT / module.replace(".", "/") for module in modules]
    assert len(paths) == 6
    assert [path for path in paths if not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file())] == []
    runs = re.findall(r"python3 -m uv run (?!python)[^\n`]+", " ".join(text.split("\n   ")))
    assert len(runs) > 5
    assert {run: problems for run in runs if (problems := list(find_problems(run)))} == {}


def test_layers_of_architecture_are_those_of_the_contract() -> None:
    contract = (ROOT / "pyproject.toml").read_text().partition("layers = [")[2].partition("]")[0]
    table = read_page("docs/architecture.md").partition("| layer |")[2].partition("\n\n")[0]
    layers = re.findall(r"receiver\.\w+", contract)
    named = [
        path.removesuffix(".py").replace("/", ".")
        for path in re.findall(r"^\| `(receiver/[\w.]+)`", table, re.MULTILINE)
    ]
    assert named == layers


def test_each_decision_has_its_context_and_price() -> None:
    sections = read_page("docs/decisions.md").split("\n## ")[1:]
    assert len(sections) == 9
    for section in sections:
        parts = re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE)
        assert parts in (["Context", "Decision", "Price"], ["Context", "Decision", "Price", "Figures"]), section


def test_terms_of_glossary_are_sorted_and_defined() -> None:
    rows = re.findall(r"^\| (?!term |---)([^|]+) \| [^|]+ \| ([^|]+) \|$", read_page("docs/glossary.md"), re.MULTILINE)
    terms = [term.lower() for term, _ in rows]
    assert terms == sorted(set(terms))
    definitions = {term: DEFINITION.findall(links) for term, links in rows}
    assert [term for term, names in definitions.items() if not names] == []
    undefined = {name for names in definitions.values() for name, path in names if name not in list_definitions(path)}
    assert undefined == set()
