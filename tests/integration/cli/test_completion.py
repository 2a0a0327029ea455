"""`receiver completion`: scripts for shells, and what they suggest."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.provider import RESET, Provider, Reply
from tests.support.stub_api import build_page, build_problem, start_command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(command: CommandLine, shell: str) -> None:
    assert "_RECEIVER_COMPLETE" in command.ok("completion", shell)


def test_completion_suggests_commands(command: CommandLine) -> None:
    environ = {"_RECEIVER_COMPLETE": "bash_complete", "COMP_WORDS": "receiver job w", "COMP_CWORD": "2"}
    with start_command(command, stdout=subprocess.PIPE, environ=environ) as process:
        assert process.communicate(timeout=30)[0] == b"plain,wait\n"


def complete(command: CommandLine, *words: str, home: str = "") -> list[str]:
    """Return what is suggested for the last word; nothing may be printed on stderr."""
    environ = {"_RECEIVER_COMPLETE": "bash_complete", "COMP_WORDS": shlex.join(["receiver", *words])}
    environ |= {"COMP_CWORD": str(len(words)), "XDG_CONFIG_HOME": home}
    with start_command(command, stdout=subprocess.PIPE, environ=environ) as process:
        output, errors = process.communicate(timeout=30)
    assert errors == b""
    return [line.partition(",")[2] for line in output.decode().split()]


def test_completion_suggests_names_of_the_service(stub: Provider, command: CommandLine) -> None:
    providers = [
        {"name": name, "account": None, "operations": operations}
        for name, operations in (("acme", ["render", "resize"]), ("adyen", ["pay"]), ("twilio", ["send"]))
    ]
    stub.script("providers?limit=500", build_page(*providers))
    assert complete(command, "request", "submit", "a") == ["acme", "adyen"]
    assert complete(command, "request", "submit", "acme", "re") == ["render", "resize"]
    assert complete(command, "job", "list", "--provider", "t") == ["twilio"]
    assert complete(command, "request", "list", "--operation", "") == ["pay", "render", "resize", "send"]
    assert complete(command, "request", "list", "--status", "c") == ["completed", "cancelled"]


def test_completion_suggests_entries_of_the_catalog(command: CommandLine) -> None:
    assert "twilio" in complete(command, "provider", "catalog", "twi")
    assert complete(command, "provider", "add", "replicat") == ["replicate"]


def test_completion_uses_the_profile_of_the_command(stub: Provider, tmp_path: Path) -> None:
    stub.script("providers?limit=500", build_page({"name": "acme", "account": None, "operations": []}))
    (tmp_path / "receiver").mkdir()
    text = f'[profiles.live]\nurl = "{stub.url}"\nkey = "key-of-live"\n'
    (tmp_path / "receiver" / "profiles.toml").write_text(text)
    suggested = complete(CommandLine(""), "job", "list", "--profile", "live", "--provider", "a", home=str(tmp_path))
    assert suggested == ["acme"]
    assert stub.received[-1].headers["authorization"] == "Bearer key-of-live"


@pytest.mark.parametrize("reply", [build_problem(429, headers={"retry_after": "1"}), build_problem(401), RESET])
def test_completion_without_the_service_is_silent(stub: Provider, command: CommandLine, reply: Reply) -> None:
    stub.script("providers?limit=500", reply)
    assert complete(command, "job", "list", "--provider", "a") == []
