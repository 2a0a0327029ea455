"""`receiver login` and `logout`: keys are checked, stored for their owner only, and used by all commands."""

import os
import pty
import signal
import stat
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.processes import RECEIVER
from tests.support.provider import Provider
from tests.support.stub_api import JOBS, build_page, build_problem

KEY = "rcv_a-key-of-the-profile"
CHECK = "requests?limit=1"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory of settings; no variable names a service."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for variable in ("RECEIVER_PROFILE", "RECEIVER_ADMIN_KEY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def profiles(home: Path) -> CommandLine:
    """A command line without `RECEIVER_URL` and `RECEIVER_KEY`, whose profiles are in `home`."""
    assert not list(home.iterdir())
    return CommandLine("", "")


@pytest.fixture
def path(home: Path) -> Path:
    """The path of the file with the profiles."""
    return home / "receiver" / "profiles.toml"


def log_in(profiles: CommandLine, stub: Provider, *arguments: str, key: str = KEY) -> None:
    stub.script(CHECK, build_page())
    profiles.ok("login", *arguments, "--url", stub.url, stdin=f"{key}\n")


def get_used_key(stub: Provider) -> str:
    return stub.received[-1].headers["authorization"].removeprefix("Bearer ")


def test_login_stores_a_key_for_its_owner_only(stub: Provider, profiles: CommandLine, path: Path) -> None:
    log_in(profiles, stub)
    assert get_used_key(stub) == KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["profiles.toml"]
    stub.script(JOBS, build_page())
    profiles.ok("job", "list")
    assert get_used_key(stub) == KEY


def test_profile_is_chosen_by_option_and_by_variable(
    stub: Provider, profiles: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("default", "staging", "live"):
        log_in(profiles, stub, name, key=f"key-of-{name}")
    stub.script(JOBS, build_page())
    profiles.ok("job", "list", "--profile", "live")
    assert get_used_key(stub) == "key-of-live"
    monkeypatch.setenv("RECEIVER_PROFILE", "staging")
    profiles.ok("job", "list")
    assert get_used_key(stub) == "key-of-staging"
    listed = profiles.json("login", "--list")["profiles"]
    assert [(item["name"], item["used"]) for item in listed] == [("default", False), ("live", False), ("staging", True)]
    assert "key-of-staging" not in profiles.ok("login", "--list")


def test_key_of_a_profile_is_sent_only_to_its_url(stub: Provider, profiles: CommandLine) -> None:
    log_in(profiles, stub)
    stub.script(JOBS, build_page())
    CommandLine(stub.url, "").ok("job", "list")
    assert get_used_key(stub) == ""
    CommandLine("", "another-key").ok("job", "list")
    assert get_used_key(stub) == "another-key"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("url", "key", "variables"), [("x", "", "RECEIVER_URL"), ("", "x", "RECEIVER_KEY")])
def test_profile_option_and_variables_exclude_each_other(url: str, key: str, variables: str) -> None:
    output = CommandLine(url, key).fails("job", "list", "--profile", "live", code=2)
    assert f"{variables} is set. Unset it" in output


def test_unknown_profile_is_refused_with_a_suggestion(stub: Provider, profiles: CommandLine) -> None:
    log_in(profiles, stub, "staging")
    assert "Did you mean staging?" in profiles.fails("job", "list", "--profile", "stagin")
    assert "Did you mean staging?" in profiles.fails("logout", "stagin")
    assert "receiver login live --url URL" in profiles.fails("job", "list", "--profile", "live")


def test_invalid_key_is_not_stored(stub: Provider, profiles: CommandLine, path: Path) -> None:
    stub.script(CHECK, build_problem(401))
    output = profiles.fails("login", "--url", stub.url, stdin="wrong\n")
    assert "does not accept the key" in output
    assert "No key" in profiles.fails("login", "--url", stub.url, stdin="", code=2)
    assert "--url" in profiles.fails("login", code=2)
    for url in ("receiver.example", "http://[::1"):
        assert "Not a valid URL" in profiles.fails("login", "--url", url, stdin=f"{KEY}\n", code=2)
    assert not path.exists()


def test_revoked_key_of_a_profile_is_explained(stub: Provider, profiles: CommandLine) -> None:
    log_in(profiles, stub, "live")
    stub.script(JOBS, build_problem(401))
    assert "Run `receiver login live`." in profiles.fails("job", "list", "--profile", "live")


def test_logout_removes_the_profile(stub: Provider, profiles: CommandLine) -> None:
    log_in(profiles, stub, "staging")
    log_in(profiles, stub)
    profiles.ok("logout")
    assert [item["name"] for item in profiles.json("login", "--list")["profiles"]] == ["staging"]
    assert "No profile has the name default" in profiles.fails("logout")


def test_malformed_file_is_reported(profiles: CommandLine, path: Path) -> None:
    path.parent.mkdir()
    for text in ("profiles = 7", "[profiles.default]\nurl = 'x'", "?"):
        path.write_text(text)
        assert f"{path} is malformed" in profiles.fails("job", "list")


def test_unreadable_file_is_reported(profiles: CommandLine, path: Path) -> None:
    path.mkdir(parents=True)
    assert profiles.fails("job", "list") == f"error: Cannot read {path}: Is a directory.\n"


def test_key_is_not_shown_and_ctrl_c_restores_the_terminal(stub: Provider, home: Path) -> None:
    main_fd, terminal_fd = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(home), "TERM": "xterm"}
    arguments = [RECEIVER, "login", "--url", stub.url]
    with subprocess.Popen(arguments, env=environ, stdin=terminal_fd, stdout=terminal_fd, stderr=terminal_fd) as process:
        content = b""
        while b"Key for" not in content:
            content += os.read(main_fd, 1 << 10)
        while termios.tcgetattr(terminal_fd)[3] & termios.ECHO:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert termios.tcgetattr(terminal_fd)[3] & termios.ECHO
    assert b"Traceback" not in content
    os.close(terminal_fd)
    os.close(main_fd)
