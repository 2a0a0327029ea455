"""That the OpenAPI document and what is served cannot drift apart, and that every door asks for the key it names."""

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
from tests.factories import settings
from tests.http import Json, Server, problem_of
from tests.integration.api.calls import ANY, new_key, send
from tests.integration.api.conftest import CONFIG, TELLS
from tests.processes import ADMIN_KEY, Web

PUBLIC = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"}
AUTOMATIC = {"HEAD", "OPTIONS"}
"""Flask answers these by itself."""


class Door(NamedTuple):
    """A method of a path, as OpenAPI writes it."""

    method: str
    path: str

    @property
    def target(self) -> str:
        """Give a path that could be called."""
        return re.sub(r"\{\w+_id\}", ANY, self.path).replace("{name}", "sandbox")


@pytest.fixture(scope="module")
def app(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The app as it is put together, for what is routed."""
    made = create_app(settings(dsn, tmp_path_factory.mktemp("app"), {}))
    with closing(get_app_context(made)):
        yield made


@pytest.fixture(scope="module")
def doors(app: Flask) -> Collection[Door]:
    """Everything that is routed."""
    return {
        Door(method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - AUTOMATIC
    }


@pytest.fixture(scope="module")
def document(web: Web) -> Json:
    response = web.call("GET", "/openapi.json")
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    return response.json


def described(document: Json) -> dict[Door, Json]:
    return {
        Door(method.upper(), path): told
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    }


def test_what_is_routed_is_described_and_what_is_described_is_routed(document: Json, doors: Collection[Door]) -> None:
    assert described(document).keys() == doors


def test_only_what_is_public_asks_for_no_key(web: Web, document: Json, doors: Collection[Door]) -> None:
    for door in doors:
        told = described(document)[door]
        for headers in ({}, {"authorization": f"Bearer {ADMIN_KEY}x"}):
            response = web.call(door.method, door.target, b"", headers)
            if door.path in PUBLIC:
                assert (response.status, told["security"]) == (200, []), door
            else:
                assert (response.status, problem_of(response)["status"]) == (401, 401), door
                assert response.headers["www-authenticate"].lower().startswith("bearer")
                assert told["security"] == [{"key": [told["x-scope"]]}]


@pytest.fixture(scope="module")
def keys(web: Web) -> dict[frozenset[Scope], str]:
    """A key of each set of scopes."""
    api = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
    sets = [{Scope.READ}, {Scope.SUBMIT}, {Scope.READ, Scope.SUBMIT}, {Scope.ADMIN}]
    return {frozenset(one): new_key(api, scopes=[scope.value for scope in sorted(one)]) for one in sets}


def test_every_door_opens_to_the_scope_that_it_names_and_to_no_other(
    api: Server, document: Json, doors: Collection[Door], keys: dict[frozenset[Scope], str]
) -> None:
    for door in doors:
        if door.path in PUBLIC:
            continue
        wanted = Scope(described(document)[door]["x-scope"])
        for scopes, key in keys.items():
            # Nothing is done: the body is good nowhere, and the ids are nobody's.
            response = send(api, door.method, f"{door.target}?nothing=of-the-kind", b"{", key=key)
            if {wanted, Scope.ADMIN} & scopes:
                assert response.status == 400, (door, scopes, response)
            else:
                assert response.status == 403, (door, scopes, response)
                assert wanted in problem_of(response)["detail"]


def test_the_page_is_served_without_a_key_and_may_load_nothing(web: Web, document: Json) -> None:
    response = web.call("GET", "/docs")
    assert (response.status, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    page = response.body.decode()
    for told in described(document).values():
        assert f'id="{told["operationId"]}"' in page
    assert web.call("GET", "/docs").body == response.body


def test_the_command_prints_what_is_served_without_a_database(document: Json, tmp_path: Path) -> None:
    config = tmp_path / "receiver.toml"
    config.write_text(CONFIG)
    environ = {
        "RECEIVER_CONFIG": str(config),
        "RECEIVER_PUBLIC_URL": document["servers"][0]["url"],
        "DATABASE_URL": f"postgresql:///nothing?host={tmp_path}",
        **TELLS,
    }
    printed = CliRunner(env=environ).invoke(commands, ["openapi"], catch_exceptions=False)
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == document


def test_the_command_tells_every_fault_of_the_settings(tmp_path: Path) -> None:
    environ = {"RECEIVER_CONFIG": str(tmp_path / "none.toml"), "PORT": "high"}
    told = CliRunner(env=environ).invoke(commands, ["openapi"], catch_exceptions=False)
    assert (told.exit_code, told.stdout) == (2, "")
    assert "RECEIVER_CONFIG" in told.stderr
    assert "PORT" in told.stderr
