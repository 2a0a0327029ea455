"""Walk the main journeys through the code by running them, and print which functions and files each passes.

`python -m tests.tooling.journeys --help` names the options. The journeys run in this process, on an embedded Postgres
and with a provider on 127.0.0.1. Requests enter where the gunicorn worker hands them to an endpoint or to Flask. Every
function of the package is instrumented at import, so that greenlets and threads are recorded alike. Functions of
background threads that no journey waits for are left out.
"""

import gevent.monkey

gevent.monkey.patch_all()

import ast  # noqa: E402  # after the patch
import importlib.abc  # noqa: E402
import importlib.machinery  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402
from collections.abc import Iterator, Mapping, Sequence  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402
from types import ModuleType  # noqa: E402
from typing import Any  # noqa: E402

import click  # noqa: E402

PACKAGE = "receiver"
GUIDE = Path(__file__).parents[2] / "docs" / "architecture.md"
BEGIN, END = "<!-- journeys -->\n", "<!-- /journeys -->\n"
BACKGROUND_THREADS = frozenset({"auth-log", "clock", "database-metrics", "job-waiters", "metrics", "store-health"})
"""Threads that work beside the journeys: the sample of refused callbacks, metrics, the clock, the store's health."""

LOG_MODULES = frozenset({"receiver.logs", "receiver.web.access_log", "receiver.web.server.request_ids"})
"""The modules of the log and of the ids in it, which are beside the journeys too."""


class Recorder:
    """Records which functions ran, in the order of their first call, while a journey is under way."""

    def __init__(self) -> None:
        self.enabled = False
        self._calls: dict[tuple[str, str], None] = {}

    def record(self, module: str, function: str) -> None:
        """Record a call; called at the start of every instrumented function."""
        is_beside = module in LOG_MODULES or threading.current_thread().name in BACKGROUND_THREADS
        if self.enabled and not is_beside:
            self._calls.setdefault((module, function))

    @contextmanager
    def journey(self) -> Iterator[None]:
        """Record within the context, from nothing."""
        self._calls = {}
        self.enabled = True
        try:
            yield
        finally:
            self.enabled = False

    def calls(self) -> list[tuple[str, str]]:
        """Return the functions that ran as (module, qualified name), in the order of their first call."""
        return list(self._calls)


RECORDER = Recorder()


class _Instrument(ast.NodeTransformer):
    """Insert a call of the recorder at the start of each function."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._scope: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._visit_scope(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._visit_scope(node)
        name = ".".join([*self._scope, node.name])
        source = f"__import__('sys').modules['__journeys__'].RECORDER.record({self._module!r}, {name!r})"
        call = ast.parse(source).body[0]
        node.body.insert(1 if ast.get_docstring(node) is not None else 0, call)
        return node

    def _visit_scope(self, node: ast.ClassDef | ast.FunctionDef) -> ast.AST:
        self._scope.append(node.name)
        self.generic_visit(node)
        self._scope.pop()
        return node


class _Loader(importlib.machinery.SourceFileLoader):
    """Load a module of the package with its functions instrumented; its byte code is not cached."""

    def get_code(self, fullname: str) -> Any:
        source = self.get_source(fullname)
        if source is None:
            raise ImportError(f"no source of {fullname}")
        tree = _Instrument(fullname).visit(ast.parse(source))
        return compile(ast.fix_missing_locations(tree), self.get_filename(fullname), "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Find the modules of the package, to load them instrumented."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != PACKAGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            return spec
        spec.loader = _Loader(fullname, spec.loader.path)
        return spec


def summarize(calls: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the numbers of functions and files of a journey, and its functions by file in the order of first call."""
    files: dict[str, list[str]] = {}
    for module, function in calls:
        files.setdefault(module.replace(".", "/") + ".py", []).append(function)
    return {"functions": len(calls), "files": len(files), "path": files}


def format_journeys(journeys: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a text that lists each journey with its files and functions."""
    lines = []
    for name, journey in journeys.items():
        lines.append(f"{name}: {journey['functions']} functions in {journey['files']} files")
        lines += [f"  {file}: {', '.join(functions)}" for file, functions in journey["path"].items()]
    return "\n".join(lines)


def format_markdown(journeys: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the tables of `docs/architecture.md`: the files of each journey in the order in which they are entered."""
    lines = []
    for name, journey in journeys.items():
        lines += [f"### {name.capitalize()}: {journey['files']} files", "", "| File | Enters at |", "| --- | --- |"]
        lines += [f"| `{file}` | `{functions[0]}` |" for file, functions in journey["path"].items()]
        lines.append("")
    return "\n".join(lines)


def update_guide(text: str, journeys: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of the guide with the tables of these journeys in it."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{format_markdown(journeys).rstrip()}\n{END}{after}"


@click.command()
@click.option("--json", "form", flag_value="json", help="Print one JSON document.")
@click.option("--markdown", "form", flag_value="markdown", help="Print the tables of docs/architecture.md.")
@click.option("--write", "form", flag_value="write", help="Write the tables into docs/architecture.md.")
@click.argument("names", nargs=-1)
def main(form: str | None, names: Sequence[str]) -> None:
    """Run the journeys that are named, or all."""
    if any(name.partition(".")[0] == PACKAGE for name in sys.modules):
        raise RuntimeError(f"{PACKAGE} is imported already and cannot be instrumented")
    sys.modules["__journeys__"] = sys.modules[__name__]
    sys.meta_path.insert(0, _Finder())
    from tests.tooling.walks import walk  # noqa: PLC0415  # only now: its imports are to be instrumented

    with tempfile.TemporaryDirectory() as home:
        journeys = {name: summarize(calls) for name, calls in walk(RECORDER, Path(home), os.environ, names)}
    match form:
        case "json":
            click.echo(json.dumps(journeys, indent=2))
        case "markdown":
            click.echo(format_markdown(journeys))
        case "write":
            GUIDE.write_text(update_guide(GUIDE.read_text(), journeys))
        case _:
            click.echo(format_journeys(journeys))


if __name__ == "__main__":
    main()
