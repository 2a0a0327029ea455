"""`receiver completion`: scripts for shells, and what they suggest."""

import subprocess

import pytest

from tests.support.command_line import CommandLine
from tests.support.stub_api import start_command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(command: CommandLine, shell: str) -> None:
    assert "_RECEIVER_COMPLETE" in command.ok("completion", shell)


def test_completion_suggests_commands(command: CommandLine) -> None:
    environ = {"_RECEIVER_COMPLETE": "bash_complete", "COMP_WORDS": "receiver job w", "COMP_CWORD": "2"}
    with start_command(command, stdout=subprocess.PIPE, environ=environ) as process:
        assert process.communicate(timeout=30)[0] == b"plain,wait\n"
