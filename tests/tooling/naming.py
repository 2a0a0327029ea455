"""`python -m tests.tooling.naming`: names, docstrings and sizes of the package's code, checked against limits.

Parses every module of `receiver/` and `schemas/` without importing it. What ruff can check is left to ruff, except for
what shows whether the code keeps its vocabulary. The command prints a report and exits 1 if a limit is exceeded.
"""

import ast
import io
import os
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

import click
import orjson

from tests.tooling.bindings import BindingCollector

ROOT = Path(__file__).parents[2]
MAX_DUPLICATE_CLASSES = 5
MAX_PARTICIPLES = 40
MAX_MODULE_LINES = 300
FORBIDDEN_VERBS = frozenset({"give", "tell", "let", "say", "keep", "have", "hear", "go"})
"""First words of a function's docstring that a usual verb replaces: return, store, send, and so on."""
PARTICIPLES = frozenset(
    {
        *("told", "given", "stated", "said", "found", "known", "wanted", "untold", "burnt", "asked", "kept", "ought"),
        *("one", "mine", "ours", "theirs"),
    }
)
"""Participles and pronouns that name nothing; underscores around them do not count."""
_FOLDERS = {"receiver": "receiver", "schemas": "receiver.schemas"}
_BASE_SCHEMAS = frozenset({"StrictInput"})
_DIRECTIVES = ("# noqa", "# type:", "# pragma", "# fmt:")

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A parsed module."""

    name: str
    source: str
    tree: ast.Module

    @property
    def line_count(self) -> int:
        return len(self.source.splitlines())

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def functions(self) -> list[FunctionNode]:
        return [node for node in self.nodes if isinstance(node, FunctionNode)]

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        return [node for node in self.nodes if isinstance(node, ast.ClassDef)]

    @cached_property
    def tokens(self) -> list[tokenize.TokenInfo]:
        return list(tokenize.generate_tokens(io.StringIO(self.source).readline))


@dataclass(frozen=True, slots=True)
class Finding:
    """A name in a module, with its line and what there is to say about it."""

    module: str
    line: int
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.name} {self.detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the check found.

    `claims` holds every identifier that contains `claim`, by module; a person decides whether each of them leases work.
    `comment_share` is the share of lines with a comment among all lines that are not blank. The length of a function is
    its lines without the docstring. Sizes are reported, but not limited.
    """

    modules: int
    duplicate_classes: Mapping[str, Sequence[str]]
    docstring_verbs: Sequence[Finding]
    participles: Sequence[Finding]
    misnamed_schemas: Sequence[Finding]
    undocumented: Sequence[Finding]
    claims: Mapping[str, Sequence[str]]
    long_modules: Mapping[str, int]
    comment_share: float
    median_function: float
    longest_function: Finding

    @property
    def violations(self) -> list[str]:
        """The limits that are exceeded, each as one line."""
        counts = [
            ("class names defined in several modules", len(self.duplicate_classes), MAX_DUPLICATE_CLASSES),
            ("docstrings with a forbidden verb", len(self.docstring_verbs), 0),
            ("names that are participles or pronouns", len(self.participles), MAX_PARTICIPLES),
            ("marshmallow schemas not named …Schema", len(self.misnamed_schemas), 0),
            ("public functions and classes without a docstring", len(self.undocumented), 0),
        ]
        return [f"{what}: {count}, limit {limit}" for what, count, limit in counts if count > limit]

    def document(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "modules": self.modules,
            "duplicate_classes": self.duplicate_classes,
            "docstring_verbs": [str(finding) for finding in self.docstring_verbs],
            "participles": [str(finding) for finding in self.participles],
            "misnamed_schemas": [str(finding) for finding in self.misnamed_schemas],
            "undocumented": [str(finding) for finding in self.undocumented],
            "claims": self.claims,
            "long_modules": self.long_modules,
            "comment_share": round(self.comment_share, 4),
            "median_function": self.median_function,
            "longest_function": str(self.longest_function),
            "violations": self.violations,
        }

    def text(self) -> str:
        """Return the report for people."""
        sections = [
            ("class names defined in several modules", _format_lists(self.duplicate_classes)),
            ("docstrings with a forbidden verb", map(str, self.docstring_verbs)),
            ("names that are participles or pronouns", map(str, self.participles)),
            ("marshmallow schemas not named …Schema", map(str, self.misnamed_schemas)),
            ("public functions and classes without a docstring", map(str, self.undocumented)),
            ("identifiers that contain `claim`", _format_lists(self.claims)),
            (f"modules over {MAX_MODULE_LINES} lines", (f"{name}: {n}" for name, n in self.long_modules.items())),
        ]
        lines = [f"{self.modules} modules, {self.comment_share:.1%} of lines with a comment"]
        lines.append(f"functions: median {self.median_function:g} lines, longest {self.longest_function}")
        for title, entries in sections:
            rows = [f"  {entry}" for entry in entries]
            lines += ["", f"{title}: {len(rows)}", *rows]
        return "\n".join(lines)


def read_modules(root: Path) -> list[Module]:
    """Parse the package's modules, sorted by name.

    `receiver/schemas` is a symlink to `schemas/`, which is read from there only.
    """
    modules = []
    for folder, package in _FOLDERS.items():
        for directory, _, files in os.walk(root / folder, followlinks=False):
            parts = Path(directory).relative_to(root / folder).parts
            for file in files:
                if file.endswith(".py"):
                    name = ".".join([package, *parts, file.removesuffix(".py")]).removesuffix(".__init__")
                    source = Path(directory, file).read_text()
                    modules.append(Module(name, source, ast.parse(source)))
    return sorted(modules, key=lambda module: module.name)


def check(modules: Sequence[Module]) -> Report:
    """Check modules, of which at least one has a function."""
    functions = [(_count_lines(node), module.name, node) for module in modules for node in module.functions]
    longest, home, node = max(functions, key=itemgetter(0))
    return Report(
        modules=len(modules),
        duplicate_classes=_find_duplicate_classes(modules),
        docstring_verbs=[finding for module in modules for finding in _find_docstring_verbs(module)],
        participles=[finding for module in modules for finding in _find_participles(module)],
        misnamed_schemas=list(_find_misnamed_schemas(modules)),
        undocumented=[finding for module in modules for finding in _find_undocumented(module)],
        claims={module.name: names for module in modules if (names := _find_claims(module))},
        long_modules={m.name: m.line_count for m in modules if m.line_count > MAX_MODULE_LINES},
        comment_share=_compute_comment_share(modules),
        median_function=median(count for count, _, _ in functions),
        longest_function=Finding(home, node.lineno, node.name, f"({longest} lines)"),
    )


def _find_duplicate_classes(modules: Iterable[Module]) -> dict[str, list[str]]:
    """Return the modules of each class name that more than one module defines; marshmallow's `Meta` does not count."""
    homes: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        for node in module.classes:
            homes[node.name].add(module.name)
    return {name: sorted(home) for name, home in sorted(homes.items()) if len(home) > 1 and name != "Meta"}


def _find_docstring_verbs(module: Module) -> Iterator[Finding]:
    for node in module.functions:
        words = (ast.get_docstring(node) or "").split()
        if words and words[0].lower().strip(".,:;") in FORBIDDEN_VERBS:
            yield Finding(module.name, node.lineno, node.name, f"({words[0]} …)")


def _find_participles(module: Module) -> Iterator[Finding]:
    """Yield each such name once per scope, however often it is bound there."""
    collector = BindingCollector()
    collector.visit(module.tree)
    for (scope, name), line in collector.lines.items():
        if name.strip("_").lower() in PARTICIPLES:
            yield Finding(module.name, line, f"{scope}.{name}".lstrip("."))


def _find_misnamed_schemas(modules: Sequence[Module]) -> Iterator[Finding]:
    """Yield the subclasses of marshmallow's Schema that are not named as such; bases are followed by their names."""
    bases = {node.name: _base_names(node) for module in modules for node in module.classes}
    schemas, size = {"Schema"}, 0
    while size < len(schemas):
        size = len(schemas)
        schemas |= {name for name, names in bases.items() if names & schemas}
    for module in modules:
        for node in module.classes:
            if node.name in schemas - _BASE_SCHEMAS and not node.name.endswith("Schema"):
                yield Finding(module.name, node.lineno, node.name)


def _base_names(node: ast.ClassDef) -> set[str]:
    """Return the last part of each base's name, without type parameters."""
    bases = (base.value if isinstance(base, ast.Subscript) else base for base in node.bases)
    return {ast.unparse(base).rpartition(".")[2] for base in bases}


def _find_undocumented(module: Module) -> Iterator[Finding]:
    """Yield public functions and classes of the module's top level that have no docstring."""
    definitions = (node for node in module.tree.body if isinstance(node, FunctionNode | ast.ClassDef))
    for node in definitions:
        if not node.name.startswith("_") and ast.get_docstring(node) is None:
            yield Finding(module.name, node.lineno, node.name)


def _find_claims(module: Module) -> list[str]:
    names = {token.string for token in module.tokens if token.type == tokenize.NAME}
    return sorted(name for name in names if "claim" in name.lower())


def _compute_comment_share(modules: Iterable[Module]) -> float:
    comments = lines = 0
    for module in modules:
        lines += sum(1 for line in module.source.splitlines() if line.strip())
        comments += sum(1 for t in module.tokens if t.type == tokenize.COMMENT and not t.string.startswith(_DIRECTIVES))
    return comments / max(lines, 1)


def _count_lines(node: FunctionNode) -> int:
    """Count a function's lines from `def` to its end, without the docstring."""
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is None:
        return total
    docstring = node.body[0]
    return total - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def _format_lists(lists: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, entries in lists.items():
        yield f"{name}: {', '.join(entries)}"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(*, as_json: bool) -> None:
    """Check names, docstrings and sizes of the package's code."""
    report = check(read_modules(ROOT))
    click.echo(orjson.dumps(report.document()) if as_json else report.text())
    for violation in report.violations:
        click.echo(f"error: {violation}", err=True)
    sys.exit(bool(report.violations))


if __name__ == "__main__":
    command(prog_name="python -m tests.tooling.naming")
