"""`ProcessGroup` leaves no child process behind, whenever a signal arrives."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import find_processes, wait_for

PARENT = """
import sys, os
from receiver.cli.process_group import ProcessGroup, StopRequested, stop_on_signals
try:
    with stop_on_signals(), ProcessGroup() as processes:
        print("ready", flush=True)
        while True:
            processes.start("child", ["-c", "import time; time.sleep(600)"], os.environ)
except StopRequested as stop:
    sys.exit(stop.number)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_while_children_start_leaves_none(number: signal.Signals, tmp_path: Path) -> None:
    for _ in range(4):
        parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, stdout=subprocess.PIPE)
        assert parent.stdout is not None
        with parent.stdout as stdout:
            stdout.readline()
        time.sleep(random.uniform(0.0, 0.03))
        parent.send_signal(number)
        assert parent.wait(30.0) == number
        wait_for(lambda: not find_processes(tmp_path))
