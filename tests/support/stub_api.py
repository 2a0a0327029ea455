"""Scripted replies in the place of the API, and commands as processes that call them."""

import json
import os
import signal
import socket
import subprocess
from contextlib import closing
from typing import Any

from tests.support.command_line import CommandLine
from tests.support.processes import RECEIVER
from tests.support.provider import Reply

JOB_ID = "018f0000-0000-7000-8000-000000000000"
HOSTILE = "[bold]x[/] \x1b]0;title\x07\x9b31m\r\n\u202eevil\x7f"
JOBS = "jobs?limit=50"


def build_reply(document: object, status: int = 200, **headers: str) -> Reply:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def build_problem(status: int, detail: str = "a detail", **more: Any) -> Reply:
    headers = more.pop("headers", {})
    return build_reply(
        {"type": "about:blank", "title": "A title", "status": status, "detail": detail, **more}, status, **headers
    )


def build_job_document(**overrides: Any) -> dict[str, Any]:
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
        "events_cursor": None,
    } | overrides


def build_event_document(**overrides: Any) -> dict[str, Any]:
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


def hang_up_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with closing(connection):
        connection.recv(1 << 16)
