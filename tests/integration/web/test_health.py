"""Liveness without the database, readiness with it."""

import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.support.http import Response, parse_problem
from tests.support.processes import ADMIN_KEY, Web, assert_ends_well, build_provider_toml, running_web

LISTING_COUNT = 20


class CallsWithoutDatabase(NamedTuple):
    """A web process without a database, and what it responds to calls that were all made at once."""

    web: Web
    readiness: Future[Response]
    listings: Sequence[Future[tuple[Response, float]]]
    """Responses with the seconds they took."""


def list_jobs(web: Web) -> tuple[Response, float]:
    started_at = time.monotonic()
    response = web.call("GET", "/v1/jobs", b"", {"authorization": f"Bearer {ADMIN_KEY}"})
    return response, time.monotonic() - started_at


@pytest.fixture(scope="module", autouse=True)
def without_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallsWithoutDatabase]:
    """The calls are made early, because each waits some seconds for a connection."""
    directory = tmp_path_factory.mktemp("web")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(directory, f"postgresql:///nothing?host={directory}", build_provider_toml(), listener) as running,
        ThreadPoolExecutor(1 + LISTING_COUNT) as pool,
    ):
        listings = [pool.submit(list_jobs, running) for _ in range(LISTING_COUNT)]
        yield CallsWithoutDatabase(running, pool.submit(running.call, "GET", "/readyz"), listings)
        assert_ends_well(running)


def test_ready_with_database(web: Web) -> None:
    for path in ("/healthz", "/readyz"):
        assert web.call("GET", path).status == 200


def test_alive_but_not_ready_without_database(without_database: CallsWithoutDatabase) -> None:
    assert without_database.web.call("GET", "/healthz").status == 200
    response = without_database.readiness.result()
    assert response.status == 503
    assert int(response.headers["retry-after"]) > 0
    parse_problem(response)


def test_calls_without_database_fail_fast_together(without_database: CallsWithoutDatabase) -> None:
    responses, seconds = zip(*[listing.result() for listing in without_database.listings], strict=True)
    assert {response.status for response in responses} == {503}
    assert {int(response.headers["retry-after"]) > 0 for response in responses} == {True}
    assert max(seconds) < 10.0
