"""Error messages of the commands, and the output of text from outside, in pipes and terminals."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest

from tests.support.command_line import CommandLine
from tests.support.processes import RECEIVER
from tests.support.provider import Provider, Reply, listening

JOB_ID = "018f0000-0000-7000-8000-000000000000"
HOSTILE = "[bold]x[/] \x1b]0;title\x07\x9b31m\r\n\u202eevil\x7f"
ESCAPED = r"[bold]x[/] \x1b]0;title\x07\x9b31m\r\n\u202eevil\x7f"
JOBS = "jobs?limit=50"


@pytest.fixture(scope="module")
def stub() -> Iterator[Provider]:
    """An HTTP server with scripted replies, by the last segment of the path."""
    with listening() as server:
        yield server


@pytest.fixture
def command(stub: Provider) -> CommandLine:
    return CommandLine(stub.url)


def build_reply(document: object, status: int = 200, **headers: str) -> Reply:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def build_problem(status: int, detail: str = "a detail", **more: Any) -> Reply:
    headers = more.pop("headers", {})
    return build_reply(
        {"type": "about:blank", "title": "A title", "status": status, "detail": detail, **more}, status, **headers
    )


def build_job(**overrides: Any) -> dict[str, Any]:
    time = "2026-11-23T12:00:05.678901+00:00"
    return {
        "id": JOB_ID,
        "provider": "acme",
        "reference": "ref-1",
        "request_id": None,
        "status": "failed",
        "disputed": False,
        "unmatched": True,
        "accepted_at": time,
        "finished_at": time,
        "deadline_at": time,
        "events": [],
    } | overrides


def build_event(**overrides: Any) -> dict[str, Any]:
    names = ("source", "status", "provider_status", "code", "detail", "effect", "occurred_at", "callback_id", "actor")
    return dict.fromkeys(names) | {"received_at": "2026-11-23T12:00:05Z"} | overrides


def build_page(*items: object) -> Reply:
    return build_reply({"items": items, "next_cursor": None})


def start_command(command: CommandLine, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    names = ("PATH", "HOME", "LANG")
    environ = {name: os.environ[name] for name in names if name in os.environ} | {"RECEIVER_URL": command.url}
    environ |= options.pop("environ", {})
    return subprocess.Popen(
        [RECEIVER, *arguments],
        env=environ,
        stderr=subprocess.PIPE,
        preexec_fn=_restore_sigint,  # noqa: PLW1509  # no threads run yet that could hold a lock
        **options,
    )


def _restore_sigint() -> None:
    """Restore the default handler: a shell makes background processes ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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


def test_exceeded_rate_limit_is_waited_for(stub: Provider, command: CommandLine) -> None:
    job_id = str(uuid4())
    stub.script(job_id, build_problem(429, headers={"retry_after": "1"}), build_reply(build_job(id=job_id)))
    shown = command.run("job", "show", job_id, "--json")
    assert json.loads(shown.stdout)["id"] == job_id
    assert "continuing in 1 s" in shown.stderr


def test_job_wait_tolerates_an_outage(stub: Provider, command: CommandLine) -> None:
    job_id = str(uuid4())
    still = build_reply(build_job(id=job_id, status="accepted"))
    stub.script(job_id, still, build_problem(503), build_reply(build_job(id=job_id, status="succeeded")))
    waited = command.run("job", "wait", job_id)
    assert waited.exit_code == 0
    assert "still waiting" in waited.stderr
    assert stub.find_received(job_id)[-1].headers["prefer"] == "wait=30"


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


def test_lost_response_to_submit_names_the_idempotency_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server_thread = Thread(target=hang_up_once, args=(listener,))
        server_thread.start()
        submit = ("request", "submit", "acme", "send", "--idempotency-key", "the-key")
        output = CommandLine(f"http://127.0.0.1:{listener.getsockname()[1]}").fails(*submit)
        server_thread.join()
    assert "--idempotency-key the-key" in output


def test_lost_response_to_an_action_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server_thread = Thread(target=hang_up_once, args=(listener,))
        server_thread.start()
        output = CommandLine(f"http://127.0.0.1:{listener.getsockname()[1]}").fails("request", "retry", JOB_ID)
        server_thread.join()
    assert "may have been carried out" in output


def hang_up_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with closing(connection):
        connection.recv(1 << 16)


def test_arguments_are_escaped_in_queries(stub: Provider, command: CommandLine) -> None:
    stub.script("callbacks?provider=a%26verdict%3Drefused%23+%C3%A9&limit=50", build_page())
    assert command.json("callback", "list", "--provider", "a&verdict=refused# é")["items"] == []


def test_text_from_outside_is_escaped(stub: Provider, command: CommandLine) -> None:
    hostile = build_job(
        provider=HOSTILE, reference=HOSTILE, events=[build_event(detail=HOSTILE, provider_status=HOSTILE)]
    )
    stub.script(JOB_ID, build_reply(hostile))
    stub.script(JOBS, build_page(hostile))
    shown, listed = command.ok("job", "show", JOB_ID), command.ok("job", "list")
    assert shown.count(ESCAPED) == 4
    assert listed.count(ESCAPED) == 2
    for text in (shown, listed, command.ok("job", "show", JOB_ID, "--json")):
        assert all(character.isprintable() or character == "\n" for character in text)
    assert command.json("job", "show", JOB_ID) == hostile


def test_error_messages_from_outside_are_escaped(stub: Provider, command: CommandLine) -> None:
    stub.script(JOB_ID, build_problem(409, HOSTILE, errors={HOSTILE: [HOSTILE]}))
    output = command.fails("job", "show", JOB_ID)
    assert all(character.isprintable() or character == "\n" for character in output)
    assert "[bold]x[/] \\x1b" in output


def test_callback_body_is_printed_line_by_line(stub: Provider, command: CommandLine) -> None:
    document = {
        "id": JOB_ID,
        "provider": "acme",
        "received_at": "2026-11-23T12:00:05Z",
        "verdict": "refused",
        "method": "POST",
        "target": "/callbacks/acme",
        "headers": {"x-signature": HOSTILE.replace("\n", "")},
        "body": "one\n\x1b[2Jtwo\n",
        "errors": {"token": ["wrong"]},
        "explanation": {"part": "token", "message": "wrong", "causes": ["look \x1b there"]},
        "jobs": [],
        "actions": [],
    }
    stub.script(JOB_ID, build_reply(document))
    output = command.ok("callback", "show", JOB_ID).splitlines()
    assert output[3:6] == ["one", r"\x1b[2Jtwo", ""]
    assert output[-1] == r"→ look \x1b there"
    assert all(line.isprintable() for line in output)


def build_long_job() -> dict[str, Any]:
    return build_job(id=str(uuid4()), reference="reference-" * 20, events=[build_event(detail="many words " * 30)])


def test_piped_output_is_complete_and_plain(stub: Provider, command: CommandLine) -> None:
    jobs = [build_long_job() for _ in range(3)]
    stub.script(JOBS, build_page(*jobs))
    stub.script(JOB_ID, build_reply(jobs[0]))
    listed = start_command(command, "job", "list", stdout=subprocess.PIPE, environ={"COLUMNS": "40"})
    lines = listed.communicate(timeout=30)[0].decode().splitlines()
    assert len(lines) == 4
    for line, item in zip(lines[1:], jobs, strict=True):
        assert line.startswith(f"{item['id']}  failed  acme")
        assert line.endswith(item["reference"])
    assert ("many words " * 30).strip() in command.ok("job", "show", JOB_ID)


def test_terminal_output_wraps_prose_and_keeps_ids(stub: Provider, command: CommandLine) -> None:
    item = build_long_job()
    stub.script(JOB_ID, build_reply(item))
    shown = run_at_terminal(command, "job", "show", JOB_ID)
    assert "\x1b[31mfailed" in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert any(line.endswith(item["id"]) for line in lines)
    assert any(line.endswith(item["reference"]) for line in lines)
    assert sum("many" in line for line in lines) > 5
    assert all(len(line) <= 100 for line in lines if "many" in line)
    assert "\x1b" not in run_at_terminal(command, "job", "show", JOB_ID, NO_COLOR="1", TERM="dumb")


def run_at_terminal(command: CommandLine, *arguments: str, **environ: str) -> str:
    """Run a command at a terminal of 100 columns; return what the terminal shows at the end."""
    main_fd, terminal_fd = pty.openpty()
    environ = {"COLUMNS": "100", "TERM": "xterm-256color", **environ}
    with start_command(command, *arguments, stdout=terminal_fd, stdin=terminal_fd, environ=environ) as process:
        os.close(terminal_fd)
        content = b""
        with suppress(OSError):
            while block := os.read(main_fd, 1 << 16):
                content += block
        os.close(main_fd)
        process.communicate(timeout=30)
    return content.decode().replace("\r\n", "\n")


def test_closed_pipe_is_no_error(stub: Provider, command: CommandLine) -> None:
    stub.script("jobs?limit=500", build_page(*[build_long_job() for _ in range(500)]))
    for options in ([], ["--json"]):
        with start_command(command, "job", "list", "--all", *options, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stderr
            process.stdout.read(10)
            process.stdout.close()
            assert process.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_command_ends_quietly(stub: Provider, command: CommandLine, number: int, code: int) -> None:
    job_id = str(uuid4())
    stub.script(job_id, build_reply(build_job(status="accepted")), build_problem(429, headers={"retry_after": "30"}))
    with start_command(command, "job", "wait", job_id) as process:
        while len(stub.find_received(job_id)) < 2:
            time.sleep(0.01)
        process.send_signal(number)
        output = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert b"Traceback" not in output


def test_api_commands_import_no_database_driver() -> None:
    source = (
        "import sys; from receiver.cli.main import commands\n"
        "for name in ('job', 'request', 'callback', 'provider', 'key'):\n"
        "    commands.main([name, 'list', '--help'], standalone_mode=False)\n"
        "assert not {'psycopg', 'flask', 'receiver.store'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", source], check=True, stdout=subprocess.DEVNULL, timeout=30)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(command: CommandLine, shell: str) -> None:
    assert "_RECEIVER_COMPLETE" in command.ok("completion", shell)


def test_completion_suggests_commands(command: CommandLine) -> None:
    environ = {"_RECEIVER_COMPLETE": "bash_complete", "COMP_WORDS": "receiver job w", "COMP_CWORD": "2"}
    with start_command(command, stdout=subprocess.PIPE, environ=environ) as process:
        assert process.communicate(timeout=30)[0] == b"plain,wait\n"
