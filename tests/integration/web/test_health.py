"""Liveness without the database, readiness with it."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.http import Response, parse_problem
from tests.support.processes import ADMIN_KEY, Web, assert_ends_well, build_provider_toml, running_web


@pytest.fixture(scope="module", autouse=True)
def web_without_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, Future[Response]]]:
    """A web process without a database, and its readiness, which is requested early because it takes a while."""
    directory = tmp_path_factory.mktemp("web")
    with (
        ThreadPoolExecutor(1) as pool,
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(directory, f"postgresql:///nothing?host={directory}", build_provider_toml(), listener) as running,
    ):
        yield running, pool.submit(running.call, "GET", "/readyz")
        assert_ends_well(running)


def test_ready_with_database(web: Web) -> None:
    for path in ("/healthz", "/readyz"):
        assert web.call("GET", path).status == 200


def test_alive_but_not_ready_without_database(web_without_database: tuple[Web, Future[Response]]) -> None:
    web, readiness = web_without_database
    assert web.call("GET", "/healthz").status == 200
    response = readiness.result()
    assert response.status == 503
    assert int(response.headers["retry-after"]) > 0
    parse_problem(response)


def test_calls_without_database_fail_fast_together(web_without_database: tuple[Web, Future[Response]]) -> None:
    web, _ = web_without_database
    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        responses = list(pool.map(lambda _: web.call("GET", "/v1/jobs", b"", headers), range(20)))
    assert {response.status for response in responses} == {503}
    assert {int(response.headers["retry-after"]) > 0 for response in responses} == {True}
    assert time.monotonic() - began < 10.0
