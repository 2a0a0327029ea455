"""The OpenAPI document agrees with what is served."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from receiver.cli.main import commands
from receiver.web.problems import ProblemType
from tests.support.api_routes import Route, get_operations
from tests.support.api_service import CONFIG, NOTIFY_ENVIRON
from tests.support.http import Json, parse_problem
from tests.support.processes import Web


def test_document_describes_exactly_the_routes(document: Json, routes: Collection[Route]) -> None:
    assert get_operations(document).keys() == routes


def test_document_without_webhooks_is_served(web: Web, document: Json) -> None:
    served = web.call("GET", "/openapi.json?webhooks=false").json
    assert served.keys() == document.keys() - {"webhooks"}
    assert served["paths"] == document["paths"]
    assert web.call("GET", "/openapi.json?webhooks=true").json == document
    for query in ("webhooks=no", "webhooks=", "webhooks=true&webhooks=false", "hooks=false"):
        parse_problem(web.call("GET", f"/openapi.json?{query}"), ProblemType.INVALID_REQUEST)


@pytest.mark.parametrize(("options", "query"), [([], ""), (["--no-webhooks"], "?webhooks=false")])
def test_command_prints_served_document_without_database(
    web: Web, document: Json, tmp_path: Path, options: Sequence[str], query: str
) -> None:
    config = tmp_path / "receiver.toml"
    config.write_text(CONFIG)
    environ = {
        "RECEIVER_CONFIG": str(config),
        "RECEIVER_PUBLIC_URL": document["servers"][0]["url"],
        "DATABASE_URL": f"postgresql:///nothing?host={tmp_path}",
        **NOTIFY_ENVIRON,
    }
    printed = CliRunner(env=environ).invoke(commands, ["openapi", *options], catch_exceptions=False)
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == web.call("GET", f"/openapi.json{query}").json
