"""CPU time of processes and of everything they started, read from /proc."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree_seconds(pid: int) -> float:
    """Give the CPU seconds, user and system, of a process tree since its start, with those of children that ended."""
    below = _children()
    return sum(_seconds(each) for each in _tree(pid, below))


def children_of(pid: int) -> frozenset[int]:
    """Give the live children of a process."""
    return frozenset(_children().get(pid, ()))


def _children() -> dict[int, list[int]]:
    """Give the live children of every process."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            below.setdefault(int(fields[1]), []).append(int(entry.name))
    return below


def _tree(pid: int, below: Mapping[int, Sequence[int]]) -> Iterator[int]:
    yield pid
    for child in below.get(pid, ()):
        yield from _tree(child, below)


def _seconds(pid: int) -> float:
    """Count utime and stime of the process itself, cutime and cstime of the children that it has collected."""
    return sum(int(ticks) for ticks in _stat(pid)[11:15]) / _TICKS


def _stat(pid: int) -> list[str]:
    """Give the fields of /proc/PID/stat from the state on, which is field 3 in proc(5); none when it is gone.

    The name before them may hold spaces and parentheses.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
