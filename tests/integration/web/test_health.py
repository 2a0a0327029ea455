"""Liveness without the database, readiness with it."""

import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from receiver.store.connections import connect
from receiver.store.migrate import migrate
from receiver.web.problems import ProblemType
from tests.support.http import Response, build_report, parse_problem
from tests.support.processes import ADMIN_KEY, Web, assert_ends_well, build_provider_toml, running_web, wait_for

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


def test_not_ready_while_the_server_is_read_only(server: str, dsn: str, tmp_path: Path) -> None:
    alter = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
    name = sql.Identifier(str(conninfo_to_dict(dsn)["dbname"]))
    with (
        closing(connect(server)) as operator,
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, dsn, build_provider_toml(), listener, WEB_CONCURRENCY="1") as web,
    ):
        operator.execute(alter.format(name, sql.Literal("on")))
        problem = parse_problem(wait_for(lambda: find_refusal(web)), ProblemType.STORE_UNAVAILABLE)
        assert problem["detail"].startswith("Not ready: commits (read_only)")
        assert web.call_back(build_report("ref-1")).status == 503
        operator.execute(alter.format(name, sql.Literal("off")))
        wait_for(lambda: web.call_back(build_report("ref-1")).status == 200, timeout_s=4.0)
        wait_for(lambda: web.call("GET", "/readyz").status == 200, timeout_s=4.0)
        events = [line for line in web.output.splitlines() if "store." in line]
        assert len(events) == 2, events
        assert_ends_well(web)


def find_refusal(web: Web) -> Response | None:
    response = web.call("GET", "/readyz")
    return response if response.status == 503 else None


@pytest.mark.slow
def test_service_on_an_unmigrated_database_names_the_remedy(empty_database: str, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, empty_database, build_provider_toml(), listener, WEB_CONCURRENCY="1") as web,
    ):
        response = wait_for(lambda: find_refusal(web))
        assert parse_problem(response)["detail"].startswith("Not ready: schema (not_migrated)")
        assert web.call_back(build_report("ref-1")).status == 503
        migrate(empty_database)
        wait_for(lambda: web.call_back(build_report("ref-1")).status == 200, timeout_s=4.0)
        assert web.output.count("receiver migrate") == 1
        assert_ends_well(web)
