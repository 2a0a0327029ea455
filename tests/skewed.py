"""Runs a module as on a machine whose clock is wrong: `python -m tests.skewed SECONDS MODULE [ARGUMENT...]`."""

import runpy
import sys
import time

if __name__ == "__main__":
    ahead, module = float(sys.argv[1]), sys.argv[2]
    right = time.time
    time.time = lambda: right() + ahead
    sys.argv[:] = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
