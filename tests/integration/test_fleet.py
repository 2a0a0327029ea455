"""Child processes are gone when we are, whenever a signal comes."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import processes_of, wait_for

STARTS = """
import sys, os
from receiver.cli.process_group import ProcessGroup, StopRequested, stop_on_signals
try:
    with stop_on_signals(), ProcessGroup() as fleet:
        print("ready", flush=True)
        while True:
            fleet.start("child", ["-c", "import time; time.sleep(600)"], os.environ)
except StopRequested as stopped:
    sys.exit(stopped.number)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_children_are_started_leaves_none(number: signal.Signals, tmp_path: Path) -> None:
    for _ in range(4):
        parent = subprocess.Popen([sys.executable, "-c", STARTS], cwd=tmp_path, stdout=subprocess.PIPE)
        assert parent.stdout is not None
        with parent.stdout as announced:
            announced.readline()
        time.sleep(random.uniform(0.0, 0.03))
        parent.send_signal(number)
        assert parent.wait(30.0) == number
        wait_for(lambda: not processes_of(tmp_path))
