"""The naming check: what it finds in small modules, and that the repository keeps its limits."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.tooling import naming
from tests.tooling.naming import Module, Report, check, read_modules

CLEAN = 'def run() -> None:\n    """Run the job."""\n'


def check_source(source: str, name: str = "receiver.module") -> Report:
    return check([Module(name, source, ast.parse(source)), Module("receiver.clean", CLEAN, ast.parse(CLEAN))])


def names(findings: list[naming.Finding]) -> list[str]:
    return [finding.name for finding in findings]


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    """The package's modules."""
    return read_modules(naming.ROOT)


def test_modules_behind_the_symlink_are_read_once(modules: list[Module]) -> None:
    loaded = [module.name for module in modules]

    assert len(set(loaded)) == len(loaded)
    assert {"receiver", "receiver.schemas.fields", "receiver.domain.jobs"} <= set(loaded)
    assert not [name for name in loaded if name.startswith("schemas")]


def test_class_defined_in_two_modules_is_reported() -> None:
    source = "class Event:\n    class Meta: ...\n"
    modules = [Module(name, source, ast.parse(source)) for name in ("receiver.a", "receiver.b")]

    report = check([*modules, Module("receiver.clean", CLEAN, ast.parse(CLEAN))])

    assert report.duplicate_classes == {"Event": ["receiver.a", "receiver.b"]}


@pytest.mark.parametrize("word", ["Give", "tell", "Keep,", "Go"])
def test_docstring_with_forbidden_verb_is_reported(word: str) -> None:
    report = check_source(f'class Job:\n    def status(self):\n        """{word} the status."""\n')

    assert names(list(report.docstring_verbs)) == ["status"]


@pytest.mark.parametrize("docstring", ['"""Return what was given."""', '"""Givers of keys."""', "pass"])
def test_other_docstrings_are_accepted(docstring: str) -> None:
    assert check_source(f"def run():\n    {docstring}\n").docstring_verbs == []


@pytest.mark.parametrize(
    ("source", "binding"),
    [
        ("known = 1", "known"),
        ("_KEPT: int = 1", "_KEPT"),
        ("def _found(): ...", "_found"),
        ("def run(*, given=None): ...", "run.given"),
        ("def run(**asked): ...", "run.asked"),
        ("key = lambda one: one", "one"),
        ("for one in []: ...", "one"),
        ("keys = [ours for ours, _ in []]", "ours"),
        ("if told := input(): ...", "told"),
        ("with open('x') as mine: ...", "mine"),
        ("try: ...\nexcept OSError as said: ...", "said"),
        ("match 1:\n    case [found, *_]: ...", "found"),
        ("match 1:\n    case [*theirs]: ...", "theirs"),
        ("match 1:\n    case {**untold}: ...", "untold"),
        ("class Job:\n    told: bool", "Job.told"),
        ("class Job:\n    def __init__(self):\n        self._told = 1", "Job._told"),
        ("async def run():\n    stated = 1", "run.stated"),
    ],
)
def test_participle_binding_is_reported(source: str, binding: str) -> None:
    assert names(list(check_source(source).participles)) == [binding]


def test_participle_is_counted_once_per_scope() -> None:
    report = check_source(
        "def a():\n    told = 1\n    told = 2\n\ndef b():\n    told = told_at = 1\n    return x.known\n"
    )

    assert names(list(report.participles)) == ["a.told", "b.told"]


def test_schema_without_suffix_is_reported_through_its_bases() -> None:
    report = check_source(
        "class StrictInput(marshmallow.Schema): ...\n"
        "class JobSchema(StrictInput): ...\n"
        "class Job(JobSchema): ...\n"
        "class Text(fields.Field[str]): ...\n"
    )

    assert names(list(report.misnamed_schemas)) == ["Job"]


def test_public_definition_without_docstring_is_reported() -> None:
    report = check_source("def run(): ...\n\nclass Job: ...\n\ndef _run(): ...\n")

    assert names(list(report.undocumented)) == ["run", "Job"]


def test_claims_are_listed_by_module() -> None:
    report = check_source("from x import claim_requests\nlease = claim_requests()  # a claim\nclaimant = 'claim'\n")

    assert report.claims == {"receiver.module": ["claim_requests", "claimant"]}


def test_sizes_are_reported_without_docstrings_and_directives() -> None:
    report = check_source(
        'def run():\n    """Run\n\n    the job.\n    """\n    # why\n    a = 1  # noqa: F841\n\n    return a\n\n\n'
        "def stop(): ...\n"
    )

    assert report.comment_share == pytest.approx(1 / 10)
    assert report.median_function == 1
    assert str(report.longest_function) == "receiver.module:1 run (5 lines)"


def test_exceeded_limits_are_violations() -> None:
    report = check_source(CLEAN)
    assert report.violations == []

    classes = {f"Class{number}": ["a", "b"] for number in range(naming.MAX_DUPLICATE_CLASSES)}
    assert replace(report, duplicate_classes=classes).violations == []
    assert replace(report, duplicate_classes={**classes, "Job": ["a", "b"]}).violations == [
        "class names defined in several modules: 6, limit 5"
    ]
    participles = [report.longest_function] * naming.MAX_PARTICIPLES
    assert replace(report, participles=participles).violations == []
    assert len(replace(report, participles=[*participles, participles[0]]).violations) == 1


@pytest.mark.parametrize(("source", "code"), [(CLEAN, 0), ('def run():\n    """Give it."""\n', 1)])
def test_command_prints_report_and_exits_by_limits(
    source: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "receiver").mkdir()
    (tmp_path / "receiver" / "__init__.py").write_text(source)
    monkeypatch.setattr(naming, "ROOT", tmp_path)

    printed = CliRunner().invoke(naming.command, ["--json"])
    text = CliRunner().invoke(naming.command)

    assert (printed.exit_code, text.exit_code) == (code, code)
    assert json.loads(printed.stdout)["modules"] == 1
    assert text.stdout.startswith("1 modules, ")
    assert ("docstrings with a forbidden verb: 1, limit 0" in text.stderr) is bool(code)


@pytest.mark.slow
def test_repository_keeps_naming_limits(modules: list[Module]) -> None:
    assert check(modules).violations == []
