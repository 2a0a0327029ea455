"""Guides in tests: their code blocks, the service that they are about, and what comes of their commands."""

import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from click.testing import CliRunner

from receiver.cli.main import commands
from tests.factories import SECRET
from tests.http import Server
from tests.processes import ADMIN_KEY, RECEIVER, kill_processes_of, running, wait_for

ROOT = Path(__file__).parents[2]
_PIECE = re.compile(r"^## (?P<heading>[^\n]+)$|^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_VARYING = {
    "ID": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "TIME": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"),
    "REFERENCE": re.compile(r"sbx-[0-9a-f]{8}-\d{6}"),
    "KEY": re.compile(r"rcv_[\w-]+"),
    "URL": re.compile(r"http://127\.0\.0\.1:\d+"),
    "CURSOR": re.compile(r"\b[0-9a-f]{40,50}\b"),
    "ALLOWANCE": re.compile(r"r=\d+;t=\d+"),
}
_ELIDED = "…"
_SHELL = re.compile(r"[|&;<>()$`*#~]")


@dataclass(frozen=True)
class Block:
    """A code block, and the heading it stands under."""

    heading: str
    language: str
    text: str


def guide(path: str) -> str:
    """Give a guide's text."""
    return (ROOT / path).read_text()


def blocks_of(text: str) -> list[Block]:
    """Give the code blocks of a guide, in their order."""
    found, heading = [], ""
    for piece in _PIECE.finditer(text):
        heading = piece["heading"] or heading
        if piece["language"]:
            found.append(Block(heading, piece["language"], piece["text"]))
    return found


def section_of(text: str, heading: str) -> str:
    """Give what stands below a heading of the second level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows_of(text: str, first: str) -> list[list[str]]:
    """Give the cells of the rows of the table whose first column has this name."""
    [_, table] = text.split(f"\n| {first} |", 1)
    lines = table.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]


def words_of(text: str, first: str) -> list[str]:
    """Give the words in the first column of a table, without their marks."""
    return [row[0].strip("`") for row in rows_of(text, first)]


def plain(text: str) -> str:
    """Give a text with a name in place of what differs from run to run, and tables without their widths."""
    for name, varying in _VARYING.items():
        text = varying.sub(name, text)
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in text.strip().splitlines())


def difference(shown: Any, given: Any, place: str = "") -> str | None:
    """Tell how an answer differs from the one that is shown, None if it does not.

    Ids and times need only be some; `…` stands for whatever else there is.
    """
    if isinstance(shown, dict) and isinstance(given, dict):
        named = {name: value for name, value in shown.items() if name != _ELIDED}
        if not (named.keys() <= given.keys() if _ELIDED in shown else named.keys() == given.keys()):
            return f"{place}: shows {sorted(shown)}, is {sorted(given)}"
        told = [difference(value, given[name], f"{place}.{name}") for name, value in named.items()]
    elif isinstance(shown, list) and isinstance(given, list) and len(shown) == len(given):
        told = [difference(*both, f"{place}.{number}") for number, both in enumerate(zip(shown, given, strict=True))]
    elif isinstance(shown, str) and isinstance(given, str):
        told = [None if shown == _ELIDED or plain(shown) == plain(given) else f"{place}: shows {shown}, is {given}"]
    else:
        told = [None if type(shown) is type(given) and shown == given else f"{place}: shows {shown}, is {given}"]
    return next(filter(None, told), None)


@dataclass(frozen=True)
class Service:
    """`receiver serve` in a directory of its own, and a shell beside it that talks to it."""

    directory: Path
    dsn: str
    sandbox: str
    port: int
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def api(self) -> Server:
        return Server("127.0.0.1", self.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})

    @contextmanager
    def serving(self, config: str) -> Iterator[None]:
        """Serve with a `receiver.toml`, in which the sandbox is put where it is, and kill all of it at the end."""
        located = re.sub(r'(?<=^base_url = ")http://127\.0\.0\.1:\d+', self.sandbox, config, flags=re.MULTILINE)
        (self.directory / "receiver.toml").write_text(located)
        given = {"PORT": str(self.port), "DATABASE_URL": self.dsn, "WEB_CONCURRENCY": "1", **_secrets(), **_told()}
        given["PROMETHEUS_MULTIPROC_DIR"] = str(self.directory)  # as it is killed, it removes nothing itself
        log = self.directory / f"serve-{uuid4().hex}.log"
        try:
            with running([RECEIVER, "serve"], log, given, cwd=self.directory) as process:
                process.wait_until(self._ready)
                yield
        finally:
            kill_processes_of(self.directory)

    def sh(self, script: str, **names: str) -> str:
        """Run a script in the directory; it must go well. Words that are `names` are put in their places.

        Gives its stdout. What needs no shell is run within this process, which is quicker.
        """
        for name, value in names.items():
            script = re.sub(rf"\b{name}\b", value, script)
        environ = {**_secrets(), "RECEIVER_URL": f"http://127.0.0.1:{self.port}", **self.environ}
        lines = script.replace("\\\n", " ").splitlines()
        if not _SHELL.search(script) and all(line.startswith("receiver ") for line in lines):
            return "".join(self._command(shlex.split(line)[1:], environ) for line in lines)
        environ["PATH"] = f"{Path(RECEIVER).parent}:{os.environ['PATH']}"
        environ["HOME"] = environ["CURL_HOME"] = str(self.directory)
        done = subprocess.run(
            ["sh", "-ec", script],
            cwd=self.directory,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (script, done)
        return done.stdout

    def _command(self, arguments: Sequence[str], environ: Mapping[str, str]) -> str:
        with chdir(self.directory):
            result = CliRunner(env=environ).invoke(commands, arguments)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.stdout

    def _ready(self) -> bool:
        try:
            return self.api.call("GET", "/readyz").status == 200
        except OSError:
            return False


def _secrets() -> Mapping[str, str]:
    return {"RECEIVER_ADMIN_KEY": ADMIN_KEY, "SANDBOX_API_KEY": "key", "SANDBOX_SECRET": SECRET}


def _told() -> Mapping[str, str]:
    """Give who may be told, as the guide to the API sets it up."""
    return dict(re.findall(r"^export (RECEIVER_NOTIFY_\w+)=(\S+)$", guide("receiver/web/README.md"), re.MULTILINE))


@contextmanager
def beside_a_sandbox(directory: Path, dsn: str) -> Iterator[Service]:
    """Run the sandbox provider; give a service that does not serve yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["-m", "receiver.sandbox", "--port", "0"]
    with running(arguments, directory / "sandbox.log", _secrets()) as process:
        told = wait_for(lambda: process.stdout)
        yield Service(directory, dsn, json.loads(told)["url"], port)
