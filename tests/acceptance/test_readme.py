"""The README: short, its commands are those of CI, its quickstart works."""

import os
import re
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

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
    start, follow = (block.replace(UV_RUN, "") for block in find_blocks("sh") if "sandbox" in block)
    submit, wait = re.findall(r"^receiver .*(?:\n .*)*", follow, re.MULTILINE)
    with scratch_database(server, template=template) as dsn:
        shell = Shell(tmp_path, {"PORT": str(port), "DATABASE_URL": dsn, **dict(re.findall(r"(\w+)=(\S+)", start))})
        try:
            shell.run(start.replace("--port 9000", f"--port {sandbox_port}"))
            wait_for(lambda: is_ready(port))
            [request_id] = re.findall(r"^request +(\S+)$", shell.run(submit), re.MULTILINE)
            assert " succeeded " in shell.run(wait.replace("REQUEST_ID", request_id))
        finally:
            kill_processes(tmp_path)


@dataclass(frozen=True)
class Shell:
    """A shell in a directory, with `receiver` on its path."""

    directory: Path
    variables: Mapping[str, str]

    def run(self, script: str) -> str:
        """Run a script, which must succeed, and return what it printed; processes in the background go on."""
        environ = {
            **os.environ,
            "PATH": f"{Path(RECEIVER).parent}:{os.environ['PATH']}",
            "PROMETHEUS_MULTIPROC_DIR": str(self.directory),
            "RECEIVER_URL": f"http://127.0.0.1:{self.variables['PORT']}",
            **self.variables,
        }
        path = self.directory / f"{uuid4().hex}.out"
        with path.open("wb") as output:
            command = ["sh", "-ec", script]
            subprocess.run(
                command, cwd=self.directory, env=environ, stdout=output, stderr=output, check=True, timeout=60
            )
        return path.read_text()


def is_ready(port: int) -> bool:
    try:
        return Server("127.0.0.1", port).call("GET", "/readyz").status == 200
    except OSError:
        return False
