"""The HTTP server of a worker's metrics: its paths, its limits, and its end."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from receiver.cli.processes import WORKER
from tests.support.http import Server
from tests.support.ports import find_free_port
from tests.support.processes import STOP_TIMEOUT_S, Process, assert_ends_well, build_environ, running, running_worker


class MeasuredWorker(NamedTuple):
    """A worker, and its metrics."""

    process: Process
    metrics: Server


@pytest.fixture
def measured_worker(dsn: str, tmp_path: Path) -> Iterator[MeasuredWorker]:
    """A worker without providers that serves its metrics."""
    port = find_free_port()
    with running_worker(tmp_path, dsn, "", environ={"RECEIVER_METRICS_PORT": str(port)}) as process:
        yield MeasuredWorker(process, Server("127.0.0.1", port))


def test_only_metrics_are_served_and_clients_do_not_delay_the_end(measured_worker: MeasuredWorker) -> None:
    server = measured_worker.metrics
    response = server.call("GET", "/metrics")
    assert (response.status, response.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"\nreceiver_worker_heartbeat_timestamp_seconds " in response.body
    assert (server.call("HEAD", "/metrics").status, server.call("HEAD", "/metrics").body) == (200, b"")
    assert server.call("POST", "/metrics").status == 405
    assert server.call("GET", "/").status == 404
    with socket.create_connection((server.host, server.port)) as idle:
        idle.sendall(b"GET /metrics HTTP/1.1\r\n")
        started = time.monotonic()
        assert_ends_well(measured_worker.process)
        assert time.monotonic() - started < 3.0


def test_port_in_use_is_an_error_with_remedy(dsn: str, tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = str(listener.getsockname()[1])
        environ = {**build_environ(tmp_path, dsn, "", "worker"), "RECEIVER_METRICS_PORT": port}
        with running(WORKER, tmp_path / "worker.log", environ) as process:
            assert process.popen.wait(STOP_TIMEOUT_S) == 1
            assert f"RECEIVER_METRICS_PORT: Cannot listen on port {port}: Address already in use." in process.output
            assert "port of its own" in process.output
            assert "Traceback" not in process.output
