"""SIGHUP: web and worker read `receiver.toml` again, under load, and refuse a file with a fault."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import connect
from tests.support.api_calls import build_submission, send
from tests.support.factories import SECRET
from tests.support.http import Server, build_report, exchange, sign_callback
from tests.support.processes import (
    ADMIN_KEY,
    Process,
    Web,
    assert_ends_well,
    build_provider_toml,
    running_web,
    running_worker,
)
from tests.support.provider import Reply, listening, reply_after
from tests.support.scene import open_scene

OTHER_SECRET = "whsec_bm90IHNvIHNlY3JldCBhZnRlciBhbGw="
ACCOUNT = '\n[providers.sandbox.accounts.{name}]\nsignature = {{ secrets = ["{secret}"] }}\n'


@pytest.fixture
def reload_dsn(server: str, template: str) -> Iterator[str]:
    """The DSN of a database of the test's own."""
    with scratch_database(server, template=template) as scratch_dsn:
        yield scratch_dsn


def reload(process: Process, file: Path, config: str, event: str = "settings.reloaded", workers: int = 1) -> None:
    """Write the file, send SIGHUP, and wait until all processes have logged the result."""
    before = process.output.count(event)
    file.write_text(config)
    process.popen.send_signal(signal.SIGHUP)
    process.wait_until(lambda: process.output.count(event) == before + workers)


def find_children(pid: int) -> list[int]:
    """Return the ids of the processes that a process has forked."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def calling_back(web: Web, statuses: list[int]) -> Iterator[None]:
    """Deliver callbacks on connections that stay open, until the end of the context."""
    finished = threading.Event()

    def deliver() -> None:
        with closing(web.connect()) as connection:
            while not finished.is_set():
                body = build_report(f"ref-{uuid4().hex}")
                path, headers = "/callbacks/sandbox", sign_callback(body)
                statuses.append(exchange(connection, "POST", path, body, headers).status)

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        finished.set()
        for thread in threads:
            thread.join()


@pytest.mark.slow
def test_reloads_under_load_fail_no_callback(reload_dsn: str, tmp_path: Path) -> None:
    statuses: list[int] = []
    base = build_provider_toml()
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(tmp_path, reload_dsn, base, listener, WEB_CONCURRENCY="2") as web,
    ):
        [file] = tmp_path.glob("*.toml")
        with calling_back(web, statuses):
            for number in range(4):
                name, body = f"account-{number}", build_report("ref-1")
                assert web.call_back(body, f"sandbox/a/{name}", secret=OTHER_SECRET).status == 404
                reload(web, file, base + ACCOUNT.format(name=name, secret=OTHER_SECRET), workers=2)
                assert web.call_back(body, f"sandbox/a/{name}", secret=OTHER_SECRET).status == 200
        assert_ends_well(web)
    assert len(statuses) >= 20
    assert set(statuses) == {200}


def test_file_with_a_fault_is_refused_as_a_whole(reload_dsn: str, tmp_path: Path) -> None:
    base = build_provider_toml()
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(tmp_path, reload_dsn, base, listener, WEB_CONCURRENCY="1") as web,
    ):
        [file] = tmp_path.glob("*.toml")
        faulty = ACCOUNT.format(name="good", secret=OTHER_SECRET) + ACCOUNT.format(name="bad", secret="short")
        assert "receiver_settings_last_reload_successful 1.0" in web.call("GET", "/metrics").body.decode()
        reload(web, file, base + faulty, "settings.reload_refused")
        assert "receiver_settings_last_reload_successful 0.0" in web.call("GET", "/metrics").body.decode()
        assert "providers.sandbox.accounts.bad.signature.secrets" in web.output
        assert web.call_back(build_report("ref-1"), "sandbox/a/good", secret=OTHER_SECRET).status == 404
        assert web.call_back(build_report("ref-1")).status == 200
        unset = base + ACCOUNT.format(name="good", secret="env:NEW_SECRET")
        reload(web, file, unset, "The environment variable NEW_SECRET is not set.")
        assert "does not see new environment variables: start it again, or use file:PATH" in web.output
        reload(web, file, base + ACCOUNT.format(name="good", secret=OTHER_SECRET))
        assert web.call_back(build_report("ref-1"), "sandbox/a/good", secret=OTHER_SECRET).status == 200
        assert "receiver_settings_last_reload_successful 1.0" in web.call("GET", "/metrics").body.decode()
        assert_ends_well(web)


@pytest.mark.slow
def test_worker_in_place_of_another_starts_with_the_last_good_file(reload_dsn: str, tmp_path: Path) -> None:
    base = build_provider_toml()
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(tmp_path, reload_dsn, base, listener, WEB_CONCURRENCY="1") as web,
    ):
        [file] = tmp_path.glob("*.toml")
        reload(web, file, base + ACCOUNT.format(name="good", secret=OTHER_SECRET))
        reload(web, file, "[providers.sandbox]\n", "settings.reload_refused")
        [worker] = find_children(web.popen.pid)
        os.kill(worker, signal.SIGKILL)
        web.wait_until(lambda: find_children(web.popen.pid) not in ([], [worker]))
        assert web.call_back(build_report("ref-1"), "sandbox/a/good", secret=OTHER_SECRET).status == 200
        assert web.call_back(build_report("ref-1")).status == 200
        reload(web, file, base)
        assert web.call_back(build_report("ref-1"), "sandbox/a/good", secret=OTHER_SECRET).status == 404
        assert_ends_well(web)


@pytest.mark.slow
def test_reload_changes_api_metrics_and_document(reload_dsn: str, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(tmp_path, reload_dsn, build_provider_toml(), listener, WEB_CONCURRENCY="1") as web,
    ):
        [file] = tmp_path.glob("*.toml")
        api = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert b'"chain"' not in web.call("GET", "/openapi.json").body
        reload(web, file, build_provider_toml("chain"))
        assert [item["name"] for item in send(api, "GET", "/v1/providers").json["items"]] == ["chain"]
        assert b'"chain"' in web.call("GET", "/openapi.json").body
        assert send(api, "POST", "/v1/requests", build_submission(provider="chain")).status == 202
        assert send(api, "POST", "/v1/requests", build_submission(provider="sandbox")).status == 400
        assert (
            b'receiver_callbacks_total{outcome="acknowledged",provider="chain"} 0.0' in web.call("GET", "/metrics").body
        )
        assert_ends_well(web)


def test_rotated_secret_file_is_read_again(reload_dsn: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    config = build_provider_toml().replace(SECRET, f"file:{secret}")
    assert "file:" in config
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        running_web(tmp_path, reload_dsn, config, listener, WEB_CONCURRENCY="1") as web,
    ):
        [file] = tmp_path.glob("*.toml")
        secret.write_text(OTHER_SECRET)
        assert web.call_back(build_report("ref-1")).status == 200
        reload(web, file, config)
        assert web.call_back(build_report("ref-1")).status == 401
        assert web.call_back(build_report("ref-1"), secret=OTHER_SECRET).status == 200
        assert_ends_well(web)


def test_worker_takes_over_added_changed_and_removed_providers(reload_dsn: str, tmp_path: Path) -> None:
    with listening() as fake_provider, open_scene(reload_dsn, fake_provider) as scene, listening() as other_provider:
        names = [f"reload-{uuid4().hex}" for _ in range(4)]
        for name in names:
            scene.script(name, Reply(200, b'{"items": []}'))
            other_provider.script(name, Reply(200, b'{"items": []}'))
        first = scene.build_provider_toml("kept", "max_concurrency = 3") + scene.build_provider_toml("removed", "")
        with running_worker(tmp_path, reload_dsn, first) as worker, closing(connect(reload_dsn)) as connection:
            [file] = tmp_path.glob("*.toml")
            scene.submit("kept", names[0])
            worker.wait_until(lambda: len(fake_provider.find_received(names[0])) == 1)
            added = build_provider_toml("added", other_provider.url)
            reload(worker, file, scene.build_provider_toml("kept", "max_concurrency = 1") + added)
            scene.submit("added", names[1])
            worker.wait_until(lambda: len(other_provider.find_received(names[1])) == 1)
            scene.submit("removed", names[2])
            scene.submit("kept", names[3])
            worker.wait_until(lambda: len(fake_provider.find_received(names[3])) == 1)
            query = "SELECT slots FROM concurrency_shares WHERE provider = 'kept'"
            worker.wait_until(lambda: connection.execute(query).fetchall() == [(1,)])
            [(status,)] = connection.execute("SELECT status FROM requests WHERE provider = 'removed'").fetchall()
            assert (status, fake_provider.find_received(names[2])) == ("queued", [])
            reload(worker, file, "[providers.kept]\n", "settings.reload_refused")
            assert_ends_well(worker)


@pytest.mark.slow
def test_waiting_work_of_a_removed_provider_returns_to_the_queue(reload_dsn: str, tmp_path: Path) -> None:
    ended, sent, waiting = names = [f"reload-{uuid4().hex}" for _ in range(3)]
    replied = threading.Event()
    with listening() as fake_provider, open_scene(reload_dsn, fake_provider) as scene:
        for name in names:
            reply = Reply(200, b'{"items": []}')
            scene.script(name, reply if name == ended else reply_after(replied, reply))
        config = scene.build_provider_toml("removed", "max_concurrency = 1")
        with running_worker(tmp_path, reload_dsn, config) as worker:
            [file] = tmp_path.glob("*.toml")
            (_,), (first,), (second,) = [scene.submit("removed", name) for name in names]
            scene.wait_until(second, "sending")  # claimed ahead, because another one has ended
            worker.wait_until(lambda: len(fake_provider.find_received(sent)) == 1)
            reload(worker, file, build_provider_toml("other"))
            detail = scene.wait_until(second, "queued").detail
            assert detail is not None
            assert "the provider was removed from the configuration" in detail
            replied.set()
            scene.wait_until_settled(first)
            assert fake_provider.find_received(waiting) == []
            reload(worker, file, config)
            scene.wait_until_settled(second)
            assert len(fake_provider.find_received(waiting)) == 1
            assert_ends_well(worker)
