"""Guides in tests: parses their code blocks and tables, runs the service they describe, and runs their commands."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from click.testing import CliRunner

from receiver.cli.main import commands
from tests.support.factories import SECRET
from tests.support.http import Server
from tests.support.ports import find_free_port
from tests.support.processes import ADMIN_KEY, RECEIVER, kill_processes, running, wait_for

ROOT = Path(__file__).parents[2]
_HEADING_OR_BLOCK = re.compile(
    r"^## (?P<heading>[^\n]+)$|^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_VARYING = {
    "ID": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "TIME": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"),
    "REFERENCE": re.compile(r"sbx-[0-9a-f]{8}-\d{6}"),
    "KEY": re.compile(r"rcv_[\w-]+"),
    "URL": re.compile(r"http://127\.0\.0\.1:\d+"),
    "CURSOR": re.compile(r"\b[0-9a-f]{40,80}\b"),
    "RATE_LIMIT": re.compile(r"r=\d+;t=\d+"),
}
_ELIDED = "…"
_SHELL = re.compile(r"[|&;<>()$`*#~]")


@dataclass(frozen=True)
class Block:
    """A code block, and the heading above it."""

    heading: str
    language: str
    text: str


def read_guide(path: str) -> str:
    """Return the text of a guide."""
    return (ROOT / path).read_text()


def parse_blocks(text: str) -> list[Block]:
    """Return the code blocks of a guide in order."""
    blocks, heading = [], ""
    for match in _HEADING_OR_BLOCK.finditer(text):
        heading = match["heading"] or heading
        if match["language"]:
            blocks.append(Block(heading, match["language"], match["text"]))
    return blocks


def remove_code(text: str) -> str:
    """Return the text of a guide without its code blocks and without code in sentences."""
    return re.sub(r"`[^`]*`", "", remove_blocks(text))


def remove_blocks(text: str) -> str:
    """Return the text of a guide without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def extract_section(text: str, heading: str) -> str:
    """Return the text below a heading of the second level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def parse_table(text: str, first: str) -> list[list[str]]:
    """Return the cells of the rows of the table whose first column has this heading."""
    [_, table] = text.split(f"\n| {first} |", 1)
    lines = table.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]


def parse_first_column(text: str, first: str) -> list[str]:
    """Return the first column of a table, without backticks."""
    return [row[0].strip("`") for row in parse_table(text, first)]


def normalize_output(text: str) -> str:
    """Return a text with placeholders for values that vary between runs, and with tables without their widths."""
    for name, pattern in _VARYING.items():
        text = pattern.sub(name, text)
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in text.strip().splitlines())


def find_difference(expected: Any, actual: Any, place: str = "") -> str | None:
    """Return how a document differs from the one in a guide; None if it does not.

    Ids and times may have any value; `…` stands for any other value or members.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        members = {name: value for name, value in expected.items() if name != _ELIDED}
        if not (members.keys() <= actual.keys() if _ELIDED in expected else members.keys() == actual.keys()):
            return f"{place}: expected {sorted(expected)}, got {sorted(actual)}"
        differences = [find_difference(value, actual[name], f"{place}.{name}") for name, value in members.items()]
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual, strict=True))
        differences = [find_difference(*pair, f"{place}.{index}") for index, pair in pairs]
    elif isinstance(expected, str) and isinstance(actual, str):
        equal = expected == _ELIDED or normalize_output(expected) == normalize_output(actual)
        differences = [None if equal else f"{place}: expected {expected}, got {actual}"]
    else:
        equal = type(expected) is type(actual) and expected == actual
        differences = [None if equal else f"{place}: expected {expected}, got {actual}"]
    return next(filter(None, differences), None)


@dataclass(frozen=True)
class Service:
    """`receiver serve` in its own directory, and a shell in that directory that calls the service."""

    directory: Path
    dsn: str
    sandbox: str
    port: int
    metrics_port: int
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def api(self) -> Server:
        return Server("127.0.0.1", self.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})

    def scrape(self) -> list[str]:
        """Return the metrics of the web process and of the worker, in Prometheus's text format."""
        servers = (Server("127.0.0.1", self.port), Server("127.0.0.1", self.metrics_port))
        return [server.call("GET", "/metrics").body.decode() for server in servers]

    @contextmanager
    def serving(self, config: str) -> Iterator[None]:
        """Serve with a `receiver.toml`, after setting the sandbox's real URL in it; kill all processes at the end."""
        located = re.sub(r'(?<=^base_url = ")http://127\.0\.0\.1:\d+', self.sandbox, config, flags=re.MULTILINE)
        (self.directory / "receiver.toml").write_text(located)
        variables = {
            "PORT": str(self.port),
            "RECEIVER_METRICS_PORT": str(self.metrics_port),
            "DATABASE_URL": self.dsn,
            "WEB_CONCURRENCY": "1",
            **_build_secrets(),
            **_read_notify_settings(),
        }
        # The default directory would not be removed, because the process is killed.
        variables["PROMETHEUS_MULTIPROC_DIR"] = str(self.directory)
        log = self.directory / f"serve-{uuid4().hex}.log"
        try:
            with running([RECEIVER, "serve"], log, variables, cwd=self.directory) as process:
                process.wait_until(self._is_ready)
                yield
        finally:
            kill_processes(self.directory)

    def sh(self, script: str, **names: str) -> str:
        """Run a script in the directory, which must succeed, and return its stdout.

        Each name in `names` is replaced by its value. Commands that need no shell run within this process, which is
        faster.
        """
        for name, value in names.items():
            script = re.sub(rf"\b{name}\b", value, script)
        url, port = f"http://127.0.0.1:{self.port}", str(self.port)
        environ = {**_build_secrets(), "RECEIVER_URL": url, "PORT": port, **self.environ}
        lines = script.replace("\\\n", " ").splitlines()
        if not _SHELL.search(script) and all(line.startswith("receiver ") for line in lines):
            return "".join(self._run_command(shlex.split(line)[1:], environ) for line in lines)
        environ["PATH"] = f"{Path(RECEIVER).parent}:{os.environ['PATH']}"
        environ["HOME"] = environ["CURL_HOME"] = str(self.directory)
        result = subprocess.run(
            ["sh", "-ec", script],
            cwd=self.directory,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, (script, result)
        return result.stdout

    def _run_command(self, arguments: Sequence[str], environ: Mapping[str, str]) -> str:
        with chdir(self.directory):
            result = CliRunner(env=environ).invoke(commands, arguments)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.stdout

    def _is_ready(self) -> bool:
        try:
            return self.api.call("GET", "/readyz").status == 200
        except OSError:
            return False


def _build_secrets() -> Mapping[str, str]:
    return {
        "RECEIVER_ADMIN_KEY": ADMIN_KEY,
        "RECEIVER_SECRET_KEY": "a-secret-key-of-tests",
        "SANDBOX_API_KEY": "key",
        "SANDBOX_SECRET": SECRET,
    }


def _read_notify_settings() -> Mapping[str, str]:
    """Return the settings that the guide to notifications exports."""
    return dict(re.findall(r"^export (RECEIVER_NOTIFY_\w+)=(\S+)$", read_guide("docs/notifications.md"), re.MULTILINE))


@contextmanager
def run_sandbox(directory: Path, dsn: str) -> Iterator[Service]:
    """Run the sandbox provider; yield a service that does not serve yet."""
    port, metrics_port = find_free_port(), find_free_port()
    arguments = ["-m", "receiver.sandbox", "--port", "0"]
    with running(arguments, directory / "sandbox.log", _build_secrets()) as process:
        announcement = wait_for(lambda: process.stdout)
        yield Service(directory, dsn, json.loads(announcement)["url"], port, metrics_port)
