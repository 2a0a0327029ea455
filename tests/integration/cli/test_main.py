"""The root command: how a signal ends a command."""

import signal
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.command_line import CommandLine
from tests.support.provider import Provider
from tests.support.stub_api import JOB_ID, build_job_document, build_problem, build_reply, start_command


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_command_ends_quietly(stub: Provider, command: CommandLine, number: int, code: int) -> None:
    job_id = str(uuid4())
    stub.script(
        job_id, build_reply(build_job_document(status="accepted")), build_problem(429, headers={"retry_after": "30"})
    )
    with start_command(command, "job", "wait", job_id) as process:
        while len(stub.find_received(job_id)) < 2:
            time.sleep(0.01)
        process.send_signal(number)
        output = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert b"Traceback" not in output


@pytest.mark.parametrize("arguments", [["--help"], ["job", "show", JOB_ID], ["job", "show", JOB_ID, "--json"]])
def test_full_disk_is_reported_without_traceback(stub: Provider, command: CommandLine, arguments: list[str]) -> None:
    stub.script(JOB_ID, build_reply(build_job_document()))
    with Path("/dev/full").open("wb") as full, start_command(command, *arguments, stdout=full) as process:
        assert process.communicate(timeout=30)[1] == b"error: Cannot write the output: No space left on device.\n"
    assert process.returncode == 1
