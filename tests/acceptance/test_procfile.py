"""The Procfile under honcho: a release, and then web and worker, until they are stopped."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.acceptance.guides import ROOT
from tests.support.http import build_report
from tests.support.installation import STOP_TIMEOUT_S, Installation, submit_message
from tests.support.processes import (
    ADMIN_KEY,
    build_environ,
    build_provider_toml,
    find_processes,
    kill_processes,
    running,
    wait_for,
)
from tests.support.provider import listening

HONCHO = str(Path(sys.executable).with_name("honcho"))
PROCFILE = ("--procfile", str(ROOT / "Procfile"))


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
def test_procfile_runs_the_service_under_honcho(empty_database: str, tmp_path: Path) -> None:
    with listening() as provider:
        port = find_free_port()
        environ = build_environ(tmp_path, empty_database, build_provider_toml(base_url=provider.url), "receiver")
        environ |= {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PORT": str(port)}
        installation = Installation(tmp_path, provider, port, ADMIN_KEY)
        try:
            with running([HONCHO, *PROCFILE, "start", "release"], tmp_path / "release.log", environ) as release:
                assert release.popen.wait(STOP_TIMEOUT_S) == 0, release.stdout
                assert "applied: 0001_baseline" in release.stdout
            with running([HONCHO, *PROCFILE, "start", "web", "worker"], tmp_path / "honcho.log", environ) as honcho:
                installation.wait_until_ready(honcho)
                submit_message(installation, "a")
                wait_for(lambda: installation.find_status("a-0") == "accepted")
                assert installation.api().call_back(build_report("a-0")).status == 200
                assert installation.find_status("a-0") == "succeeded"
                honcho.popen.send_signal(signal.SIGINT)
                honcho.popen.wait(STOP_TIMEOUT_S)
                assert "SIGKILL" not in honcho.stdout
                assert find_processes(tmp_path) == {}
        finally:
            kill_processes(tmp_path)
