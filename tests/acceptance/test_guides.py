"""All Markdown files: their links, the files, tests and commands that they name, their examples, their spelling.

Tests of single guides are in other modules; `COVERAGE` says which of them executes the code blocks of which guide.
"""

import ast
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from html import unescape
from itertools import takewhile
from pathlib import Path

import click
import pytest
from codespell_lib import main as codespell

from receiver.cli.main import commands
from tests.acceptance.guides import ROOT, extract_section, parse_blocks, read_guide, remove_blocks, remove_code
from tests.benchmarks.__main__ import commands as benchmarks


def find_files(*patterns: str) -> list[str]:
    """Return the paths of all files of the repository that match one of some patterns."""
    return sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern))


GUIDES = find_files("README.md", "docs/*.md")
MARKDOWN = find_files("*.md", *(f"{folder}/**/*.md" for folder in (".github", "docs", "receiver", "tests")))
COVERAGE = {
    ("README.md", "sh"): "tests/acceptance/test_readme.py::test_quickstart_leads_to_a_finished_job",
    ("README.md", "toml"): "tests/acceptance/test_readme.py::test_quickstart_leads_to_a_finished_job",
    ("README.md", "text"): "a picture",
    ("docs/catalog.md", "toml"): "tests/tooling/test_catalog_page.py::test_page_is_up_to_date",
    ("docs/clients.md", "python"): "tests/codegen/test_clients.py::test_python_program_of_the_guide_works",
    ("docs/clients.md", "sh"): "tests/codegen/test_clients.py::test_other_commands_of_the_guide_work",
    ("docs/clients.md", "ts"): "tests/codegen/test_clients.py::test_typescript_program_of_the_guide_works",
    ("docs/coming-from.md", "python"): "tests/acceptance/test_coming_from.py::test_table_takes_the_place_of_the_view",
    ("docs/coming-from.md", "toml"): "tests/acceptance/test_coming_from.py::test_table_takes_the_place_of_the_view",
    ("docs/commands.md", "json"): "tests/acceptance/test_commands_guide.py::test_file_of_requests_is_submitted_once",
    ("docs/commands.md", "sh"): "tests/acceptance/test_commands_guide.py::test_every_task_has_a_test",
    ("docs/commands.md", "text"): "tests/acceptance/test_commands_guide.py::test_reference_is_up_to_date",
    ("docs/logs.md", "json"): "tests/tooling/test_log_events.py::test_example_line_has_documented_fields",
    (
        "docs/notifications.md",
        "json",
    ): "tests/acceptance/test_api_guide.py::test_every_response_of_the_guide_follows_a_call",
    ("docs/notifications.md", "python"): (
        "tests/acceptance/test_api_guide.py::test_notification_receiver_of_the_guide_works"
    ),
    (
        "docs/notifications.md",
        "sh",
    ): "tests/acceptance/test_api_guide.py::test_every_call_has_the_response_of_the_guide",
    (
        "docs/operations.md",
        "console",
    ): "tests/acceptance/test_operations_guide.py::test_commands_are_those_of_image_and_reload",
    ("docs/performance.md", "console"): "tests/acceptance/test_guides.py::test_benchmarks_of_the_guide_exist",
    ("docs/performance.md", "ini"): "settings of Postgres with which figures of the page were measured",
    ("docs/providers.md", "ini"): "tests/acceptance/test_wheel.py::test_kind_of_other_package_is_configurable",
    ("docs/providers.md", "python"): "tests/acceptance/test_guide.py::test_python_example_defines_provider_kind",
    ("docs/providers.md", "sh"): "tests/acceptance/test_guide.py::test_commands_add_the_first_example",
    ("docs/providers.md", "toml"): "tests/acceptance/test_guide.py::test_toml_examples_are_valid",
    (
        "docs/quickstart.md",
        "console",
    ): "tests/acceptance/test_readme.py::test_quickstart_guide_starts_the_same_processes",
    ("docs/quickstart.md", "sh"): "tests/acceptance/test_quickstart_guide.py::test_quickstart_leads_to_a_finished_job",
    (
        "docs/quickstart.md",
        "toml",
    ): "tests/acceptance/test_quickstart_guide.py::test_quickstart_leads_to_a_finished_job",
    ("docs/scaling.md", "console"): "tests/integration/devtools/test_cells.py::test_command_of_guide_creates_cell",
    ("docs/scaling.md", "nginx"): (
        "tests/integration/devtools/test_cells.py::test_proxy_routes_callbacks_to_the_cell_of_their_provider"
    ),
    ("docs/scaling.md", "toml"): "tests/integration/devtools/test_cells.py::test_cells_of_guide_are_parsed",
    ("docs/submit-and-follow.md", "http"): (
        "tests/acceptance/test_api_guide.py::test_every_response_of_the_guide_follows_a_call"
    ),
    ("docs/submit-and-follow.md", "json"): (
        "tests/acceptance/test_api_guide.py::test_every_response_of_the_guide_follows_a_call"
    ),
    ("docs/submit-and-follow.md", "sh"): (
        "tests/acceptance/test_api_guide.py::test_every_call_has_the_response_of_the_guide"
    ),
}
"""By guide and language of its code blocks: the test that executes, compares or generates them, or why none does."""


def find_links(text: str) -> list[str]:
    """Return the targets of all links and images, without those in code and without other sites."""
    targets = re.findall(r"\]\(([^)\s]+)\)", remove_code(text))
    return [target for target in targets if "://" not in target]


@cache
def find_anchors(text: str) -> set[str]:
    """Return the anchors of a file as GitHub names them: those of its headings and of its HTML."""
    anchors = set(re.findall(r'<a id="([^"]+)">', text))
    headings = re.findall(r"^#{1,6} (.+)$", remove_blocks(text), re.MULTILINE)
    for heading in headings:
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        anchors.add(next(name for name in _number(slug) if name not in anchors))
    return anchors


def _number(slug: str) -> Iterator[str]:
    yield slug
    yield from (f"{slug}-{number}" for number in range(1, 100))


def find_order() -> list[tuple[str, str]]:
    """Return the title and the path of each guide in the README's table, in order."""
    return re.findall(
        r"^\| \[([^]]+)\]\((docs/[^)]+)\)", extract_section(read_guide("README.md"), "Guides"), re.MULTILINE
    )


@pytest.mark.parametrize("path", MARKDOWN)
def test_links_lead_to_files_and_headings(path: str) -> None:
    for target in find_links(read_guide(path)):
        name, _, anchor = target.partition("#")
        file = (ROOT / path).parent / name if name else ROOT / path
        assert file.exists(), target
        assert not anchor or anchor in find_anchors(file.read_text()), target


def test_anchors_are_those_of_github() -> None:
    text = '# A\n## What it `does`, and why\n## A\n```sh\n# no heading\n```\n<a id="x"></a>\n'
    assert find_anchors(text) == {"a", "what-it-does-and-why", "a-1", "x"}


def test_guides_lead_from_each_to_the_next() -> None:
    order = find_order()
    assert len(order) == 11
    for index, (title, path) in enumerate(order):
        lines = read_guide(path).splitlines()
        links = [
            f"{word}: [{order[position][0]}]({order[position][1].removeprefix('docs/')})."
            for word, position in (("Previous", index - 1), ("Next", index + 1))
            if 0 <= position < len(order)
        ]
        assert (lines[0], lines[-1]) == (f"# {title}", " ".join(links))


def test_every_guide_is_reachable_from_the_readme() -> None:
    reachable, waiting = {"README.md"}, ["README.md"]
    while waiting:
        path = waiting.pop()
        links = {
            os.path.normpath(Path(path).parent / target.partition("#")[0]) for target in find_links(read_guide(path))
        }
        waiting += (links & set(MARKDOWN)) - reachable
        reachable |= links
    assert set(GUIDES) <= reachable


def test_every_code_block_is_covered() -> None:
    blocks = {(path, block.language) for path in GUIDES for block in parse_blocks(read_guide(path))}
    assert blocks == COVERAGE.keys()


def test_every_code_block_has_a_language() -> None:
    for path in GUIDES:
        text = read_guide(path)
        assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(parse_blocks(text)), path


def test_named_tests_exist() -> None:
    texts = [*COVERAGE.values(), *map(read_guide, MARKDOWN)]
    names = {name for text in texts for name in re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", text)}
    assert len(names) > 100
    for file, test in names:
        assert f"\ndef {test}(" in (ROOT / file).read_text(), (file, test)


def test_every_promise_names_its_tests() -> None:
    rows = re.findall(r"^\| .* \|$", extract_section(read_guide("docs/reliability.md"), "Promises"), re.MULTILINE)[2:]
    assert len(rows) > 10
    assert [row for row in rows if "::test_" not in row.split("|")[-2]] == []


@pytest.mark.parametrize("path", GUIDES)
def test_named_files_exist(path: str) -> None:
    names = re.findall(r"`((?:receiver|schemas|tests|docs)/[\w/.-]+)`", read_guide(path))
    assert [name for name in names if not (ROOT / name).exists()] == []


def find_commands(text: str, program: str) -> list[list[str]]:
    """Return the arguments of each line of a code block, or piece of code in a sentence, that runs a program."""
    pieces = [line for block in parse_blocks(text) for line in block.text.replace("\\\n", " ").splitlines()]
    pieces += (" ".join(piece.split()) for piece in re.findall(r"`([^`]+)`", remove_blocks(text)))
    lines = [re.sub(r"^(\$ )?((python3 -m )?uv run (--\S+ \S+ )?)?", "", piece.strip()) for piece in pieces]
    return [
        shlex.split(line, comments=True)[len(program.split()) :] for line in lines if line.startswith(f"{program} ")
    ]


def check_command(command: click.Command, arguments: Sequence[str], parent: click.Context | None = None) -> None:
    """Check that the commands and options in some arguments exist, and that none is missing or in excess.

    Placeholders and values are not checked. A command without any arguments is only named, and none is missing.
    """
    # A command keeps its option --help as its first context named it.
    context = click.Context(command, parent=parent, **command.context_settings)
    if isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        subcommand = command.get_command(context, arguments[0])
        assert subcommand, arguments
        check_command(subcommand, arguments[1:], context)
    elif own := list(takewhile(lambda argument: argument not in {"&", ">", "|"}, arguments)):
        _, excess, present = command.make_parser(context).parse_args(args=own)
        assert excess == [], arguments
        missing = [param.name for param in command.params if param.required and param not in present]
        assert missing == [] or "--help" in own, arguments


@pytest.mark.parametrize("path", GUIDES)
def test_named_commands_and_options_exist(path: str) -> None:
    for arguments in find_commands(read_guide(path), "receiver"):
        check_command(commands, arguments)


def find_template_commands(text: str) -> list[list[str]]:
    """Return the arguments of each command in the code of a template, or in what its buttons copy."""
    plain = re.sub(r"{%.*?%}", "", re.sub(r"{{.*?}}", "X", text))
    pieces = re.findall(r"<code[^>]*>(receiver [^<]+)</code>|data-copy=\"(receiver [^\"]+)\"", plain)
    return [shlex.split(unescape(" ".join(piece)))[1:] for piece in pieces]


def find_source_commands(source: str) -> list[list[str]]:
    """Return the arguments of each command that the texts and docstrings of a module name."""
    texts = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(re.sub(r"{\w*}", "X", node.value))
    pattern = re.compile(r"`(receiver [^`]+)`|: (receiver .+)$|^(receiver .+)$", re.MULTILINE)
    pieces = [piece for text in texts for piece in pattern.findall(text)]
    return [shlex.split(" ".join(piece))[1:] for piece in pieces]


@pytest.mark.parametrize("path", find_files("receiver/**/*.html"))
def test_commands_of_templates_exist(path: str) -> None:
    for arguments in find_template_commands(read_guide(path)):
        check_command(commands, arguments)


def test_commands_of_texts_exist() -> None:
    # The name of a connection to Postgres looks like a command.
    paths = set(find_files("receiver/**/*.py")) - {"receiver/store/migration_lock.py"}
    found = [arguments for path in sorted(paths) for arguments in find_source_commands(read_guide(path))]
    assert len(found) > 100
    for arguments in found:
        check_command(commands, arguments)


@pytest.mark.parametrize(
    "line",
    [
        "receiver key create NAME --scope read",
        "receiver key create --scope read",
        "receiver key make",
        "receiver request submit PROVIDER --payload",
        "receiver request submit acme render --body X",
    ],
)
def test_command_that_fails_is_found(line: str) -> None:
    [arguments] = find_template_commands(f"<code>{line}</code>")
    assert find_source_commands(f'"""Do it.\n\nExample: {line}"""\nx = 1') == [arguments]
    with pytest.raises((AssertionError, click.UsageError)):
        check_command(commands, arguments)


def test_benchmarks_of_the_guide_exist() -> None:
    arguments = find_commands(read_guide("docs/performance.md"), "python -m tests.benchmarks")
    assert len(arguments) > 10
    for each in arguments:
        check_command(benchmarks, each)


def test_words_are_spelled_right(capsys: pytest.CaptureFixture[str]) -> None:
    ignored = ["--ignore-regex", "`[^`]+`", "--uri-ignore-words-list", "*"]
    misspelled = codespell(*ignored, *(str(ROOT / path) for path in MARKDOWN))
    assert misspelled == 0, capsys.readouterr().out
