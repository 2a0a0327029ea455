"""The OpenAPI document agrees with what is served."""

import json
from collections.abc import Collection
from pathlib import Path

from click.testing import CliRunner

from receiver.cli.main import commands
from tests.support.api_routes import Route, get_operations
from tests.support.api_service import CONFIG, NOTIFY_ENVIRON
from tests.support.http import Json


def test_document_describes_exactly_the_routes(document: Json, routes: Collection[Route]) -> None:
    assert get_operations(document).keys() == routes


def test_command_prints_served_document_without_database(document: Json, tmp_path: Path) -> None:
    config = tmp_path / "receiver.toml"
    config.write_text(CONFIG)
    environ = {
        "RECEIVER_CONFIG": str(config),
        "RECEIVER_PUBLIC_URL": document["servers"][0]["url"],
        "DATABASE_URL": f"postgresql:///nothing?host={tmp_path}",
        **NOTIFY_ENVIRON,
    }
    printed = CliRunner(env=environ).invoke(commands, ["openapi"], catch_exceptions=False)
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == document
