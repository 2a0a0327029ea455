"""The README: short, its commands are those of CI, its quickstart works."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from receiver.devtools.scratch import scratch_database
from tests.acceptance.guides import ROOT, parse_blocks, read_guide
from tests.support.http import Server
from tests.support.ports import find_free_port
from tests.support.processes import RECEIVER, kill_processes, wait_for

README = read_guide("README.md")
MAX_LINES = 140
UV_RUN = "python3 -m uv run "


def find_blocks(language: str) -> list[str]:
    """Return the README's code blocks of one language."""
    return [block.text for block in parse_blocks(README) if block.language == language]


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES


def test_ci_runs_the_test_command() -> None:
    command = next(block.strip() for block in find_blocks("sh") if block.strip().endswith("pytest"))
    assert command in (ROOT / ".ci/run").read_text().splitlines()


def test_provider_is_that_of_the_quickstart_guide() -> None:
    [short], [full] = (
        [block.text for block in parse_blocks(read_guide(path)) if block.language == "toml"]
        for path in ("README.md", "docs/quickstart.md")
    )
    provider, full_provider = (tomllib.loads(text)["providers"]["sandbox"] for text in (short, full))
    provider["signature"]["tolerance"] = full_provider["signature"]["tolerance"]
    assert provider.items() <= full_provider.items()


def test_quickstart_guide_starts_the_same_processes() -> None:
    [guide] = [block.text for block in parse_blocks(read_guide("docs/quickstart.md")) if block.language == "console"]
    readme = re.findall(r"^(.*) &$", "".join(find_blocks("sh")), re.MULTILINE)
    assert guide.splitlines() == [f"$ {command}" for command in readme]


@pytest.mark.slow
def test_quickstart_leads_to_a_finished_job(server: str, template: str, tmp_path: Path) -> None:
    port, sandbox_port = find_free_port(), find_free_port()
    [config] = find_blocks("toml")
    (tmp_path / "receiver.toml").write_text(config.replace(":9000", f":{sandbox_port}"))
    start, submit_and_wait = (
        block.replace(UV_RUN, "").replace("--port 9000", f"--port {sandbox_port}")
        for block in find_blocks("sh")
        if "sandbox" in block
    )
    submit, wait = submit_and_wait.split("receiver job")
    exports = dict(re.findall(r"(\w+)=(\S+)", start))
    with scratch_database(server, template=template) as dsn, (tmp_path / "output").open("wb") as output:
        path = f"{Path(RECEIVER).parent}:{os.environ['PATH']}"
        environ = {**os.environ, "PATH": path, "PORT": str(port), "RECEIVER_URL": f"http://127.0.0.1:{port}"}
        environ |= {"DATABASE_URL": dsn, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), **exports}

        def run(script: str) -> str:
            command = ["sh", "-ec", script]
            return subprocess.run(
                command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True, check=True, timeout=60
            ).stdout

        try:
            subprocess.run(["sh", "-ec", start], cwd=tmp_path, env=environ, stdout=output, stderr=output, check=True)
            wait_for(lambda: is_ready(port))
            [request_id] = re.findall(r"^request +(\S+)$", run(submit), re.MULTILINE)
            assert " succeeded " in run(f"receiver job{wait}".replace("REQUEST_ID", request_id))
        finally:
            kill_processes(tmp_path)


def is_ready(port: int) -> bool:
    try:
        return Server("127.0.0.1", port).call("GET", "/readyz").status == 200
    except OSError:
        return False
