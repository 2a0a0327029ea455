"""The directory in which the web processes of one run count, so that any of them can tell the sum.

It is prometheus-client's multiprocess mode: each process writes into files of its own, which whoever is asked reads.
gunicorn's master makes the directory before it forks, in memory if it can. When a worker ends, its files are added to
those of all that have ended: sums never fall, and files do not pile up. At the end the directory is removed; the next
run does that for one that was killed.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus-client counts, and whether in files at all; it looks at it when it is imported."""

_MEMORY = Path("/dev/shm")  # noqa: S108  # directories of ours in it are private and have names nobody can foresee
_PREFIX = "receiver-metrics-"
_SURELY_HELD_AFTER = 60.0


class MultiprocessDirectory:
    """The directory of a run, in the hands of gunicorn's master."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._held: int | None = None

    def make(self) -> None:
        """Make the directory, within the one that the operator names if any, and tell it to the processes to come."""
        named = os.environ.get(VARIABLE)
        parent = Path(named) if named else _in_memory()
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        self._path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._held = _hold(self._path)
        os.environ[VARIABLE] = str(self._path)

    def fold(self, pid: int) -> None:
        """Add what a process counted that has ended to what others before it did."""
        # Not sooner: prometheus-client decides for good how to count when it is imported.
        from prometheus_client.mmap_dict import MmapedDict  # noqa: PLC0415  # see above
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415  # see above

        if self._path is None:
            return
        with lock_directory(self._path, alone=True):
            mark_process_dead(pid, str(self._path))  # type: ignore[no-untyped-call]  # the library's own gap
            for file in self._path.glob(f"*_{pid}.db"):
                kind, _, _ = file.name.partition("_")
                total = MmapedDict(str(self._path / f"{kind}_ended.db"))  # type: ignore[no-untyped-call]  # likewise
                for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]  # likewise
                    before, _ = total.read_value(key)  # type: ignore[no-untyped-call]  # likewise
                    total.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]  # likewise
                total.close()  # type: ignore[no-untyped-call]  # likewise
                file.unlink()

    def remove(self) -> None:
        """Remove the directory with all that is in it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)
        self._path = self._held = None


@contextmanager
def lock_directory(directory: Path, *, alone: bool = False) -> Iterator[None]:
    """Read the files of a directory while none is folded; `alone`: fold one while nobody reads."""
    with (directory / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def _in_memory() -> Path:
    return _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())


def _hold(directory: Path) -> int | None:
    """Give a lock on a directory, kept by us and those we fork until the last of us ends; None if others have it."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held


def _remove_abandoned(parent: Path) -> None:
    """Remove directories of ours whose processes are all gone; a very young one may just not be held yet."""
    for directory in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = directory.lstat()
            if found.st_uid != os.geteuid() or time.time() - found.st_mtime < _SURELY_HELD_AFTER:
                continue
            held = _hold(directory)
            if held is not None:
                shutil.rmtree(directory, ignore_errors=True)
                os.close(held)
