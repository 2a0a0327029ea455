"""The counts of web processes are exact while workers are stopped and replaced under load."""

import os
import signal
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Lock

import pytest

from receiver.store.connections import Connection
from tests.support.http import build_report, exchange, sign_callback
from tests.support.metrics import Scrape
from tests.support.processes import Web, build_provider_toml, running_web, wait_for

CALLBACKS, SENDERS, WORKERS = 10_000, 8, 4
CALLBACKS_PER_RESTART, CALLBACKS_PER_RELOAD = 500, 1_250

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes through /proc"),
]


def scrape_server(web: Web) -> Scrape:
    response = web.call("GET", "/metrics")
    assert response.status == 200
    return Scrape(response.body.decode())


def list_workers(web: Web) -> list[int]:
    master = web.popen.pid
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


class Sender:
    """Sends callbacks from several threads, and stops workers meanwhile.

    Attributes:
        resent: how many callbacks were sent again, because their worker was stopped.
        restarts: how many workers were stopped.
    """

    def __init__(self, web: Web) -> None:
        self.resent = 0
        self.restarts = 0
        self._web = web
        self._acknowledged = 0
        self._lock = Lock()

    def send(self, sender: int) -> None:
        """Send the callbacks of one thread until each is acknowledged."""
        connection = self._web.connect()
        for number in range(sender, CALLBACKS, SENDERS):
            body = build_report(f"ref-{number}")
            headers = sign_callback(body)
            while not self._deliver(connection, body, headers):
                connection.close()
                connection = self._web.connect()
            self._count()
        connection.close()

    def _deliver(self, connection: HTTPConnection, body: bytes, headers: Mapping[str, str]) -> bool:
        with suppress(OSError, HTTPException):
            response = exchange(connection, "POST", "/callbacks/sandbox", body, headers)
            assert response.status in {200, 503}, response
            if response.status == 200:
                return True
        with self._lock:
            self.resent += 1
        return False

    def _count(self) -> None:
        """Count an acknowledged callback; by their number, stop a worker or have all reload."""
        with self._lock:
            self._acknowledged += 1
            if self._acknowledged % CALLBACKS_PER_RESTART == 0:
                # The oldest one, which serves: the youngest may not have started yet.
                os.kill(list_workers(self._web)[0], signal.SIGTERM)
                self.restarts += 1
            elif self._acknowledged % CALLBACKS_PER_RELOAD == 0:
                self._web.popen.send_signal(signal.SIGHUP)


def test_counts_are_exact_while_workers_are_replaced(dsn: str, connection: Connection, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(tmp_path, dsn, build_provider_toml(), listener, WEB_CONCURRENCY=str(WORKERS)) as web,
    ):
        wait_for(lambda: len(list_workers(web)) == WORKERS)
        sender = Sender(web)
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(sender.send, range(SENDERS)))
        assert sender.restarts == CALLBACKS // CALLBACKS_PER_RESTART

        [(stored,)] = connection.execute("SELECT count(*) FROM callbacks").fetchall()
        [(jobs,)] = connection.execute("SELECT count(*) FROM jobs WHERE status = 'succeeded'").fetchall()
        assert jobs == CALLBACKS
        assert CALLBACKS <= stored <= CALLBACKS + sender.resent
        # Each count is at most a second old.
        wait_for(lambda: scrape_server(web).get("receiver_callbacks_total", outcome="acknowledged") == stored, 15.0)
        metrics = scrape_server(web)
        assert metrics.get("receiver_callback_duration_seconds_count", outcome="acknowledged") == stored
        assert metrics.get("receiver_callback_duration_seconds_bucket", outcome="acknowledged", le="+Inf") == stored
        assert metrics.get("receiver_callbacks_total", outcome="broken") == 0
        assert metrics.get("receiver_committed_items_total", queue="callbacks") == stored
        assert metrics.get("receiver_callbacks_waiting") == 0
        wait_for(lambda: scrape_server(web).get("receiver_processes") == WORKERS)
        assert web.stop() == 0
        assert "Traceback" not in web.output, web.output
