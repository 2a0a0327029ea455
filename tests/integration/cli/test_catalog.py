"""`receiver provider catalog`: needs nothing, lists and finds entries, and describes one completely."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receiver.cli.main import commands
from receiver.providers.catalog.entries import list_entries
from tests.support.catalog import SAMPLE


def run_catalog(*arguments: str, **environ: str) -> Result:
    """Run the command with no other variables than these."""
    runner = CliRunner(env={**dict.fromkeys(os.environ), **environ})
    return runner.invoke(commands, ["provider", "catalog", *arguments], catch_exceptions=False)


def list_names(*arguments: str) -> list[str]:
    result = run_catalog(*arguments)
    assert result.exit_code == 0, result.stderr
    return [line.split()[0] for line in result.stdout.splitlines()[1:]]


def test_entries_are_listed_and_found() -> None:
    assert list_names() == list_entries()
    assert {"telnyx", "twilio"} <= set(list_names("--field", "sms"))
    assert list_names("--search", "twilio MESSAGES") == ["twilio"]
    [entry] = json.loads(run_catalog("--search", "Twilio Messages", "--json").stdout)["items"]
    assert entry["name"] == "twilio"
    assert entry["capabilities"] == ["submit", "callbacks", "poll"]
    assert entry["verified"]["signature"] == "vendor"
    result = run_catalog("--search", "no such provider")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no items found" in result.stderr


def test_entry_is_described_as_text() -> None:
    result = run_catalog("twilio", RECEIVER_PUBLIC_URL="https://receiver.example/")
    assert result.exit_code == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:3] == [
        "provider Twilio Messages (SMS and messages)",
        "callback URL https://receiver.example/callbacks/twilio",
        "registration The URL is sent with each request.",
    ]
    for line in (
        "auth_token yes yes Auth Token, from the first page of the console; it signs callbacks too",
        "send POST /Messages.json To StatusCallback",
        "delivered succeeded callback, poll",
        "https://www.twilio.com/docs/usage/webhooks/webhooks-security",
        "[providers.twilio]",
        'auth_token = "env:TWILIO_AUTH_TOKEN"',
    ):
        assert line in lines


@pytest.mark.parametrize("name", SAMPLE)
def test_entries_of_all_fields_are_printed(name: str) -> None:
    assert f"[providers.{name}]" in run_catalog(name).stdout
    assert json.loads(run_catalog(name, "--json").stdout)["name"] == name


def test_misspelt_name_is_suggested() -> None:
    result = run_catalog("twillio")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "The catalog has no provider twillio. Did you mean twilio?" in result.stderr
    assert "`receiver provider catalog` lists all." in run_catalog("nobody").stderr


def test_invalid_combinations_are_refused(tmp_path: Path) -> None:
    assert run_catalog("twilio", "--field", "sms").exit_code == 2
    assert run_catalog("--field", "smoke").exit_code == 2
    result = run_catalog("twilio", RECEIVER_PUBLIC_URL="receiver.example", RECEIVER_CONFIG=str(tmp_path / "none.toml"))
    assert result.exit_code == 2
    assert "settings: RECEIVER_PUBLIC_URL: " in result.stderr
