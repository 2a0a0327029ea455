"""One web process for all tests of the API. They share its database, so each test creates the objects it checks."""

import re
import socket
from collections.abc import Collection, Iterator
from contextlib import closing

import pytest
from flask import Flask

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from receiver.web.app import create_app
from receiver.web.context import get_app_context
from tests.support.api_routes import AUTOMATIC, Route
from tests.support.api_service import CONFIG, NOTIFY_ENVIRON
from tests.support.factories import settings
from tests.support.http import Json, Server
from tests.support.processes import ADMIN_KEY, Web, assert_ends_well, running_web


@pytest.fixture(scope="session")
def web_dsn(server: str, template: str) -> Iterator[str]:
    """The DSN of the database of `web`."""
    with scratch_database(server, template=template) as scratch_dsn:
        yield scratch_dsn


@pytest.fixture(scope="session")
def web(web_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """The web process."""
    directory = tmp_path_factory.mktemp("web")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(directory, web_dsn, CONFIG, listener, **NOTIFY_ENVIRON) as running,
    ):
        yield running
        assert_ends_well(running)


@pytest.fixture
def web_connection(web_dsn: str) -> Iterator[Connection]:
    """A connection to the database of `web`."""
    with closing(connect(web_dsn)) as connection:
        yield connection


@pytest.fixture
def api(web: Web) -> Server:
    """The web process, called with the bootstrap key."""
    return Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})


@pytest.fixture(scope="module")
def app(web_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The app, for its routes."""
    created = create_app(settings(web_dsn, tmp_path_factory.mktemp("app"), {}))
    with closing(get_app_context(created)):
        yield created


@pytest.fixture(scope="module")
def routes(app: Flask) -> Collection[Route]:
    """All routes of the app but those of the admin pages, which are for people."""
    return {
        Route(method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - AUTOMATIC
        if not rule.endpoint.startswith("admin.")
    }


@pytest.fixture(scope="module")
def document(web: Web) -> Json:
    """The OpenAPI document as it is served."""
    response = web.call("GET", "/openapi.json")
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    return response.json
