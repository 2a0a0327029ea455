"""What the operating system knows about this process, for metrics."""

import os
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

_MEMORY, _FILES = Path("/proc/self/statm"), Path("/proc/self/fd")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """The CPU time that this process has used in seconds, its resident memory in bytes, and its open files.

    Memory and files are 0 on systems without /proc.
    """

    cpu_seconds: float
    resident_bytes: int
    open_files: int


def read_process_stats() -> ProcessStats:
    """Return the present values."""
    try:
        resident_pages, open_files = int(_MEMORY.read_text().split()[1]), len(list(_FILES.iterdir()))
    except OSError:
        resident_pages = open_files = 0
    return ProcessStats(time.process_time(), resident_pages * _PAGE_BYTES, open_files)


@cache
def get_version() -> str:
    """Return the version of this program."""
    return version("callback-receiver")
