"""`receiver tail`, as a process that a signal ends."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from tests.support.command_line import CommandLine
from tests.support.command_service import Service
from tests.support.processes import ADMIN_KEY, RECEIVER
from tests.support.provider import Provider
from tests.support.stub_api import build_problem, build_reply

CURSOR = "0197e6a57f0c7.1.."
CHANGE = {
    "kind": "request",
    "at": "2026-11-23T12:00:05.678901+00:00",
    "provider": "acme",
    "id": str(uuid4()),
    "request_id": None,
    "callback_id": None,
    "operation": "send",
    "reference": None,
    "status": "queued",
    "source": None,
    "provider_status": None,
    "code": None,
    "detail": None,
    "errors": None,
    "job_status": None,
}
REFUSED = {**CHANGE, "kind": "callback", "operation": None, "status": "refused", "errors": {"timestamp": ["Too old."]}}
REPORTED = {**CHANGE, "kind": "job", "operation": None, "status": "failed", "source": "poll", "provider_status": "ERR"}


@contextmanager
def following(url: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run `receiver tail` until it follows; kill it at the end."""
    environ = {**os.environ, "RECEIVER_URL": url, "RECEIVER_KEY": ADMIN_KEY}
    command = [RECEIVER, "tail", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stderr
            assert process.stderr.readline() == "following; Ctrl-C ends\n"
            yield process
        finally:
            process.kill()


def interrupt(process: subprocess.Popen[str]) -> str:
    """End a process with SIGINT; return its messages.

    They are read from the file that `following` read a line from: `communicate` would miss what that file has buffered.
    """
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    assert process.stderr
    return process.stderr.read()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def test_tail_prints_changes_until_it_is_interrupted(service: Service, name: str) -> None:
    with following(service.url, "--json") as process:
        job = service.create_accepted_job(name)
        service.call_back(name)
        changes: list[dict[str, object]] = []
        while not changes or changes[-1]["status"] != "succeeded" or changes[-1]["id"] != job:
            changes.append(json.loads(read_line(process)))
        assert interrupt(process) == ""
    kinds = [(change["kind"], change["status"]) for change in changes]
    assert {("request", "queued"), ("job", "accepted"), ("callback", "accepted"), ("job", "succeeded")} <= set(kinds)
    assert {change["reference"] for change in changes if change["id"] == job} == {f"{name}-0"}
    assert changes[-1]["provider_status"] == "DELIVERED"


def test_tail_continues_after_an_outage(stub: Provider) -> None:
    request = str(uuid4())
    name = f"tail?kind=request&provider=acme&reference=r&request_id={request}"
    empty: dict[str, object] = {"items": [], "cursor": CURSOR, "has_gap": False}
    found = build_reply(empty | {"items": [CHANGE, REFUSED, REPORTED], "has_gap": True})
    stub.script(name, build_reply(empty))
    stub.script(f"{name}&cursor={CURSOR}", build_problem(503), found, build_reply(empty))
    options = ("--kind", "request", "--provider", "acme", "--reference", "r", "--request", request)
    with following(stub.url, *options) as process:
        assert read_line(process).split() == ["time", "kind", "status", "provider", "id", "reference", "note"]
        assert read_line(process).split()[1:] == ["request", "queued", "acme", CHANGE["id"], "send"]
        assert read_line(process).split()[2:] == ["refused", "acme", CHANGE["id"], "timestamp:", "Too", "old."]
        assert read_line(process).split()[2:] == ["failed", "acme", CHANGE["id"], "poll,", "ERR"]
        messages = interrupt(process)
    for expected in ("still following: ", "connected again", "some are left out here"):
        assert expected in messages


def test_tail_needs_a_service() -> None:
    unreachable = CommandLine("http://127.0.0.1:9")
    assert "Cannot connect" in unreachable.fails("tail")
    assert unreachable.run("tail", "--kind", "poll").exit_code == 2
