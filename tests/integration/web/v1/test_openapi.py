"""The OpenAPI document agrees with what is served, and every route requires the scope that the document names."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from flask import Flask

from receiver.cli.main import commands
from receiver.domain.access import Scope
from receiver.web.app import create_app
from receiver.web.context import get_app_context
from tests.integration.web.v1.calls import UNKNOWN_ID, create_key, send
from tests.integration.web.v1.conftest import CONFIG, NOTIFY_ENVIRON
from tests.support.factories import settings
from tests.support.http import Json, Server, parse_problem
from tests.support.processes import ADMIN_KEY, Web

PUBLIC = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"}
AUTOMATIC = {"HEAD", "OPTIONS"}
"""Flask answers these by itself."""


class Route(NamedTuple):
    """A method of a path, as OpenAPI writes it."""

    method: str
    path: str

    @property
    def target(self) -> str:
        """The path with values for its variables."""
        return re.sub(r"\{\w+_id\}", UNKNOWN_ID, self.path).replace("{name}", "sandbox")


@pytest.fixture(scope="module")
def app(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The app, for its routes."""
    created = create_app(settings(dsn, tmp_path_factory.mktemp("app"), {}))
    with closing(get_app_context(created)):
        yield created


@pytest.fixture(scope="module")
def routes(app: Flask) -> Collection[Route]:
    """All routes of the app."""
    return {
        Route(method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - AUTOMATIC
    }


@pytest.fixture(scope="module")
def document(web: Web) -> Json:
    response = web.call("GET", "/openapi.json")
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    return response.json


def get_operations(document: Json) -> dict[Route, Json]:
    return {
        Route(method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_document_describes_exactly_the_routes(document: Json, routes: Collection[Route]) -> None:
    assert get_operations(document).keys() == routes


def test_only_public_routes_require_no_key(web: Web, document: Json, routes: Collection[Route]) -> None:
    for route in routes:
        operation = get_operations(document)[route]
        for headers in ({}, {"authorization": f"Bearer {ADMIN_KEY}x"}):
            response = web.call(route.method, route.target, b"", headers)
            if route.path in PUBLIC:
                assert (response.status, operation["security"]) == (200, []), route
            else:
                assert (response.status, parse_problem(response)["status"]) == (401, 401), route
                assert response.headers["www-authenticate"].lower().startswith("bearer")
                assert operation["security"] == [{"key": [operation["x-scope"]]}]


@pytest.fixture(scope="module")
def keys(web: Web) -> dict[frozenset[Scope], str]:
    """A key of each set of scopes."""
    api = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
    sets = [{Scope.READ}, {Scope.SUBMIT}, {Scope.READ, Scope.SUBMIT}, {Scope.ADMIN}]
    return {frozenset(scopes): create_key(api, scopes=[scope.value for scope in sorted(scopes)]) for scopes in sets}


def test_every_route_requires_its_scope(
    api: Server, document: Json, routes: Collection[Route], keys: dict[frozenset[Scope], str]
) -> None:
    for route in routes:
        if route.path in PUBLIC:
            continue
        required = Scope(get_operations(document)[route]["x-scope"])
        for scopes, key in keys.items():
            # Without effect: no operation accepts the body, and no object has the id.
            response = send(api, route.method, f"{route.target}?nothing=of-the-kind", b"{", key=key)
            if {required, Scope.ADMIN} & scopes:
                assert response.status == 400, (route, scopes, response)
            else:
                assert response.status == 403, (route, scopes, response)
                assert required in parse_problem(response)["detail"]


def test_page_needs_no_key_and_loads_nothing(web: Web, document: Json) -> None:
    response = web.call("GET", "/docs")
    assert (response.status, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    page = response.body.decode()
    for operation in get_operations(document).values():
        assert f'id="{operation["operationId"]}"' in page
    assert web.call("GET", "/docs").body == response.body


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


def test_command_reports_every_invalid_setting(tmp_path: Path) -> None:
    environ = {"RECEIVER_CONFIG": str(tmp_path / "none.toml"), "PORT": "high"}
    result = CliRunner(env=environ).invoke(commands, ["openapi"], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "RECEIVER_CONFIG" in result.stderr
    assert "PORT" in result.stderr
