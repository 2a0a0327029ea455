"""`receiver provider add`: from nothing to a provider that `receiver provider check` accepts."""

import json
import os
import re
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receiver.cli.main import commands
from receiver.providers.catalog.configuration import find_url_token
from receiver.providers.catalog.entries import list_entries, load_entry

WITH_TOKEN = [name for name in list_entries() if find_url_token(load_entry(name))]
TWILIO = {"TWILIO_ACCOUNT_SID": "AC00000000000000000000000000000001", "TWILIO_AUTH_TOKEN": "a-token"}


def run_provider(directory: Path, *arguments: str, **environ: str) -> Result:
    """Run a command of `receiver provider` in a directory, with no other variables than these."""
    runner = CliRunner(env={**dict.fromkeys(os.environ), **environ})
    with chdir(directory):
        return runner.invoke(commands, ["provider", *arguments], catch_exceptions=False)


def add(directory: Path, *arguments: str, **environ: str) -> Result:
    result = run_provider(directory, "add", *arguments, **environ)
    assert result.exit_code == 0, result.output
    return result


def test_added_provider_needs_its_variables_only(tmp_path: Path) -> None:
    output = add(tmp_path, "twilio", RECEIVER_PUBLIC_URL="https://receiver.example").stdout
    assert "receiver.toml: providers.twilio was added." in output
    assert re.findall(r"^    export (\w+)=(\S*)$", output, re.MULTILINE) == [(name, "") for name in TWILIO]
    assert "The URL is sent with each request.\n\n  https://receiver.example/callbacks/twilio\n" in output
    assert "RECEIVER_PUBLIC_URL" not in output
    assert "Set the variables for web and worker:\n" in output
    assert "start web and worker again, or `receiver serve`: a running process does not see new variables" in output
    assert "receiver callback send twilio --reference " in output
    [check] = re.findall(r"^  receiver provider (check .+)$", output, re.MULTILINE)
    assert run_provider(tmp_path, *check.split()).exit_code == 2
    checked = run_provider(tmp_path, *check.split(), **TWILIO)
    assert checked.exit_code == 0, checked.stderr
    assert "signature: twilio" in checked.stdout


def test_provider_has_another_name(tmp_path: Path) -> None:
    add(tmp_path, "twilio")
    add(tmp_path, "twilio", "--as", "north-sms")
    environ = {**TWILIO, "NORTH_SMS_ACCOUNT_SID": "AC2", "NORTH_SMS_AUTH_TOKEN": "another-token"}
    checked = run_provider(tmp_path, "check", "--json", "--offline", **environ)
    assert [item["name"] for item in json.loads(checked.stdout)["providers"]] == ["north-sms", "twilio"]


def test_existing_provider_is_not_replaced(tmp_path: Path) -> None:
    add(tmp_path, "twilio")
    before = (tmp_path / "receiver.toml").read_bytes()
    result = run_provider(tmp_path, "add", "twilio")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: receiver.toml already has providers.twilio. Choose another name with --as NAME" in result.stderr
    assert (tmp_path / "receiver.toml").read_bytes() == before


@pytest.mark.parametrize("name", ["Twilio", "a.b", "notify", "catalog", ""])
def test_impossible_name_is_refused(name: str, tmp_path: Path) -> None:
    result = run_provider(tmp_path, "add", "twilio", "--as", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert not (tmp_path / "receiver.toml").exists()


def test_misspelt_entry_is_suggested(tmp_path: Path) -> None:
    result = run_provider(tmp_path, "add", "replicat")
    assert result.exit_code == 2
    assert "Did you mean replicate?" in result.stderr


def test_file_is_that_of_the_option_or_the_variable(tmp_path: Path) -> None:
    add(tmp_path, "twilio", "--config", "one.toml", RECEIVER_CONFIG="two.toml")
    assert not (tmp_path / "two.toml").exists()
    add(tmp_path, "twilio", RECEIVER_CONFIG="two.toml")
    assert (tmp_path / "two.toml").read_text() == (tmp_path / "one.toml").read_text()


def test_table_is_printed_only(tmp_path: Path) -> None:
    table = add(tmp_path, "twilio", "--print").stdout
    assert list(tmp_path.iterdir()) == []
    document = json.loads(add(tmp_path, "twilio", "--print", "--json").stdout)
    assert (document["config"], document["table"]) == (None, table)
    add(tmp_path, "twilio")
    assert (tmp_path / "receiver.toml").read_text() == table


def test_json_has_variables_and_commands(tmp_path: Path) -> None:
    document = json.loads(add(tmp_path, "twilio", "--json", TWILIO_AUTH_TOKEN="a-token").stdout)
    assert (document["name"], document["kind"], document["config"]) == ("twilio", "twilio", "receiver.toml")
    assert [(item["name"], item["secret"], item["set"]) for item in document["variables"]] == [
        ("TWILIO_ACCOUNT_SID", False, False),
        ("TWILIO_AUTH_TOKEN", True, True),
    ]
    assert document["commands"][0] == "receiver provider check twilio"
    assert "a-token" not in str(document)


@pytest.mark.parametrize("name", WITH_TOKEN[:1])
def test_url_token_is_suggested_at_random(name: str, tmp_path: Path) -> None:
    [first, second] = [json.loads(add(tmp_path, name, "--print", "--json").stdout) for _ in range(2)]
    [token] = [item["suggestion"] for item in first["variables"] if item["suggestion"]]
    assert len(token) >= 32
    assert first["callback_url"].endswith(f"/callbacks/{name}/{token}")
    assert first["callback_url"] != second["callback_url"]
    [variable] = [item["name"] for item in first["variables"] if item["suggestion"]]
    document = json.loads(add(tmp_path, name, "--print", "--json", **{variable: "a-token-of-mine"}).stdout)
    assert document["callback_url"].endswith("/a-token-of-mine")
    assert "a-token-of-mine" not in str(document["variables"])
    assert "web and worker; random values are suggestions:\n" in add(tmp_path, name).stdout
