"""What commands print: text from outside, in pipes and at terminals."""

import os
import pty
import re
import subprocess
from contextlib import suppress
from typing import Any
from uuid import uuid4

from tests.support.command_line import CommandLine
from tests.support.provider import Provider
from tests.support.stub_api import (
    HOSTILE,
    JOB_ID,
    JOBS,
    build_event_document,
    build_job_document,
    build_page,
    build_problem,
    build_reply,
    start_command,
)

ESCAPED = r"[bold]x[/] \x1b]0;title\x07\x9b31m\r\n\u202eevil\x7f"


def test_text_from_outside_is_escaped(stub: Provider, command: CommandLine) -> None:
    hostile = build_job_document(
        provider=HOSTILE, reference=HOSTILE, events=[build_event_document(detail=HOSTILE, provider_status=HOSTILE)]
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


def build_long_job() -> dict[str, Any]:
    return build_job_document(
        id=str(uuid4()), reference="reference-" * 20, events=[build_event_document(detail="many words " * 30)]
    )


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
    assert "\x1b[31m✕ failed" in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert any(line.endswith(item["id"]) for line in lines)
    assert any(line.endswith(item["reference"]) for line in lines)
    assert sum("many" in line for line in lines) > 5
    assert all(len(line) <= 100 for line in lines if "many" in line)


def test_terminal_shows_ids_whole_and_times_relative(stub: Provider, command: CommandLine) -> None:
    item = build_job_document(id=str(uuid4()), status="in_progress", provider="p" * 30, unmatched=False)
    stub.script(JOBS, build_page(item))
    for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        listed = run_at_terminal(command, "job", "list", COLUMNS="80", LANG="C.UTF-8", **environ)
        status = "in_progress" if "TERM" in environ else "◐ in progress"
        [headings, row] = listed.splitlines()[:2]
        assert headings.split()[:3] == ["id", "status", "accepted"]
        assert row.startswith(f"{item['id']}  {status}  ")
        assert re.search(r"  \d+ d ago .*  ref-1$", row)
        assert "\x1b" not in listed


def test_wide_tables_have_all_columns_and_absolute_times(stub: Provider, command: CommandLine) -> None:
    item = build_job_document(id=str(uuid4()))
    stub.script(JOBS, build_page(item))
    [headings, row] = run_at_terminal(command, "job", "list", "--wide", COLUMNS="40", NO_COLOR="1").splitlines()
    assert headings.split() == ["id", "status", "provider", "accepted", "finished", "flags", "reference"]
    assert row.split()[-4:] == ["2026-11-23T12:00:05Z", "∅", "unmatched", "ref-1"]


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
