"""The calls of the commands to the API: how arguments are sent, and how problems are explained."""

import json
import socket
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest

from receiver.web.problems import DETAILS, ProblemType
from tests.support.api_calls import UNKNOWN_ID
from tests.support.command_line import CommandLine
from tests.support.command_service import Service
from tests.support.provider import Provider, Reply
from tests.support.stub_api import (
    JOB_ID,
    JOBS,
    build_job_document,
    build_page,
    build_problem,
    build_reply,
    hang_up_once,
)
from tests.support.tls import running_https_server, write_certificate


def test_arguments_are_escaped_in_paths(service: Service) -> None:
    for name in ("other/pause?", "other/pause#", "../providers/other", "other%2fpause", "é"):
        assert service.run("provider", "resume", name).exit_code == 1
        assert service.run("provider", "pause", name).exit_code == 1
    assert not any(item["paused"] for item in service.json("provider", "list")["items"])


@pytest.mark.parametrize(
    "command", [("job", "show"), ("request", "show"), ("callback", "show"), ("key", "revoke"), ("job", "wait")]
)
def test_unknown_id_fails_and_malformed_id_is_a_usage_error(service: Service, command: tuple[str, ...]) -> None:
    assert "No such" in service.fails(*command, UNKNOWN_ID)
    service.fails(*command, "7", code=2)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            build_problem(400, "see errors", errors={"payload": {"to": {"1": ["not text"]}}}),
            "see errors.\npayload.to.1: not text",
        ),
        (build_problem(401), "Set RECEIVER_KEY"),
        (build_problem(403, "needs the scope read"), "needs the scope read. Set RECEIVER_KEY"),
        (build_problem(404, "no job has this id"), "no job has this id"),
        (build_problem(409, "it is final"), "it is final"),
        (build_problem(429, headers={"retry_after": "3600"}), "Try again in 3600 s"),
        (build_problem(429), "limit was lifted"),
        (build_problem(500), "The service failed with 500"),
        (build_problem(503, headers={"retry_after": "7"}), "Try again in 7 s"),
        (build_reply([], 400), "400"),
        (build_reply(b"<html>", 200), "Set RECEIVER_URL"),
        (build_reply(b"<html>", 301, location="https://receiver.example"), "redirects to https://receiver.example"),
        (build_reply(b"<html>", 502), "behind it is down"),
        (Reply(raw=(b"SSH-2.0-OpenSSH\r\n",)), "No response from"),
        (Reply(raw=()), "No response from"),
        (Reply(reset=True, raw=()), "No response from"),
    ],
)
def test_error_responses_are_explained(stub: Provider, command: CommandLine, reply: Reply, expected: str) -> None:
    stub.script(JOB_ID, reply)
    if reply.headers.get("retry-after") is None and reply.status == 429:
        stub.script(JOB_ID, reply, build_problem(409, "limit was lifted"))
    output = command.fails("job", "show", JOB_ID)
    assert expected in output


@pytest.mark.parametrize("kind", [ProblemType.OVERLOADED, ProblemType.STORE_UNAVAILABLE, ProblemType.QUEUE_FULL])
def test_advice_to_try_again_is_given_once(stub: Provider, command: CommandLine, kind: ProblemType) -> None:
    stub.script(JOB_ID, build_problem(503, DETAILS[kind], headers={"retry_after": "7"}))
    output = command.fails("job", "show", JOB_ID)
    assert output.count("ry again") == 1
    assert output.endswith(". Try again in 7 s.\n")


def test_exceeded_rate_limit_is_waited_for(stub: Provider, command: CommandLine) -> None:
    job_id = str(uuid4())
    stub.script(job_id, build_problem(429, headers={"retry_after": "1"}), build_reply(build_job_document(id=job_id)))
    shown = command.run("job", "show", job_id, "--json")
    assert json.loads(shown.stdout)["id"] == job_id
    assert "continuing in 1 s" in shown.stderr


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("receiver.example", "RECEIVER_URL"),
        ("http://", "RECEIVER_URL"),
        ("http://[::1", "RECEIVER_URL"),
        ("http://127.0.0.1:99999", "RECEIVER_URL"),
        ("http://user:secret@127.0.0.1", "RECEIVER_URL"),
        ("http://127.0.0.1/\r\nx: y", "RECEIVER_URL"),
    ],
)
def test_invalid_url_is_a_usage_error(url: str, expected: str) -> None:
    assert expected in CommandLine(url).fails("job", "list", code=2)


def test_invalid_key_is_a_usage_error(command: CommandLine) -> None:
    assert "RECEIVER_KEY" in command.with_key("a\nb").fails("job", "list", code=2)


def test_receiver_url_may_end_with_v1(stub: Provider) -> None:
    stub.script(JOBS, build_page())
    for ending in ("/", "/v1", "/v1/", "/below/v1"):
        assert CommandLine(stub.url + ending).json("job", "list")["items"] == []
    assert {received.path for received in stub.find_received(JOBS)} == {f"/v1/{JOBS}", f"/below/v1/{JOBS}"}


def test_lost_response_to_an_action_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server_thread = Thread(target=hang_up_once, args=(listener,))
        server_thread.start()
        output = CommandLine(f"http://127.0.0.1:{listener.getsockname()[1]}").fails("request", "retry", JOB_ID)
        server_thread.join()
    assert "may have been carried out" in output


def test_arguments_are_escaped_in_queries(stub: Provider, command: CommandLine) -> None:
    stub.script("callbacks?provider=a%26verdict%3Drefused%23+%C3%A9&limit=50", build_page())
    assert command.json("callback", "list", "--provider", "a&verdict=refused# é")["items"] == []


def test_certificate_of_an_unknown_ca_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = write_certificate(tmp_path / "service.pem", "localhost")
    with running_https_server(certificate) as server:
        command = CommandLine(server.url("/200"))
        assert "set SSL_CERT_FILE to the CA's certificate" in command.fails("job", "list")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert "responded with 200 and no JSON" in command.fails("job", "list")


def test_url_with_tls_of_a_service_without_is_explained(stub: Provider) -> None:
    assert "begin the URL with http://" in CommandLine(stub.url.replace("http", "https")).fails("job", "list")
