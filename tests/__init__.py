"""The tests. Every process that they start uses compiled modules."""

import os
import sys

# Tests start hundreds of processes, and without bytecode each of them compiles every module that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
