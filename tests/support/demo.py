"""`receiver demo` as a real process."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from receiver.store.connections import connect
from tests.support.processes import RECEIVER, Process, find_processes, kill_processes, running

TIMEOUT_S = 150.0
"""The time in which a demo must end, also on a busy machine."""


@dataclass(frozen=True)
class Demo:
    """A running demo. Its temporary files are in `directory`, which is in the environment of all its processes."""

    process: Process
    directory: Path

    def wait_for_output(self, text: str) -> None:
        """Wait until the demo has printed a text."""
        self.process.wait_until(lambda: text in self.process.output)

    def find_database(self) -> str:
        """Return the name of the scratch database that the demo created on the server of `DATABASE_URL`."""
        environs = [Path(f"/proc/{pid}/environ").read_text() for pid in find_processes(self.directory)]
        (name,) = set(re.findall(r"receiver_scratch_\w+", "".join(environs)))
        return str(name)

    def assert_nothing_left(self) -> None:
        """Check that there is no process and no temporary file."""
        assert find_processes(self.directory) == {}
        assert list((self.directory / "tmp").iterdir()) == []


@contextmanager
def running_demo(directory: Path, *, requests: int = 60, **environ: str) -> Iterator[Demo]:
    """Run `receiver demo`, and kill all its processes at the end."""
    (directory / "tmp").mkdir()
    arguments = [RECEIVER, "demo", "--requests", str(requests), "--seed", "5", "--json"]
    variables = {"TMPDIR": str(directory / "tmp"), **environ}
    try:
        with running(arguments, directory / "demo.log", variables, cwd=directory) as process:
            yield Demo(process, directory)
    finally:
        kill_processes(directory)


def list_databases(server: str) -> set[str]:
    """Return the names of the databases of a server."""
    with closing(connect(server)) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
