"""The rate limit of an API key: its headers, and that all processes share it."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.api_calls import UNKNOWN_ID, create_key, send
from tests.support.api_service import CONFIG
from tests.support.http import Server, parse_problem
from tests.support.processes import assert_ends_well, running_web


def wait_for_early_minute() -> None:
    """Wait if the current minute is almost over, so that the test ends within one minute."""
    seconds_left = 60 - datetime.now(UTC).timestamp() % 60
    if seconds_left < 5:
        time.sleep(seconds_left + 0.1)


def test_every_response_has_rate_limit_headers(api: Server) -> None:
    wait_for_early_minute()
    key = create_key(api, per_minute=3)
    remaining = []
    for path in ("/v1/jobs", "/v1/jobs?limit=0", f"/v1/jobs/{UNKNOWN_ID}"):
        response = send(api, "GET", path, key=key)
        assert response.headers["ratelimit-policy"] == '"key";q=3;w=60'
        remaining.append(response.headers["ratelimit"].partition(";t=")[0])
    assert remaining == ['"key";r=2', '"key";r=1', '"key";r=0']
    refused = send(api, "GET", "/v1/jobs", key=key)
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
    assert "3 calls" in parse_problem(refused)["detail"]


@pytest.mark.slow
def test_rate_limit_is_shared_by_processes(api: Server, web_dsn: str, tmp_path: Path) -> None:
    wait_for_early_minute()
    key = create_key(api, per_minute=500)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, web_dsn, CONFIG, listener) as second,
        ThreadPoolExecutor(8) as pool,
    ):
        statuses = list(
            pool.map(lambda n: send((api, second)[n % 2], "GET", f"/v1/jobs/{UNKNOWN_ID}", key=key).status, range(560))
        )
        assert_ends_well(second)
    assert statuses.count(404) == 500
    assert statuses.count(429) == 60
