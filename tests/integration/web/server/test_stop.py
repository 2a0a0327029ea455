"""How the web process ends: in time on SIGTERM, whatever its clients do, and without its master."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.integration.web.server.clients import RawClient, build_request, parse_status
from tests.support.http import build_report, sign_callback
from tests.support.processes import RECEIVER, Web, build_environ, build_provider_toml, running, running_web, wait_for

MAX_STOP_S = 12.0
MAX_TAKEOVER_S = 3.0


@pytest.mark.slow
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


def is_listening(port: int) -> bool:
    """Return whether a process listens on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@contextmanager
def running_command(directory: Path, dsn: str, port: int, name: str) -> Iterator[Web]:
    """Run `receiver web` on a port, which it binds itself."""
    environ = build_environ(directory, dsn, build_provider_toml(), name) | {"PORT": str(port)}
    with running([RECEIVER, "web"], directory / f"{name}.log", environ) as process:
        web = Web("127.0.0.1", port, process.popen, process.log)
        web.wait_until(lambda: "Booting worker" in web.output and is_ready(web))
        yield web


def is_ready(web: Web) -> bool:
    try:
        return web.call("GET", "/readyz").status == 200
    except OSError:
        return False


@pytest.mark.slow
def test_new_master_takes_the_port_of_a_killed_one(dsn: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running_command(tmp_path, dsn, port, "old") as old, closing(RawClient(old).socket) as client:
        body = build_report("ref-of-takeover")
        headers = [f"{name}: {value}" for name, value in sign_callback(body).items()]
        client.sendall(build_request("POST", "/callbacks/sandbox", f"Content-Length: {len(body)}", *headers) + body[:9])
        old.popen.kill()
        old.popen.wait()
        wait_for(lambda: not is_listening(port), MAX_TAKEOVER_S)
        client.sendall(body[9:])
        assert parse_status(client.recv(65_536)) == 200
        client.close()
        with running_command(tmp_path, dsn, port, "new") as new:
            assert "Connection in use" not in new.output
            wait_for(lambda: not has_processes(old.popen.pid))
            assert "Traceback" not in old.output


def has_processes(session: int) -> bool:
    """Return whether a process of a session is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def test_stop_answers_what_lies_in_the_listen_queue(dsn: str, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=256) as listener,
        running_web(tmp_path, dsn, build_provider_toml(), listener) as web,
        ExitStack() as stack,
    ):
        listener.close()
        [worker] = find_children(web.popen.pid)
        os.kill(worker, signal.SIGSTOP)
        clients = [RawClient(web) for _ in range(200)]
        for client in clients:
            stack.enter_context(closing(client.socket))
            client.send(build_request("GET", "/healthz"))
        web.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: "Handling signal: term" in web.output)
        time.sleep(0.3)  # the worker then stops as soon as it continues, without another turn of its loop
        os.kill(worker, signal.SIGCONT)
        responses = [client.read_all() for client in clients]
        assert [parse_status(response) for response in responses if response] == [200] * len(clients)
        assert all(b"connection: close\r\n" in response.lower() for response in responses)
        assert web.popen.wait(MAX_STOP_S) == 0


def find_children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
