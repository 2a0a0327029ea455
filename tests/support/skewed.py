"""Runs a module with a wrong clock: `python -m tests.support.skewed SECONDS MODULE [ARGUMENT...]`.

SECONDS is how far the clock is ahead; it may be negative.
"""

import runpy
import sys
import time

if __name__ == "__main__":
    offset, module = float(sys.argv[1]), sys.argv[2]
    read_clock = time.time
    time.time = lambda: read_clock() + offset
    sys.argv[:] = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
