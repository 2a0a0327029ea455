"""The load generator wrk (https://github.com/wg/wrk), which sends requests from a file written in advance."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import orjson

from receiver.domain.errors import ReceiverError
from tests.benchmarks.environment import BenchmarkFailed

THREADS = 2
_SCRIPT = Path(__file__).with_name("callbacks.lua")
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class RequestFile:
    """A file of `count` HTTP requests of `length` bytes each, without anything between them."""

    path: Path
    length: int
    count: int


class WrkMissing(ReceiverError):
    """The load generator is not installed."""


@dataclass(frozen=True, slots=True)
class WrkResult:
    """The result of a run: responses of any status, those of 400 and more (`refused`), and broken exchanges.

    `late` counts responses that took more than 2 s, `exhausted` threads that ran out of requests. An exhausted thread
    stops, but the run lasts as long as any other: its rate means nothing.
    """

    responses: int
    seconds: float
    refused: int
    unconnected: int
    unread: int
    unwritten: int
    late: int
    exhausted: int
    p50_ms: float
    p99_ms: float


def find_wrk() -> str:
    """Return the path of wrk.

    Raises:
        WrkMissing: wrk is not installed.
    """
    path = shutil.which("wrk")
    if path is None:
        raise WrkMissing("wrk is not installed: apt-get install -y wrk")
    return path


def choose_directory(size: int) -> Path | None:
    """Return a directory in memory for a file of `size` bytes if there is room, else None.

    Writing the file back to disk would slow down Postgres on the same disk.
    """
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > size else None


def parse(output: str) -> WrkResult:
    """Parse the last line of wrk's output, which the script writes.

    Raises:
        BenchmarkFailed: the last line is not a result.
    """
    try:
        return WrkResult(**orjson.loads(output.strip().rpartition("\n")[2]))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise BenchmarkFailed(f"wrk printed no result: {output.strip() or 'nothing'}") from error


def send(
    port: int, requests: RequestFile, *, connections: int, seconds: int, pause_ms: float = 0.0
) -> tuple[WrkResult, float]:
    """Send requests for some seconds, each once.

    Args:
        port: where the web process listens on this machine.
        requests: at least one for each thread of wrk.
        connections: how many are open at once.
        seconds: how long the run lasts.
        pause_ms: the mean of the random pauses of each connection between a response and the next request.

    Returns:
        The result, which is `exhausted` if the requests were too few, and the CPU seconds that wrk used.

    Raises:
        BenchmarkFailed: a response was not 2xx or an exchange broke.
    """
    before = _read_children_cpu()
    completed = subprocess.run(
        [
            find_wrk(),
            *("--threads", str(THREADS), "--connections", str(connections), "--duration", f"{seconds}s"),
            *("--script", str(_SCRIPT), f"http://127.0.0.1:{port}", "--"),
            *(str(requests.path), str(requests.length), str(requests.count // THREADS), str(pause_ms)),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        raise BenchmarkFailed(f"wrk exited with code {completed.returncode}: {completed.stderr.strip()}")
    result = parse(completed.stdout)
    if result.refused or result.unconnected or result.unread or result.unwritten:
        raise BenchmarkFailed(f"responses were not 2xx or missing: {result}")
    return result, _read_children_cpu() - before


def _read_children_cpu() -> float:
    """Return the CPU seconds of the children that this process has waited for."""
    times = os.times()
    return times.children_user + times.children_system
