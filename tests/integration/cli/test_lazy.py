"""Commands are imported only when they are called."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from receiver.cli.lazy import LazyGroup
from receiver.cli.main import commands
from receiver.cli.providers import provider


def test_api_commands_import_no_database_driver() -> None:
    source = (
        "import sys; from receiver.cli.main import commands\n"
        "for name in ('job', 'request', 'callback', 'provider', 'key'):\n"
        "    commands.main([name, 'list', '--help'], standalone_mode=False)\n"
        "assert not {'psycopg', 'flask', 'marshmallow', 'receiver.store'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", source], check=True, stdout=subprocess.DEVNULL, timeout=30)


@pytest.mark.parametrize("group", [commands, provider])
def test_listed_help_is_that_of_the_command(group: click.Command) -> None:
    assert isinstance(group, LazyGroup)
    context = click.Context(group, **group.context_settings)
    for name, lazy_command in group.lazy_commands.items():
        command = group.get_command(context, name)
        assert command
        assert lazy_command.help == command.get_short_help_str(1_000)


def test_help_lists_all_commands_without_importing_them() -> None:
    source = (
        "import sys; from receiver.cli.main import commands\n"
        "commands.main(['--help'], standalone_mode=False)\n"
        "assert not {'geventhttpclient', 'receiver.cli.options'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", source], check=True, stdout=subprocess.DEVNULL, timeout=30)
    listed = CliRunner().invoke(commands, ["--help"]).output.partition("Commands:\n")[2]
    context = click.Context(commands, **commands.context_settings)
    assert [line.split()[0] for line in listed.splitlines()] == commands.list_commands(context)


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["jobs"], "Did you mean 'job'?"),
        (["provider", "chek"], "Did you mean 'check'?"),
        (["job", "shwo"], "Did you mean 'show'?"),
        (["job", "list", "--statsu", "failed"], "Did you mean '--status'?"),
    ],
)
def test_misspelt_command_or_option_is_suggested(arguments: list[str], suggestion: str) -> None:
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 2
    assert suggestion in result.stderr
