"""The root command: how a signal ends a command."""

import signal
import time
from uuid import uuid4

import pytest

from tests.support.command_line import CommandLine
from tests.support.provider import Provider
from tests.support.stub_api import build_job_document, build_problem, build_reply, start_command


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
