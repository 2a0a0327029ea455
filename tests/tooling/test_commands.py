"""Makefile, hooks and workflows run the commands of .ci/run, and only commands that exist."""

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
UV = "python3 -m uv"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def parse_recipes() -> Mapping[str, Sequence[str]]:
    """Return the commands of each target of the Makefile, without its variables."""
    text = (ROOT / "Makefile").read_text()
    uv = re.search(r"^UV = (.+)$", text, re.MULTILINE)
    assert uv
    text = re.sub(r" \$\([A-Z]+\)", "", text.replace("$(UV)", uv[1]))
    targets = re.findall(r"^([a-z-]+):.*\n((?:\t.+\n)+)", text, re.MULTILINE)
    return {target: [line.strip() for line in recipe.splitlines()] for target, recipe in targets}


RECIPES = parse_recipes()


def load_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def find_missing_tool(words: Sequence[str]) -> str | None:
    """Return what the arguments of `uv run` would run if it is not installed or not in the repository."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    group = "dev"
    if words[0] == "--group":
        group, words = words[1], words[2:]
    elif words[0] == "--all-groups":
        words = words[1:]
    if words[:2] == ["python", "-m"]:
        return None if (ROOT / f"{words[2].replace('.', '/')}.py").is_file() else words[2]
    tool = {"lint-imports": "import-linter"}.get(words[0], words[0])
    names = {re.split("[^a-z-]", requirement)[0] for requirement in groups[group]}
    return None if tool in names else f"{words[0]} of {group}"


def find_problems(command: str) -> Iterator[str]:
    """Yield what is wrong with a command of a workflow or recipe."""
    words = shlex.split(command)
    match words:
        case ["bash", path]:
            if not (ROOT / path).is_file():
                yield f"no file {path}"
        case ["make", target, *_]:
            if target not in RECIPES:
                yield f"no target {target}"
        case ["python3", "-m", "uv", "run", *rest]:
            if missing := find_missing_tool(rest):
                yield f"no tool {missing}"
        case ["python3", "-m", "uv", "build" | "sync", *_] | ["python3", "-m", "pip", "install", "uv"]:
            pass
        case ["rm", "-rf", "dist"]:
            pass
        case _:
            yield f"unknown command {command}"


def list_workflow_commands(path: Path) -> Iterator[str]:
    for job in load_yaml(path)["jobs"].values():
        yield from (step["run"] for step in job["steps"] if "run" in step)


def test_ci_runs_the_tests_of_the_makefile_and_the_readme() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    targets = re.findall(r"^make (.+)$", ci, re.MULTILINE)
    assert targets == ["setup check", "test-marked"]
    assert {target for line in targets for target in line.split()} < set(RECIPES)
    [test] = RECIPES["test"]
    command = f"python3 -m pip install uv && {test}"
    assert command in ci.splitlines()
    assert command in (ROOT / "README.md").read_text().splitlines()


def test_hooks_are_the_checks_of_the_makefile() -> None:
    [repository] = load_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == list(RECIPES["check"])
    assert {(hook["language"], hook["pass_filenames"]) for hook in repository["hooks"]} == {("system", False)}


@pytest.mark.parametrize("target", RECIPES)
def test_recipe_runs_what_exists(target: str) -> None:
    assert {command: problems for command in RECIPES[target] if (problems := list(find_problems(command)))} == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_runs_what_exists(path: Path) -> None:
    commands = list(list_workflow_commands(path))
    assert commands
    assert {command: problems for command in commands if (problems := list(find_problems(command)))} == {}


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("bash .ci/absent", "no file .ci/absent"),
        ("make absent", "no target absent"),
        ("python3 -m uv run twine check dist/*", "no tool twine of dev"),
        ("python3 -m uv run python -m tests.tooling.absent", "no tool tests.tooling.absent"),
        ("curl x", "unknown command curl x"),
    ],
)
def test_command_that_does_not_exist_is_found(command: str, problem: str) -> None:
    assert list(find_problems(command)) == [problem]


def test_workflow_tries_all_later_versions_of_python() -> None:
    jobs = load_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = re.fullmatch(r"python:(3\.(\d+))-bookworm", jobs["all"]["container"])
    assert oldest
    assert f">={oldest[1]}" == required
    later = [f"3.{int(oldest[2]) + number}" for number in range(1, 4)]
    assert jobs["newer"]["strategy"]["matrix"]["python"] == later


def test_release_publishes_what_was_checked() -> None:
    workflow = load_yaml(ROOT / ".github" / "workflows" / "release.yml")
    # YAML 1.1 reads the key `on` as a boolean.
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    assert workflow["jobs"]["publish"]["needs"] == "build"
    assert workflow["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert 'make release-check TAG="$GITHUB_REF_NAME"' in list_workflow_commands(WORKFLOWS[1])
