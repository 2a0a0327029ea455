"""SIGTERM ends the web process in time, whatever its clients do."""

import signal
import socket
import time
from contextlib import closing
from pathlib import Path

from tests.integration.web.server.clients import RawClient, build_request, parse_status
from tests.support.processes import build_provider_toml, running_web

MAX_STOP_S = 12.0


def test_stop_waits_only_briefly_for_clients(dsn: str, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path, dsn, build_provider_toml(), listener) as limited,
    ):
        idle, late, stalled, unread = (RawClient(limited, receive_buffer=4_096) for _ in range(4))
        with closing(idle.socket), closing(late.socket), closing(stalled.socket), closing(unread.socket):
            stalled.send(build_request("POST", "/callbacks/sandbox", "Content-Length: 9"))
            unread.send(build_request("GET", "/openapi.json") * 400)
            time.sleep(0.5)
            started = time.monotonic()
            limited.popen.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            late.send(build_request("GET", "/healthz"))
            assert parse_status(late.read_all()) == 200
            assert time.monotonic() - started < MAX_STOP_S / 4
            assert idle.read_all() == b""
            assert parse_status(stalled.read_all()) == 503
            assert limited.popen.wait(MAX_STOP_S) == 0, limited.output
            assert time.monotonic() - started < MAX_STOP_S
            assert "Traceback" not in limited.output
