"""CPU time of processes and of everything they started, read from /proc."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def measure_tree(pid: int) -> float:
    """Return the CPU seconds, user and system, of a process tree since its start, including children that ended."""
    children = _read_children()
    return sum(_read_seconds(member) for member in _walk_tree(pid, children))


def find_children(pid: int) -> frozenset[int]:
    """Return the live children of a process."""
    return frozenset(_read_children().get(pid, ()))


def _read_children() -> dict[int, list[int]]:
    """Return the live children of every process."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _read_stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    return children


def _walk_tree(pid: int, children: Mapping[int, Sequence[int]]) -> Iterator[int]:
    yield pid
    for child in children.get(pid, ()):
        yield from _walk_tree(child, children)


def _read_seconds(pid: int) -> float:
    """Add utime and stime of the process to cutime and cstime of the children that it has waited for."""
    return sum(int(ticks) for ticks in _read_stat(pid)[11:15]) / _TICKS_PER_S


def _read_stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on, field 3 in proc(5); an empty list if the process is gone.

    The name before the state may contain spaces and parentheses.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
