"""Misspelt names: in filters, for which a list is merely empty, and in actions, which the API refuses."""

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.command_service import Service
from tests.support.processes import build_provider_toml


def test_unknown_provider_of_an_empty_list_is_reported(service: Service) -> None:
    result = service.run("job", "list", "--provider", "acne")
    assert result.stdout == ""
    assert result.stderr == "no items found\nno provider has the name acne; there are: acme, other.\n"


def test_unknown_operation_of_an_empty_list_is_reported(service: Service) -> None:
    message = "no operation has the name sned; there are: send."
    assert message in service.run("request", "list", "--operation", "sned").stderr
    assert message in service.run("request", "cancel", "--operation", "sned", "--dry-run").stderr


def test_names_that_the_api_refuses_are_listed_or_suggested(service: Service) -> None:
    assert "Must be one of: acme, other." in service.fails("request", "submit", "acne", "send")
    assert "Must be one of: send." in service.fails("request", "submit", "acme", "sned")
    assert "Did you mean other?" in service.fails("provider", "pause", "othr")


def test_empty_list_of_a_known_provider_needs_no_hint(service: Service) -> None:
    assert service.run("job", "list", "--provider", "other", "--reference", "none").stderr == "no items found\n"


def test_unknown_provider_is_answered_with_the_configured_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "receiver.toml"
    path.write_text(build_provider_toml("acme"))
    monkeypatch.setenv("RECEIVER_CONFIG", str(path))
    assert "Must be one of: acme." in CommandLine("").fails("provider", "check", "acne", "--offline")
