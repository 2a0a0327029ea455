"""The load generator wrk (https://github.com/wg/wrk): sends requests that were written to a file before."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import orjson

from receiver.domain.errors import ReceiverError
from tests.benchmarks.signed import SignedCallbacks
from tests.benchmarks.stage import BenchmarkFailed

THREADS = 2
_SCRIPT = Path(__file__).with_name("callbacks.lua")


class WrkMissing(ReceiverError):
    """The load generator is not installed."""


@dataclass(frozen=True, slots=True)
class Told:
    """What wrk tells of a run: answers of any status, those of 400 and more, and how exchanges broke.

    `late` counts answers that took more than 2 s, `exhausted` threads that ran out of callbacks.
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


def demand_wrk() -> str:
    """Give the path of wrk.

    Raises:
        WrkMissing: it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise WrkMissing("wrk is not installed: apt-get install -y wrk")
    return found


def parse(output: str) -> Told:
    """Read the last line of wrk's output, which the script writes.

    Raises:
        BenchmarkFailed: it is not there.
    """
    try:
        return Told(**orjson.loads(output.strip().rpartition("\n")[2]))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise BenchmarkFailed(f"wrk told no result: {output.strip() or 'nothing'}") from error


def send(port: int, callbacks: SignedCallbacks, *, connections: int, seconds: int) -> tuple[Told, float]:
    """Send callbacks for so many seconds, each once; gives what wrk tells and the CPU seconds it took.

    Raises:
        BenchmarkFailed: an answer was not 2xx, an exchange broke, or the callbacks did not last.
    """
    before = _children_seconds()
    finished = subprocess.run(
        [
            demand_wrk(),
            *("--threads", str(THREADS), "--connections", str(connections), "--duration", f"{seconds}s"),
            *("--script", str(_SCRIPT), f"http://127.0.0.1:{port}", "--"),
            *(str(callbacks.path), str(callbacks.length), str(callbacks.count // THREADS)),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise BenchmarkFailed(f"wrk ended with code {finished.returncode}: {finished.stderr.strip()}")
    told = parse(finished.stdout)
    if told.refused or told.unconnected or told.unread or told.unwritten:
        raise BenchmarkFailed(f"answers were not 2xx or did not come: {told}")
    if told.exhausted:
        raise BenchmarkFailed("the callbacks signed ahead did not last; raise --most-per-second")
    return told, _children_seconds() - before


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system
