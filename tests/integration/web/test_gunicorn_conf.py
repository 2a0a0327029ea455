"""A wait for Postgres blocks only the request that waits."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from receiver.store.connections import Connection, connect
from tests.support.http import build_report
from tests.support.processes import build_provider_toml, find_lock_waiters, running_web, wait_for


def test_pending_commit_blocks_no_other_request_of_worker(connection: Connection, dsn: str, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    with (
        listener,
        running_web(tmp_path, dsn, build_provider_toml(), listener, WEB_CONCURRENCY="1") as web,
        closing(connect(dsn)) as blocker,
        ThreadPoolExecutor(1) as pool,
    ):
        with blocker.transaction():
            blocker.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            waiting = pool.submit(web.call_back, build_report("waits"))
            wait_for(lambda: find_lock_waiters(connection))
            assert web.call("GET", "/healthz").status == 200
            assert not waiting.done()
        assert waiting.result().status == 200
