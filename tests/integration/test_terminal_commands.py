"""What the commands say when something is wrong, and what they show of text that others wrote."""

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

from tests.command_line import CommandLine
from tests.processes import RECEIVER
from tests.provider import Provider, Reply, listening

ANY = "018f0000-0000-7000-8000-000000000000"
HOSTILE = "[bold]x[/] \x1b]0;title\x07\x9b31m\r\n\u202eevil\x7f"
ESCAPED = r"[bold]x[/] \x1b]0;title\x07\x9b31m\r\n\u202eevil\x7f"
JOBS = "jobs?limit=50"


@pytest.fixture(scope="module")
def stub() -> Iterator[Provider]:
    """An HTTP server that answers what it is told to; it knows a path by its last part."""
    with listening() as server:
        yield server


@pytest.fixture
def command(stub: Provider) -> CommandLine:
    return CommandLine(stub.url)


def replied(document: object, status: int = 200, **headers: str) -> Reply:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def problem(status: int, detail: str = "so it is", **more: Any) -> Reply:
    headers = more.pop("headers", {})
    return replied(
        {"type": "about:blank", "title": "A title", "status": status, "detail": detail, **more}, status, **headers
    )


def job(**overrides: Any) -> dict[str, Any]:
    time = "2026-11-23T12:00:05.678901+00:00"
    return {
        "id": ANY,
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


def event(**overrides: Any) -> dict[str, Any]:
    names = ("source", "status", "provider_status", "code", "detail", "effect", "occurred_at", "callback_id", "actor")
    return dict.fromkeys(names) | {"received_at": "2026-11-23T12:00:05Z"} | overrides


def page(*found: object) -> Reply:
    return replied({"items": found, "next_cursor": None})


def started(command: CommandLine, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    names = ("PATH", "HOME", "LANG")
    environ = {name: os.environ[name] for name in names if name in os.environ} | {"RECEIVER_URL": command.url}
    environ |= options.pop("environ", {})
    return subprocess.Popen(
        [RECEIVER, *arguments],
        env=environ,
        stderr=subprocess.PIPE,
        preexec_fn=_heeding_interrupts,  # noqa: PLW1509  # no threads run yet that could hold a lock
        **options,
    )


def _heeding_interrupts() -> None:
    """Undo what a shell does to those that it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            problem(400, "see errors", errors={"payload": {"to": {"1": ["not text"]}}}),
            "see errors\npayload.to.1: not text",
        ),
        (problem(401), "set RECEIVER_KEY"),
        (problem(403, "needs the scope read"), "needs the scope read; set RECEIVER_KEY"),
        (problem(404, "no job has this id"), "no job has this id"),
        (problem(409, "it is final"), "it is final"),
        (problem(429, headers={"retry_after": "3600"}), "try again in 3600 s"),
        (problem(429), "allowance"),
        (problem(500), "the service failed (500)"),
        (problem(503, headers={"retry_after": "7"}), "try again in 7 s"),
        (replied([], 400), "400"),
        (replied(b"<html>", 200), "set RECEIVER_URL"),
        (replied(b"<html>", 301, location="https://receiver.example"), "redirects to https://receiver.example"),
        (replied(b"<html>", 502), "behind it is not up"),
        (Reply(raw=(b"SSH-2.0-OpenSSH\r\n",)), "gave no answer"),
        (Reply(raw=()), "gave no answer"),
        (Reply(reset=True, raw=()), "gave no answer"),
    ],
)
def test_every_refusal_is_told_in_words(stub: Provider, command: CommandLine, reply: Reply, words: str) -> None:
    stub.script(ANY, reply)
    if reply.headers.get("retry-after") is None and reply.status == 429:
        stub.script(ANY, reply, problem(409, "allowance was there again"))
    told = command.fails("job", "show", ANY)
    assert words in told


def test_an_allowance_that_is_used_up_is_waited_for(stub: Provider, command: CommandLine) -> None:
    identity = str(uuid4())
    stub.script(identity, problem(429, headers={"retry_after": "1"}), replied(job(id=identity)))
    shown = command.run("job", "show", identity, "--json")
    assert json.loads(shown.stdout)["id"] == identity
    assert "going on in 1 s" in shown.stderr


def test_waiting_bears_a_service_that_is_away_for_a_while(stub: Provider, command: CommandLine) -> None:
    identity = str(uuid4())
    still = replied(job(id=identity, status="accepted"))
    stub.script(identity, still, problem(503), replied(job(id=identity, status="succeeded")))
    waited = command.run("job", "wait", identity)
    assert waited.exit_code == 0
    assert "still waiting" in waited.stderr
    assert stub.of(identity)[-1].headers["prefer"] == "wait=30"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("receiver.example", "RECEIVER_URL"),
        ("http://", "RECEIVER_URL"),
        ("http://[::1", "RECEIVER_URL"),
        ("http://127.0.0.1:99999", "RECEIVER_URL"),
        ("http://user:secret@127.0.0.1", "RECEIVER_URL"),
        ("http://127.0.0.1/\r\nx: y", "RECEIVER_URL"),
    ],
)
def test_a_url_that_cannot_be_is_a_mistake_of_usage(url: str, words: str) -> None:
    assert words in CommandLine(url).fails("job", "list", code=2)


def test_a_key_that_cannot_be_is_a_mistake_of_usage(command: CommandLine) -> None:
    assert "RECEIVER_KEY" in command.with_key("a\nb").fails("job", "list", code=2)


def test_the_urls_that_serve_prints_work_as_they_are(stub: Provider) -> None:
    stub.script(JOBS, page())
    for ending in ("/", "/v1", "/v1/", "/below/v1"):
        assert CommandLine(stub.url + ending).json("job", "list")["items"] == []
    assert {received.path for received in stub.of(JOBS)} == {f"/v1/{JOBS}", f"/below/v1/{JOBS}"}


def test_a_request_whose_fate_is_not_known_is_told_with_how_to_repeat_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hanging_up = Thread(target=hang_up_once, args=(listener,))
        hanging_up.start()
        submit = ("request", "submit", "acme", "send", "--idempotency-key", "the-key")
        told = CommandLine(f"http://127.0.0.1:{listener.getsockname()[1]}").fails(*submit)
        hanging_up.join()
    assert "--idempotency-key the-key" in told


def test_an_action_whose_fate_is_not_known_is_told_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hanging_up = Thread(target=hang_up_once, args=(listener,))
        hanging_up.start()
        told = CommandLine(f"http://127.0.0.1:{listener.getsockname()[1]}").fails("request", "retry", ANY)
        hanging_up.join()
    assert "may have been done" in told


def hang_up_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with closing(connection):
        connection.recv(1 << 16)


def test_arguments_are_escaped_in_queries(stub: Provider, command: CommandLine) -> None:
    stub.script("callbacks?provider=a%26verdict%3Drefused%23+%C3%A9&limit=50", page())
    assert command.json("callback", "list", "--provider", "a&verdict=refused# é")["items"] == []


def test_text_of_others_is_shown_as_it_is_and_steers_no_terminal(stub: Provider, command: CommandLine) -> None:
    hostile = job(provider=HOSTILE, reference=HOSTILE, events=[event(detail=HOSTILE, provider_status=HOSTILE)])
    stub.script(ANY, replied(hostile))
    stub.script(JOBS, page(hostile))
    shown, listed = command.ok("job", "show", ANY), command.ok("job", "list")
    assert shown.count(ESCAPED) == 4
    assert listed.count(ESCAPED) == 2
    for text in (shown, listed, command.ok("job", "show", ANY, "--json")):
        assert all(character.isprintable() or character == "\n" for character in text)
    assert command.json("job", "show", ANY) == hostile


def test_messages_of_others_steer_no_terminal(stub: Provider, command: CommandLine) -> None:
    stub.script(ANY, problem(409, HOSTILE, errors={HOSTILE: [HOSTILE]}))
    told = command.fails("job", "show", ANY)
    assert all(character.isprintable() or character == "\n" for character in told)
    assert "[bold]x[/] \\x1b" in told


def test_a_callback_is_shown_line_by_line(stub: Provider, command: CommandLine) -> None:
    shown = {
        "id": ANY,
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
    stub.script(ANY, replied(shown))
    told = command.ok("callback", "show", ANY).splitlines()
    assert told[3:6] == ["one", r"\x1b[2Jtwo", ""]
    assert told[-1] == r"→ look \x1b there"
    assert all(line.isprintable() for line in told)


def long_job() -> dict[str, Any]:
    return job(id=str(uuid4()), reference="reference-" * 20, events=[event(detail="many words " * 30)])


def test_what_is_piped_is_whole_and_plain(stub: Provider, command: CommandLine) -> None:
    found = [long_job() for _ in range(3)]
    stub.script(JOBS, page(*found))
    stub.script(ANY, replied(found[0]))
    listed = started(command, "job", "list", stdout=subprocess.PIPE, environ={"COLUMNS": "40"})
    lines = listed.communicate(timeout=30)[0].decode().splitlines()
    assert len(lines) == 4
    for line, one in zip(lines[1:], found, strict=True):
        assert line.startswith(f"{one['id']}  failed  acme")
        assert line.endswith(one["reference"])
    assert ("many words " * 30).strip() in command.ok("job", "show", ANY)


def test_at_a_terminal_prose_is_folded_and_ids_are_whole(stub: Provider, command: CommandLine) -> None:
    found = long_job()
    stub.script(ANY, replied(found))
    shown = at_terminal(command, "job", "show", ANY)
    assert "\x1b[31mfailed" in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert any(line.endswith(found["id"]) for line in lines)
    assert any(line.endswith(found["reference"]) for line in lines)
    assert sum("many" in line for line in lines) > 5
    assert all(len(line) <= 100 for line in lines if "many" in line)
    assert "\x1b" not in at_terminal(command, "job", "show", ANY, NO_COLOR="1", TERM="dumb")


def at_terminal(command: CommandLine, *arguments: str, **environ: str) -> str:
    """Run a command at a terminal of 100 columns; give what is on it at the end."""
    ours, theirs = pty.openpty()
    environ = {"COLUMNS": "100", "TERM": "xterm-256color", **environ}
    with started(command, *arguments, stdout=theirs, stdin=theirs, environ=environ) as process:
        os.close(theirs)
        content = b""
        with suppress(OSError):
            while block := os.read(ours, 1 << 16):
                content += block
        os.close(ours)
        process.communicate(timeout=30)
    return content.decode().replace("\r\n", "\n")


def test_a_reader_that_has_enough_is_no_error(stub: Provider, command: CommandLine) -> None:
    stub.script("jobs?limit=500", page(*[long_job() for _ in range(500)]))
    for options in ([], ["--json"]):
        with started(command, "job", "list", "--all", *options, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stderr
            process.stdout.read(10)
            process.stdout.close()
            assert process.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_ends_at_once_and_quietly(
    stub: Provider, command: CommandLine, number: int, code: int
) -> None:
    identity = str(uuid4())
    stub.script(identity, replied(job(status="accepted")), problem(429, headers={"retry_after": "30"}))
    with started(command, "job", "wait", identity) as process:
        while len(stub.of(identity)) < 2:
            time.sleep(0.01)
        process.send_signal(number)
        told = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert b"Traceback" not in told


def test_the_commands_need_no_database_driver() -> None:
    source = (
        "import sys; from receiver.cli.main import commands\n"
        "for name in ('job', 'request', 'callback', 'provider', 'key'):\n"
        "    commands.main([name, 'list', '--help'], standalone_mode=False)\n"
        "assert not {'psycopg', 'flask', 'receiver.store'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", source], check=True, stdout=subprocess.DEVNULL, timeout=30)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(command: CommandLine, shell: str) -> None:
    assert "_RECEIVER_COMPLETE" in command.ok("completion", shell)


def test_a_shell_is_given_what_may_follow(command: CommandLine) -> None:
    asked = {"_RECEIVER_COMPLETE": "bash_complete", "COMP_WORDS": "receiver job w", "COMP_CWORD": "2"}
    with started(command, stdout=subprocess.PIPE, environ=asked) as process:
        assert process.communicate(timeout=30)[0] == b"plain,wait\n"
