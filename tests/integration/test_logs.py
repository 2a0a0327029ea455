"""The logs of real processes: every line is an event, whatever goes wrong."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from tests.support.api_calls import build_submission, send
from tests.support.factories import SECRET
from tests.support.http import Json, Server, build_report, sign_callback
from tests.support.ports import find_free_port
from tests.support.processes import (
    ADMIN_KEY,
    RECEIVER,
    STOP_TIMEOUT_S,
    Process,
    build_environ,
    build_provider_toml,
    is_healthy,
    running,
    wait_for,
)
from tests.support.provider import Provider, Received, Reply, accept_request, listening
from tests.tooling.log_events import parse_events_table

DOCUMENTED = {event.name for event in parse_events_table((Path(__file__).parents[2] / "docs/logs.md").read_text())}
TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TEXT = "a text that no log may have"

SCRIPT = """
import sys
import structlog
from receiver.logs import configure_logs

configure_logs(sys.argv[1], sys.argv[2])
log = structlog.get_logger("receiver")
log.info("job.created", provider="acme")
try:
    raise KeyError("name")
except KeyError:
    log.exception("job.failed")
"""


def write_logs(level: str, log_format: str) -> list[str]:
    """Write an info and an error in a process of its own; return the lines on stderr."""
    command = [sys.executable, "-c", SCRIPT, level, log_format]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_json_logs_have_one_line_per_event() -> None:
    created, failed = map(json.loads, write_logs("INFO", "json"))
    assert (created["event"], created["level"], created["provider"]) == ("job.created", "info", "acme")
    assert datetime.fromisoformat(created["timestamp"]).utcoffset() == timedelta(0)
    assert (failed["event"], failed["level"]) == ("job.failed", "error")
    assert "KeyError: 'name'" in failed["exception"]


def test_events_below_the_level_are_not_written() -> None:
    [failed] = map(json.loads, write_logs("ERROR", "json"))
    assert failed["event"] == "job.failed"


def test_console_logs_are_text() -> None:
    lines = write_logs("INFO", "console")
    assert "job.created" in lines[0]
    assert not lines[0].startswith("{")
    assert any("KeyError" in line for line in lines)


YOYO = """
import logging, sys
from receiver.logs import configure_logs

configure_logs(sys.argv[1], "json")
logging.getLogger("yoyo.migrations").info("Marking 0001_baseline applied")
logging.getLogger("yoyo.migrations").warning("a warning")
"""


@pytest.mark.parametrize(
    ("level", "messages"),
    [("INFO", ["a warning"]), ("DEBUG", ["Marking 0001_baseline applied", "a warning"]), ("ERROR", [])],
)
def test_steps_of_migrations_are_logged_at_debug_only(level: str, messages: Sequence[str]) -> None:
    result = subprocess.run([sys.executable, "-c", YOYO, level], capture_output=True, timeout=30, check=True)
    assert [json.loads(line)["message"] for line in result.stderr.splitlines()] == messages


FAULTS = """
import gevent.monkey
gevent.monkey.patch_all()
import logging, sys, threading, warnings
import gevent
from receiver.logs import configure_logs, log_greenlet_errors, set_request_id

class Broken:
    def __del__(self):
        raise ValueError("in a finalizer")

def fail(secret):
    raise ValueError("two\\nlines")

configure_logs("INFO", "json")
log_greenlet_errors()
set_request_id("r-1")
logging.getLogger("library").warning("%s of %s", "one", "two")
logging.getLogger("library").warning("%d", "no number")
logging.getLogger("library").debug("not written")
warnings.warn("deprecated", stacklevel=1)
print("half a ", end="", file=sys.stderr)
print("line\\nand \\udcff another", file=sys.stderr)
thread = threading.Thread(target=fail, args=["a-secret"], name="a-thread")
thread.start()
thread.join()
gevent.spawn(fail, "a-secret").join()
del Broken
Broken_ = type("Broken", (), {"__del__": lambda self: fail(1)})
Broken_()
fail("a-secret")
"""


def parse_lines(output: str) -> list[Json]:
    """Parse the lines of a log; each of them must be a documented event with the fields that all events have."""
    lines = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        assert line["event"] in DOCUMENTED, line
        assert line["level"] in {"debug", "info", "warning", "error", "critical"}
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)
        assert line["pid"] > 1
    return lines


def test_every_fault_of_a_process_is_an_event() -> None:
    result = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, timeout=30, check=False)
    lines = parse_lines(result.stderr)
    assert result.returncode == 1
    assert [(line["event"], line.get("message")) for line in lines[:5]] == [
        ("library.logged", "one of two"),
        ("library.logged", "%d"),
        ("library.logged", lines[2]["message"]),
        ("stderr.written", "half a line"),
        ("stderr.written", "and \udcff another"),
    ]
    assert "UserWarning: deprecated" in lines[2]["message"]
    faults = [(line["event"], line["level"], line.get("thread")) for line in lines[5:]]
    assert faults == [
        ("exception.uncaught", "error", "a-thread"),
        ("exception.uncaught", "error", None),
        ("exception.ignored", "error", None),
        ("exception.uncaught", "critical", None),
    ]
    assert all("ValueError: two\nlines" in line["exception"] for line in lines[5:])
    assert "a-secret" not in result.stderr.replace('fail(\\"a-secret\\")', "").replace('fail, \\"a-secret\\"', "")
    assert lines[0]["request_id"] == "r-1"


@dataclass(frozen=True)
class Story:
    """What happened to a service, and what its processes logged."""

    lines: Sequence[Json]
    output: str
    printed: str
    request: str
    callback_ids: Sequence[str]
    received: Sequence[Received]
    notified: Sequence[Received]

    def find(self, event: str, **fields: object) -> list[Json]:
        return [line for line in self.lines if line["event"] == event and line.items() >= fields.items()]


@pytest.fixture(scope="module")
def story(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A service whose calls, callbacks and worker fail."""
    directory, port, name = tmp_path_factory.mktemp("serve"), find_free_port(), f"c-{uuid4().hex}"
    with scratch_database(server, template=template) as dsn, listening() as provider:
        environ = build_environ(directory, dsn, build_provider_toml(base_url=f"{provider.url}/sandbox"), "serve")
        environ |= {
            "PORT": str(port),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "DEBUG",
            "LOG_CALLBACKS": "1",
            "RECEIVER_NOTIFY_HOSTS": "127.0.0.1",
            "RECEIVER_NOTIFY_NETWORKS": "127.0.0.0/8",
            "RECEIVER_NOTIFY_SECRETS": SECRET,
        }
        provider.script(name, accept_request())
        provider.script(f"notified-{name}", Reply(204))
        with running([RECEIVER, "serve"], directory / "serve.log", environ) as process:
            api = Server("127.0.0.1", port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
            process.wait_until(lambda: is_healthy(api))
            request, callback_ids = use_service(api, provider, name)
            kill_gunicorn_worker(process, api)
            assert process.stop() == 0, process.output
        received, notified = provider.find_received(name), provider.find_received(f"notified-{name}")
        lines = parse_lines(process.output)
        yield Story(lines, process.output, process.stdout, request, callback_ids, received, notified)


def use_service(api: Server, provider: Provider, name: str) -> tuple[str, list[str]]:
    """Submit a request until it is finished and notified, and do what is refused; return the ids of both."""
    payload = {"client_reference": name, "to": ["2348030000000"], "text": TEXT}
    notify_url = f"{provider.url}/x/notified-{name}"
    trace = {"x_request_id": "submission-1", "traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
    submitted = send(api, "POST", "/v1/requests", build_submission(payload=payload, notify_url=notify_url), **trace)
    assert (submitted.status, submitted.headers["x-request-id"]) == (202, "submission-1"), submitted
    wait_for(lambda: send(api, "GET", f"/v1/requests/{submitted.json['id']}").json["status"] == "accepted")
    body = build_report(f"{name}-0")
    assert api.call("POST", "/callbacks/sandbox", body, sign_callback(body)).status == 200
    forged = sign_callback(body, secret="whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM=")
    refused = api.call("POST", "/callbacks/sandbox/", body, forged | {"X-Request-Id": "forged-1"})
    assert (refused.status, refused.headers["x-request-id"]) == (401, "forged-1")
    wait_for(lambda: provider.find_received(f"notified-{name}"))
    assert send(api, "GET", "/v1/nothing", key="not-a-key").status == 404
    assert send(api, "GET", f"/v1/requests/{submitted.json['id']}", key="not-a-key").status == 401
    with closing(socket.create_connection((api.host, api.port))) as client:
        client.sendall(f"GET /callbacks/sandbox/{TEXT} HTTP/1.1\r\n\r\n".encode())
        assert b"\r\nX-Request-Id: " in client.recv(4_096)
    samples = wait_for(lambda: send(api, "GET", "/v1/callbacks?verdict=refused").json["items"])
    return submitted.json["id"], [sample["id"] for sample in samples]


def kill_gunicorn_worker(process: Process, api: Server) -> None:
    """Kill the worker of gunicorn, and wait until another one serves."""
    pid = int(re.findall(r"Booting worker with pid: (\d+)", process.output)[-1])
    os.kill(pid, signal.SIGKILL)
    process.wait_until(lambda: "SIGKILL" in process.output and is_healthy(api))


def test_every_line_of_serve_is_an_event(story: Story) -> None:
    loggers = {line["logger"] for line in story.find("library.logged")}
    assert "gunicorn.error" in loggers
    assert story.find("stderr.written", message="stopped by SIGTERM")
    assert any("SIGKILL" in line["message"] for line in story.find("library.logged", level="error"))


def test_no_line_has_a_secret_or_a_body(story: Story) -> None:
    for secret in (ADMIN_KEY, SECRET.removeprefix("whsec_"), TEXT, "a-secret-key-of-tests", "whsec_YW5vd"):
        assert secret not in story.output
    assert "callback URL of sandbox: https://receiver.example/callbacks/sandbox" in story.printed


def test_lines_of_call_have_its_request_id(story: Story) -> None:
    [call] = story.find("api_call.completed", request_id="submission-1")
    expected = {"method": "POST", "route": "/v1/requests", "status": 202, "client": "bootstrap", "key": "bootstrap"}
    assert call.items() >= {**expected, "caller": "127.0.0.1", "request": story.request}.items()
    assert call["duration_ms"] > 0
    [refused] = story.find("callback.refused")
    assert refused["callback"] in story.callback_ids
    assert (refused["request_id"], refused["caller"], refused["part"]) == ("forged-1", "127.0.0.1", "webhook-signature")
    statuses = {line["status"] for line in story.find("callback.completed", provider="sandbox")}
    assert statuses == {200, 401}


def test_calls_without_a_key_are_logged(story: Story) -> None:
    [unknown_path] = story.find("api_call.completed", status=404)
    assert (unknown_path["route"], unknown_path["client"]) == (None, None)
    [invalid_key] = story.find("api_call.completed", status=401)
    assert (invalid_key["route"], invalid_key["request"]) == ("/v1/requests/{request_id}", story.request)


def test_debug_lines_follow_a_request_by_its_ids(story: Story) -> None:
    [attempt] = story.find("attempt.completed", request=story.request)
    assert (attempt["provider"], attempt["status"]) == ("sandbox", 202)
    [recorded] = story.find("callback.recorded", provider="sandbox", verdict="accepted")
    [answered] = story.find("callback.completed", callback=recorded["callback"])
    assert answered["request_id"] == recorded["request_id"] != ""
    assert len(recorded["jobs"]) == 1
    assert story.find("attempt.claimed", providers={"sandbox": 1})
    kinds = {kind for line in story.find("batch.committed") for kind in line["items"]}
    assert kinds >= {"SubmittedCall", "VerifiedCallback", "CompletedExchange"}


def test_trace_continues_in_request_and_notification(story: Story) -> None:
    [sent], [notified] = story.received, story.notified
    [attempt] = story.find("attempt.completed", request=story.request)
    assert sent.headers["traceparent"] == f"00-{TRACE_ID}-{attempt['attempt'].replace('-', '')[16:]}-01"
    notified_trace = notified.headers["traceparent"]
    assert notified_trace.startswith(f"00-{TRACE_ID}-")
    assert notified_trace != sent.headers["traceparent"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["web", "worker", "migrate"])
def test_fault_at_start_is_an_event_if_json_is_set(command: str, tmp_path: Path) -> None:
    environ = build_environ(tmp_path, "postgresql://127.0.0.1:9/none", "[providers.x]\nkind = 'none'", command)
    with running([RECEIVER, command], tmp_path / "log", environ | {"LOG_FORMAT": "json"}) as process:
        assert process.popen.wait(STOP_TIMEOUT_S) == 2
    lines = parse_lines(process.output)
    assert "stderr.written" in {line["event"] for line in lines}
